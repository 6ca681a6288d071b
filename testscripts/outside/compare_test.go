package outside

import (
	"context"
	"database/sql"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/remora-backup/remora/core/inert"
	"github.com/remora-backup/remora/core/mysqld/lab"
)

// harmless are lines of a server's log that say nothing of the data: a database whose name is
// that of the dump of the buffer pool, one named aux, replication without a source.
var harmless = regexp.MustCompile(`MY-011947|MY-013589|\[Repl\]|MY-010584|MY-013117`)

// compare starts a server on what was restored, as the README says, and holds it against what
// is expected. A primary runs its events, so that one is told not to.
func (w *world) compare(ctx context.Context, target string, want state, gtids string) {
	args := append([]string{"--innodb-flush-method=nosync"}, w.all(w.d.initArgs)...)
	for _, a := range w.d.args {
		if strings.HasPrefix(a, "--innodb-temp-data-file-path=") { // a schema may have the default's name
			args = append(args, a)
		}
	}
	if w.d.role == inert.Primary {
		args = append(args, "--event-scheduler=OFF")
	}
	s, err := lab.Start(ctx, lab.Options{Bin: w.mysqld, DataDir: target, Args: args, NoGTID: gtids == "", Persisted: true})
	if err != nil {
		w.t.Errorf("the restored server does not start: %v", err)
		return
	}
	defer s.Remove()
	err = session(ctx, s.DB(), func(c *sql.Conn) error {
		w.transactions(ctx, c, gtids)
		w.quiet(ctx, c)
		got, err := stateOf(ctx, c)
		if err != nil {
			return err
		}
		if err := c.PingContext(ctx); err != nil { // what was asked of a dead server says nothing
			return err
		}
		w.differ(want, got)
		w.consistent(ctx, c)
		w.nothingLost(ctx, c, gtids)
		if !got.memory() { // the first look at a MEMORY table writes a transaction
			w.transactions(ctx, c, gtids)
		}
		return nil
	})
	if err != nil {
		w.t.Errorf("the restored server does not answer: %v", err)
	}
	w.complaints(s.Log)
}

// transactions holds what the restored server executed against what the backup says.
func (w *world) transactions(ctx context.Context, c *sql.Conn, want string) {
	have, err := value(ctx, c, "SELECT @@GLOBAL.gtid_executed")
	if have = strings.ReplaceAll(have, "\n", ""); err != nil || have != strings.ReplaceAll(want, "\n", "") {
		w.t.Errorf("gtid_executed: the restored server says %q (%v), the backup %q", have, err, want)
	}
}

// quiet looks whether the restored server is what its role says.
func (w *world) quiet(ctx context.Context, c *sql.Conn) {
	want := "1 OFF 0"
	channels := "0"
	if w.d.replica {
		channels = "1"
	}
	if w.d.role == inert.Primary {
		want, channels = "0 OFF 0", "0"
	}
	const q = `SELECT CONCAT_WS(' ', @@GLOBAL.super_read_only, @@GLOBAL.event_scheduler,
		(SELECT COUNT(*) FROM performance_schema.replication_connection_status WHERE service_state <> 'OFF'),
		(SELECT COUNT(*) FROM performance_schema.replication_connection_configuration))`
	if is, err := value(ctx, c, q); err != nil || is != want+" "+channels {
		w.t.Errorf("restored as %s: read only, event scheduler, connected channels, channels are %s (%v), not %s %s", w.d.role, is, err, want, channels)
	}
}

// complaints are errors in the restored server's log, the first of them.
func (w *world) complaints(path string) {
	log, err := os.ReadFile(path)
	if err != nil {
		w.t.Error(err)
	}
	told := 0
	for line := range strings.Lines(string(log)) {
		if strings.Contains(line, "[ERROR]") && !harmless.MatchString(line) && told < 5 {
			w.t.Errorf("the restored server logged: %s", line)
			told++
		}
	}
}

func (w *world) differ(want, got state) {
	all := maps.Clone(want)
	maps.Copy(all, got)
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if w.loose(name) {
			continue
		}
		if is, ok := got[name]; !ok {
			w.t.Errorf("%s is missing; it was %q", name, want[name])
		} else if was, ok := want[name]; !ok {
			w.t.Errorf("%s is %q, and was not there", name, is)
		} else if was != is {
			w.t.Errorf("%s: got %q, want %q", name, is, was)
		}
	}
	if len(want) < 20 {
		w.t.Errorf("only %d things were compared", len(want))
	}
}

// loose reports whether a thing may differ: what happened at the end or after the backup may or
// may not be in it.
func (w *world) loose(name string) bool {
	return strings.Contains(name, "outside_ev`.`big") || strings.Contains(name, "outside_u")
}
