package backup_test

import (
	"context"
	"flag"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/remora-backup/remora/core/mysqld/mysqldtest"
	"github.com/remora-backup/remora/core/needs"
	"github.com/remora-backup/remora/core/run"
	"github.com/remora-backup/remora/core/syncpoint"
)

var doublings = flag.Int("window.doublings", 2, "how often the table with the large index is doubled, from 5 MiB; 8 makes an index of over 1 GB")

// TestManyTables alters 1,000 tables while a backup with few file descriptors copies them,
// and lets a large index be under way when the lock is asked for. The time under the lock is
// logged; that the index is not copied under it is checked.
func TestManyTables(t *testing.T) {
	needs.Server(t)
	l := newLab(t, mysqldtest.Args("--innodb-buffer-pool-size=256M", "--skip-innodb-doublewrite", "--innodb-flush-log-at-trx-commit=0", "--innodb-redo-log-capacity=512M"))
	l.numbers()
	l.source.Exec("CREATE DATABASE many")
	l.source.Exec(table("many.big", 20000, "")...)
	for range *doublings {
		l.source.Exec("INSERT INTO many.big (a, v) SELECT a, v FROM many.big")
	}
	// each makes one statement for each of the thousand tables, on four connections.
	each := func(statement string) {
		var writers sync.WaitGroup
		for w := range 4 {
			writers.Go(func() {
				for i := w; i < 1000; i += 4 {
					if err := l.source.Server.Exec(context.WithoutCancel(t.Context()), strings.ReplaceAll(statement, "{t}", fmt.Sprintf("many.t%d", i))); err != nil {
						t.Errorf("table %d: %v", i, err)
						return
					}
				}
			})
		}
		writers.Wait()
	}
	each("CREATE TABLE {t} (id INT PRIMARY KEY, a INT)")
	l.hold(syncpoint.CopyDone, 1, func() { each("ALTER TABLE {t} ADD INDEX (a)") })
	index := make(chan error, 1)
	l.hold(syncpoint.LockBefore, 1, func() {
		go func() {
			index <- l.source.Server.Exec(t.Context(), "ALTER TABLE many.big ADD INDEX (v), ALGORITHM=INPLACE")
		}()
		for l.source.QueryString("SELECT COUNT(*) FROM performance_schema.metadata_locks WHERE OBJECT_TYPE = 'BACKUP LOCK' AND LOCK_TYPE = 'INTENTION_EXCLUSIVE'") == "0" {
			continue
		}
	})
	was := limitFiles(t, 256)
	res, events, err := l.backup()
	unlimitFiles(t, was)
	if err != nil {
		t.Fatal(err)
	}
	if err := <-index; err != nil {
		t.Fatal(err)
	}
	givenBack := false
	for _, e := range events {
		if e.Kind == run.KindNote || e.Kind == run.KindWarning {
			t.Log(e.Phase, e.Message)
			if e.Phase == "locking" && strings.HasPrefix(e.Message, "round ") {
				t.Errorf("copied while it says locking: %s", e.Message)
			}
			givenBack = givenBack || strings.Contains(e.Message, "giving the lock back")
		}
	}
	if !givenBack {
		t.Errorf("the lock was not given back although an index ended just before it was granted")
	}
	if got, want := strings.Join(phases(events), " "), "catching_up locking catching_up locking"; !strings.Contains(got, want) {
		t.Errorf("phases %s, want %s among them: what was left is not copied while it says locking", got, want)
	}
	t.Logf("tablespace with the large index: %s bytes", l.source.QueryString("SELECT FILE_SIZE FROM information_schema.INNODB_TABLESPACES WHERE NAME = 'many/big'"))
	t.Logf("locked for %.1f ms, waited %.1f ms", res.LockMS, res.LockWaitMS)
	l.same(l.restore(), res)
}

// TestCopiedUnderTheLock leaves a little for the time under the lock: it is read then, and
// stored later.
func TestCopiedUnderTheLock(t *testing.T) {
	needs.Server(t)
	l := newLab(t)
	l.numbers()
	l.source.Exec(append([]string{"CREATE DATABASE s"}, table("s.t0", 2000, "")...)...)
	l.hold(syncpoint.LockBefore, 1, func() {
		l.source.Exec("ALTER TABLE s.t0 ADD INDEX (v)")
		for i := range 5 {
			l.source.Exec(table(fmt.Sprintf("s.t%d", i+1), 300, "")...)
		}
	})
	res, events, err := l.backup()
	if err != nil {
		t.Fatal(err)
	}
	l.allHeld()
	for _, e := range events {
		if strings.Contains(e.Message, "giving the lock back") {
			t.Errorf("nothing was copied under the lock: %s", e.Message)
		}
	}
	l.same(l.restore(), res)
}
