package outside

import (
	"context"
	"database/sql"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/remora-backup/remora/core/inert"
	"github.com/remora-backup/remora/core/needs"
)

// setting is one variable with one odd value.
type setting struct{ name, value string }

func (s setting) String() string { return fmt.Sprintf("SET GLOBAL %s = %s", s.name, s.value) }

// atOnce is how many variables have odd values in one backup.
const atOnce = 12

// dangerous are variables that change what a session is answered, or how long it lives.
var dangerous = []string{
	"autocommit", "big_tables", "character_set_results", "completion_type", "group_concat_max_len", "init_connect", "lc_messages", "lock_wait_timeout",
	"max_execution_time", "max_join_size", "net_read_timeout", "net_write_timeout", "optimizer_switch", "sql_big_selects", "sql_mode", "sql_select_limit", "time_zone",
	"transaction_isolation", "transaction_read_only", "wait_timeout",
}

// TestEverySetting backs up and restores a server of many tables with odd values, a dozen at a
// time. A refused dozen is halved until it is known which variable is refused.
func TestEverySetting(t *testing.T) {
	needs.Server(t)
	if *settings == "" {
		return
	}
	d := &draw{seed: 1, r: rand.New(rand.NewPCG(1, 1)), grants: grants, role: inert.Inert, storage: map[string]string{}}
	for i := range 120 {
		d.add(object{create: fmt.Sprintf("CREATE TABLE outside_numbers.t%d (id INT PRIMARY KEY) ENGINE=InnoDB", i)})
	}
	w := newWorld(t, d, built(t))
	if err := w.begin(t.Context()); err != nil {
		t.Fatal(err)
	}
	want, err := w.expected(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var total tally
	for _, group := range w.groups(t) {
		w.try(t, group, want, &total)
	}
	fmt.Print(&total)
}

// groups are all settings, so that no variable is twice in one.
func (w *world) groups(t *testing.T) (groups [][]setting) {
	t.Helper()
	var all []variable
	err := w.conn(t.Context(), func(c *sql.Conn) (err error) { all, err = settable(t.Context(), c); return err })
	if err != nil {
		t.Fatal(err)
	}
	if *settings != "all" {
		all = slices.DeleteFunc(all, func(v variable) bool { return !slices.Contains(dangerous, v.name) })
	}
	for round := 0; ; round++ {
		var list []setting
		for _, v := range all {
			if values := v.odd(); round < len(values) && (*settings == "all" || round < 3) {
				list = append(list, setting{v.name, values[round]})
			}
		}
		if len(list) == 0 {
			return groups
		}
		groups = slices.AppendSeq(groups, slices.Chunk(list, atOnce))
	}
}

// try backs up with the settings and holds the restored server against want.
func (w *world) try(t *testing.T, group []setting, want state, total *tally) {
	refused := false
	t.Run(group[0].name, func(t *testing.T) {
		w.t = t
		ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
		defer cancel()
		if err := w.source.Restart(ctx); err != nil { // which forgets the settings before
			t.Fatal(err)
		}
		err := w.conn(ctx, func(c *sql.Conn) error {
			for _, s := range group {
				if _, err := c.ExecContext(ctx, s.String()); err == nil { // the server does not take all
					t.Log(s)
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		a := w.remora(ctx, "backup")
		if refused = a.code != 0; refused {
			if len(group) == 1 {
				total.add(verdict{fmt.Sprintf("%s refused with %d:", group[0], a.code), a.why()})
			}
			return
		}
		target := filepath.Join(w.dir, "restored")
		defer os.RemoveAll(target)
		r := w.restore(ctx, target)
		if r.code != 0 {
			t.Errorf("a backup that says it is complete cannot be restored: exit code %d\n%s\nbackup:\n%s", r.code, r, a)
			return
		}
		w.compare(ctx, target, want, a.end.GTIDExecuted)
		if !t.Failed() {
			total.add(verdict{whole, ""})
		}
	})
	if half := len(group) / 2; refused && half > 0 {
		w.try(t, group[:half], want, total)
		w.try(t, group[half:], want, total)
	}
}
