package outside

import (
	"context"
	"database/sql"
	"fmt"
	"math/rand/v2"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/remora-backup/remora/core/syncpoint"
)

// event is something that happens while a backup is held at a sync point.
type event struct {
	name   string
	before bool // it changes definitions, so it comes before the server is locked
	rough  bool // it kills the server: tables that a crash damages are not written meanwhile
	do     func(context.Context, *world) error
}

// statements is an event of one session.
func statements(name string, before bool, list ...string) event {
	return event{name: name, before: before, do: func(ctx context.Context, w *world) error { return w.sql(ctx, list...) }}
}

// events on tables work on those of the schema outside_ev.
func events() []event {
	const load = "INSERT INTO outside_ev.big (v) SELECT RANDOM_BYTES(1000) FROM outside_numbers.n LIMIT 3000"
	suppress := "SET GLOBAL log_error_suppression_list = 'MY-013600,MY-013601,MY-013602,MY-013603,MY-013881,MY-013882,MY-013883,MY-013884,MY-013890,MY-013891,MY-013892'"
	return []event{
		{name: "odd settings", do: func(ctx context.Context, w *world) error {
			return w.conn(ctx, func(c *sql.Conn) error {
				done, err := oddly(ctx, c, rand.New(rand.NewPCG(w.d.seed, 2)), 5)
				w.t.Logf("during the backup: %s", strings.Join(done, "; "))
				return err
			})
		}},
		statements("redo of 8M", false, "SET GLOBAL innodb_redo_log_capacity = 8388608", load),
		statements("redo of 300M", false, "SET GLOBAL innodb_redo_log_capacity = 314572800", load),
		statements("redo off and on", false, "ALTER INSTANCE DISABLE INNODB REDO_LOG", load, "ALTER INSTANCE ENABLE INNODB REDO_LOG"),
		statements("redo off and on, unlogged", false, suppress, "ALTER INSTANCE DISABLE INNODB REDO_LOG", load, "ALTER INSTANCE ENABLE INNODB REDO_LOG"),
		statements("redo off", false, "ALTER INSTANCE DISABLE INNODB REDO_LOG", load),
		{name: "kill and restart", rough: true, do: func(ctx context.Context, w *world) error { return w.restart(ctx, true) }},
		{name: "stop and restart", do: func(ctx context.Context, w *world) error { return w.restart(ctx, false) }},
		{name: "import", before: true, do: importTable},
		statements("exchange", true, "ALTER TABLE outside_ev.parts EXCHANGE PARTITION p1 WITH TABLE outside_ev.plain"),
		statements(resetOfBinlogs, false, "RESET BINARY LOGS AND GTIDS"),
		statements("flush and purge of binlogs", false, "FLUSH BINARY LOGS", "FLUSH BINARY LOGS", "PURGE BINARY LOGS BEFORE NOW() + INTERVAL 1 DAY"),
		statements("rebuild", true, "ALTER TABLE outside_ev.plain FORCE", "OPTIMIZE TABLE outside_ev.my"),
		statements("truncate and fill", true, "TRUNCATE outside_ev.plain", "INSERT INTO outside_ev.plain SELECT i, SHA2(i + 7, 224) FROM outside_numbers.n LIMIT 50"),
		statements("rename over", true, "CREATE TABLE outside_ev.other LIKE outside_ev.plain", "INSERT INTO outside_ev.other VALUES (1, 'other')", "RENAME TABLE outside_ev.plain TO outside_ev.was, outside_ev.other TO outside_ev.plain"),
		statements("drop a database", true, "CREATE DATABASE outside_gone", "CREATE TABLE outside_gone.t AS SELECT * FROM outside_ev.plain", "DROP DATABASE outside_gone", "CREATE DATABASE outside_gone", "CREATE TABLE outside_gone.t (id INT)"),
		statements("undo truncated", false, "ALTER UNDO TABLESPACE innodb_undo_001 SET INACTIVE", load, "ALTER UNDO TABLESPACE innodb_undo_001 SET ACTIVE"),
		statements("new undo and general tablespace", true, "CREATE UNDO TABLESPACE outside_undo ADD DATAFILE 'outside_undo.ibu'", "CREATE TABLESPACE outside_space ADD DATAFILE 'outside_space.ibd'", "CREATE TABLE outside_ev.spaced (id INT PRIMARY KEY) TABLESPACE outside_space", "INSERT INTO outside_ev.spaced VALUES (1)"),
		statements("instant columns", true, "ALTER TABLE outside_ev.plain ADD COLUMN c1 INT DEFAULT 3 FIRST, ALGORITHM=INSTANT", "UPDATE outside_ev.plain SET c1 = 4 LIMIT 5"),
		statements("accounts", false, "CREATE USER outside_u@localhost IDENTIFIED BY 'y'", "GRANT SELECT ON *.* TO outside_u@localhost"),
		statements("another engine", true, "ALTER TABLE outside_ev.plain ENGINE=MyISAM", "ALTER TABLE outside_ev.my ENGINE=InnoDB"),
		statements("new master key", false, "ALTER INSTANCE ROTATE INNODB MASTER KEY"),
		statements("encrypt", true, "ALTER TABLE outside_ev.big ENCRYPTION='Y'"),
		{name: "freeze while the redo log is off", do: func(ctx context.Context, w *world) error {
			return w.frozen(func() error {
				return w.sql(ctx, suppress, "ALTER INSTANCE DISABLE INNODB REDO_LOG", load, "ALTER INSTANCE ENABLE INNODB REDO_LOG")
			})
		}},
		{name: "freeze while much is written", do: func(ctx context.Context, w *world) error {
			return w.frozen(func() error { return w.sql(ctx, load, load, load, load) })
		}},
	}
}

// drawEvents draws events and points. Under the lock, statements wait for its end: they are not
// waited for.
func (d *draw) drawEvents() {
	// Whoever holds the follower of the redo log makes all others wait for what it has not read.
	points := slices.DeleteFunc(syncpoint.Backup.Phases(), func(p syncpoint.Point) bool { return p == syncpoint.RedoBlock })
	unlocked := points[:slices.Index(points, syncpoint.LockBefore)+1]
	for _, e := range some(d.r, events(), pick(d.r, []int{0, 0, 1, 1, 2, 3})) {
		from := points
		if e.before {
			from = unlocked
		}
		at := pick(d.r, from)
		if !slices.ContainsFunc(d.happening, func(h happening) bool { return h.at == at }) {
			d.happening = append(d.happening, happening{at, e})
		}
	}
}

// resetOfBinlogs is the event after which GTIDs begin anew.
const resetOfBinlogs = "reset of binlogs"

func (d *draw) happens(name string) bool {
	return slices.ContainsFunc(d.happening, func(h happening) bool { return h.event.name == name })
}

// rough reports whether the server is killed.
func (d *draw) rough() bool {
	return slices.ContainsFunc(d.happening, func(h happening) bool { return h.event.rough })
}

// frozen stops remora and its plugins as long as do takes, and a second more.
func (w *world) frozen(do func() error) error {
	w.process.signal(syscall.SIGSTOP)
	defer w.process.signal(syscall.SIGCONT)
	err := do()
	time.Sleep(time.Second)
	return err
}

func importTable(ctx context.Context, w *world) error {
	return w.conn(ctx, func(c *sql.Conn) error {
		if _, err := c.ExecContext(ctx, "FLUSH TABLES outside_ev.plain FOR EXPORT"); err != nil {
			return err
		}
		dir := filepath.Join(w.source.Dir, "outside_ev")
		out, err := exec.CommandContext(ctx, "cp", filepath.Join(dir, "plain.ibd"), filepath.Join(dir, "plain.cfg"), w.out("tmp")).CombinedOutput()
		if err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		for _, q := range []string{"UNLOCK TABLES", "CREATE TABLE outside_ev.imported LIKE outside_ev.plain", "ALTER TABLE outside_ev.imported DISCARD TABLESPACE"} {
			if _, err := c.ExecContext(ctx, q); err != nil {
				return err
			}
		}
		for _, ext := range []string{".ibd", ".cfg"} {
			if out, err := exec.CommandContext(ctx, "cp", filepath.Join(w.out("tmp"), "plain"+ext), filepath.Join(dir, "imported"+ext)).CombinedOutput(); err != nil {
				return fmt.Errorf("%w: %s", err, out)
			}
		}
		_, err = c.ExecContext(ctx, "ALTER TABLE outside_ev.imported IMPORT TABLESPACE")
		return err
	})
}
