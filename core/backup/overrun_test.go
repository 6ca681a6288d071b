package backup_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/remora-backup/remora/core/code"
	"github.com/remora-backup/remora/core/innodb/redo"
	"github.com/remora-backup/remora/core/mysqld/mysqldtest"
	"github.com/remora-backup/remora/core/needs"
	"github.com/remora-backup/remora/core/run"
	"github.com/remora-backup/remora/core/syncpoint"
	"github.com/remora-backup/remora/examples/workload"
)

// TestOverrun holds the follower while the server writes more redo than it keeps. With a
// consumer the server would wait for us for ever; rather than that we give it up. Either way
// the backup ends, and says why.
func TestOverrun(t *testing.T) {
	needs.Server(t)
	for name, consumer := range map[string]bool{"nobody registered": false, "registered": true, "registered, the capacity lowered": true} {
		t.Run(name, func(t *testing.T) {
			capacity := "8M"
			if strings.Contains(name, "lowered") {
				capacity = "256M"
			}
			l := newLab(t, mysqldtest.Args("--innodb-redo-log-capacity="+capacity, "--innodb-flush-log-at-trx-commit=0"))
			l.numbers()
			l.source.Exec("CREATE DATABASE s", "CREATE TABLE s.t (id INT PRIMARY KEY AUTO_INCREMENT, v VARCHAR(2000))")
			if !consumer { // there is one place: take it until the backup has gone without
				conn, err := l.source.DB().Conn(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				var answer int
				if err := conn.QueryRowContext(t.Context(), "SELECT innodb_redo_log_consumer_register()").Scan(&answer); err != nil || answer != 0 {
					t.Fatalf("register a consumer: %d, %v", answer, err)
				}
				l.hold(syncpoint.RedoFound, 1, func() {
					if err := conn.QueryRowContext(t.Context(), "SELECT innodb_redo_log_consumer_unregister()").Scan(&answer); err != nil || answer != 0 {
						t.Errorf("unregister the consumer: %d, %v", answer, err)
					}
					conn.Close()
				})
			}
			l.hold(syncpoint.CopyDone, 1, func() {
				l.next(syncpoint.RedoBlock, func() {
					l.source.Exec("SET GLOBAL innodb_redo_log_capacity = 8388608")
					l.roll(t)
				})
			})
			_, events, err := l.backup()
			l.allHeld()
			if got := code.Of(err); got != code.RedoOverrun {
				t.Errorf("exit code %d, want %d: %v", got, code.RedoOverrun, err)
			}
			warned := false
			for _, e := range events {
				warned = warned || e.Kind == run.KindWarning && strings.Contains(e.Message, "giving up the redo log consumer")
			}
			if warned != consumer {
				t.Errorf("given up: %t, want %t", warned, consumer)
			}
			l.nothingLeft(t)
		})
	}
}

// roll writes until none of the redo files is left that there were, nor the one after them:
// a file that is unlinked can still be read to its end by who has it open.
func (l *lab) roll(t *testing.T) {
	ids := func() (first, last uint64) {
		entries, err := os.ReadDir(filepath.Join(l.source.Dir, redo.Dir))
		if err != nil {
			t.Error(err)
		}
		first = ^uint64(0)
		for _, e := range entries {
			if id, spare, ok := redo.ParseName(e.Name()); ok && !spare {
				first, last = min(first, id), max(last, id)
			}
		}
		return first, last
	}
	_, until := ids()
	for range 200 {
		if first, _ := ids(); first > until+1 {
			return
		}
		l.source.Exec("INSERT INTO s.t (v) SELECT REPEAT('x', 2000) FROM numbers.n LIMIT 500", "DELETE FROM s.t")
	}
	t.Error("the server kept its redo files")
}

// TestSmallestRedo takes a backup while the server writes its redo files full many times
// over, as fast as it can: as its registered consumer the backup keeps up.
func TestSmallestRedo(t *testing.T) {
	needs.Server(t)
	const wraps = 5
	l := newLab(t, mysqldtest.Args("--innodb-redo-log-capacity=8M", "--innodb-flush-log-at-trx-commit=0"))
	stop := l.busy(workload.Options{Tables: 2, Rows: 5000, Seed: 11}, 8)
	defer stop()
	l.numbers()
	l.source.Exec("CREATE DATABASE s", "CREATE TABLE s.t (id INT PRIMARY KEY AUTO_INCREMENT, v VARCHAR(2000))")
	// Where others have the processors it may be given up, so that the server does not wait;
	// nothing is overrun then either. It is not so each time.
	const tries = 3
	for try := 1; ; try++ {
		l.forget()
		l.hold(syncpoint.CopyDone, 1, func() {
			for until := l.lsn() + wraps*8<<20; l.lsn() < until; {
				l.source.Exec("INSERT INTO s.t (v) SELECT REPEAT(i, 300) FROM numbers.n LIMIT 4000", "DELETE FROM s.t WHERE id % 3 = 0")
			}
		})
		res, events, err := l.backup()
		if err != nil {
			t.Fatal(err)
		}
		l.allHeld()
		givenUp := false
		for _, e := range events {
			switch {
			case strings.HasPrefix(e.Message, "giving up the redo log consumer") && try < tries:
				t.Logf("try %d: %s", try, e.Message)
				givenUp = true
			case e.Kind == run.KindWarning || strings.Contains(e.Message, "no redo log consumer"):
				t.Errorf("%s", e.Message)
			}
		}
		if givenUp {
			continue
		}
		stop()
		l.same(l.restore(), res)
		return
	}
}

func (l *lab) lsn() (n uint64) {
	l.t.Helper()
	q := "SELECT STORAGE_ENGINES->>'$.InnoDB.LSN' FROM performance_schema.log_status"
	if _, err := fmt.Sscan(l.source.QueryString(q), &n); err != nil {
		l.t.Fatal(err)
	}
	return n
}
