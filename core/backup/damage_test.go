package backup_test

import (
	"crypto/rand"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/remora-backup/remora/core/backup"
	"github.com/remora-backup/remora/core/code"
	"github.com/remora-backup/remora/core/needs"
	"github.com/remora-backup/remora/core/plug/plugtest"
	"github.com/remora-backup/remora/core/repo"
	"github.com/remora-backup/remora/core/syncpoint"
)

// TestFaults breaks one thing after the other, on one server, and looks at the exit code and
// at what the message says. No failed backup may leave anything behind.
func TestFaults(t *testing.T) {
	needs.Server(t)
	l := newLab(t)
	l.numbers()
	l.source.Exec(flat([]string{"CREATE DATABASE s"}, table("s.t", 3000, ""), table("s.u", 30, ""), table("s.v", 30, ""))...)
	at := func(name string) string { return filepath.Join(l.source.Dir, "s", name) }
	blocked := new(plugtest.MemoryLock)
	defer blocked.Block()()
	idle, err := strconv.ParseUint(l.source.QueryString("SELECT CONNECTION_ID()"), 10, 64) // of the test's own pool
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name string
		do   func(t *testing.T) (undo func())
		cfg  func(*backup.Config)
		code code.Code
		want []string
	}{
		{"page damaged, no DDL", func(t *testing.T) func() { return damage(t, l, at("t.ibd"), 4, 200) }, nil, code.CorruptPage, []string{"s/t.ibd", "page 4", "LSN "}},
		{"page damaged under the lock", func(t *testing.T) func() {
			var undo func()
			l.hold(syncpoint.LockBefore, 1, func() {
				l.source.Exec("CREATE TABLE s.late (i INT)")
				undo = damage(t, l, at("late.ibd"), 3, 100)
			})
			return func() { undo(); l.source.Exec("DROP TABLE s.late") }
		}, nil, code.CorruptPage, []string{"s/late.ibd", "page 3"}},
		{"first page damaged", func(t *testing.T) func() { return damage(t, l, at("t.ibd"), 0, 34) }, nil, code.CorruptPage, []string{"s/t.ibd", "page 0"}},
		{"truncated under us", func(t *testing.T) func() {
			l.source.Exec("FLUSH TABLES s.t FOR EXPORT", "UNLOCK TABLES")
			b, err := os.ReadFile(at("t.ibd"))
			if err != nil {
				t.Fatal(err)
			}
			l.hold(syncpoint.CopyDiscovered, 1, func() {
				if err := os.Truncate(at("t.ibd"), 100_000); err != nil {
					t.Error(err)
				}
			})
			return func() {
				if err := os.WriteFile(at("t.ibd"), b, 0o640); err != nil {
					t.Error(err)
				}
			}
		}, nil, code.CorruptPage, []string{"s/t.ibd"}},
		{"link in place of a table", func(t *testing.T) func() {
			if err := errors.Join(os.Rename(at("u.ibd"), at("u.elsewhere")), os.Symlink("u.elsewhere", at("u.ibd"))); err != nil {
				t.Fatal(err)
			}
			return func() {
				if err := errors.Join(os.Remove(at("u.ibd")), os.Rename(at("u.elsewhere"), at("u.ibd"))); err != nil {
					t.Error(err)
				}
			}
		}, nil, code.Version, []string{"s/u.ibd", "not a regular file"}},
		{"loop of links in place of a schema", func(t *testing.T) func() {
			loop := filepath.Join(l.source.Dir, "loop")
			if err := os.Symlink("loop", loop); err != nil {
				t.Fatal(err)
			}
			return func() { os.Remove(loop) }
		}, nil, code.Unclassified, []string{"loop", "too many levels"}},
		{"table gone, no DDL", func(t *testing.T) func() {
			if err := os.Rename(at("v.ibd"), at("v.hidden")); err != nil {
				t.Fatal(err)
			}
			return func() { os.Rename(at("v.hidden"), at("v.ibd")) }
		}, nil, code.CorruptPage, []string{"s/v.ibd", "no such file"}},
		{"data directory of another server", func(t *testing.T) func() {
			cnf := filepath.Join(l.source.Dir, "auto.cnf")
			if err := errors.Join(os.Rename(cnf, cnf+".own"), os.WriteFile(cnf, []byte("[auto]\nserver-uuid=11111111-2222-3333-4444-555555555555\n"), 0o640)); err != nil {
				t.Fatal(err)
			}
			return func() { os.Rename(cnf+".own", cnf) }
		}, nil, code.ServerGone, []string{l.source.Dir, "another"}},
		{"not the lock that it is said to be", nil, func(c *backup.Config) { c.Lock = &plugtest.MemoryLock{Session: idle} }, code.Lock, []string{"lock plugin says"}},
		{"lock not granted", nil, func(c *backup.Config) { c.Lock, c.Patience = blocked, time.Millisecond }, code.Lock, []string{"not granted"}},
		{"redo log without checksums", func(t *testing.T) func() {
			l.source.Exec("SET GLOBAL innodb_log_checksums = OFF")
			return func() { l.source.Exec("SET GLOBAL innodb_log_checksums = ON") }
		}, nil, code.Version, []string{"innodb_log_checksums is OFF"}},
		{"redo logging off and on again", func(t *testing.T) func() {
			l.hold(syncpoint.CopyDone, 1, func() {
				l.source.Exec("ALTER INSTANCE DISABLE INNODB REDO_LOG", "ALTER INSTANCE ENABLE INNODB REDO_LOG")
			})
			return func() {}
		}, nil, code.Version, []string{"redo logging was switched off"}},
		{"redo logging off and on again, the error log silenced meanwhile", func(t *testing.T) func() {
			l.source.Exec("CREATE TABLE IF NOT EXISTS s.busy (i INT PRIMARY KEY AUTO_INCREMENT, j INT)")
			// Two ids each: with 300 of them an id that the server writes anyway is in the log before, and one is missing after.
			insert := func() {
				for range 300 {
					l.source.Exec("INSERT INTO s.busy (j) VALUES (1)")
				}
			}
			insert()
			silent := func() { // the follower stands still: it would see the header
				l.source.Exec("SET GLOBAL log_error_suppression_list = 'MY-013600,MY-013601,MY-014088'", "ALTER INSTANCE DISABLE INNODB REDO_LOG")
				insert()
				l.source.Exec("ALTER INSTANCE ENABLE INNODB REDO_LOG", "SET GLOBAL log_error_suppression_list = ''")
			}
			l.hold(syncpoint.CopyDone, 1, func() {
				done := make(chan struct{})
				l.next(syncpoint.RedoBlock, func() { defer close(done); silent() })
				<-done
			})
			return func() {}
		}, nil, code.Version, []string{"redo logging was switched off", "the log shows it"}},
		{"redo logging off", func(t *testing.T) func() {
			l.hold(syncpoint.CopyDone, 1, func() { l.source.Exec("ALTER INSTANCE DISABLE INNODB REDO_LOG") })
			return func() { l.source.Exec("ALTER INSTANCE ENABLE INNODB REDO_LOG") }
		}, nil, code.Version, []string{"redo logging was switched off"}},
		{"no file descriptors", func(t *testing.T) func() {
			var was syscall.Rlimit
			l.hold(syncpoint.CopyDiscovered, 1, func() { was = limitFiles(t, 0) })
			return func() { unlimitFiles(t, was) }
		}, nil, code.Unclassified, []string{"too many open files"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l.forget()
			undo := func() {}
			if tt.do != nil {
				undo = tt.do(t)
			}
			change := []func(*backup.Config){}
			if tt.cfg != nil {
				change = append(change, tt.cfg)
			}
			_, _, err := l.backup(change...)
			undo()
			if err == nil {
				t.Fatal("the backup was taken")
			}
			if got := code.Of(err); got != tt.code {
				t.Errorf("exit code %d, want %d: %v", got, tt.code, err)
			}
			for _, want := range tt.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("the message does not say %q: %v", want, err)
				}
			}
			if tt.name != "no file descriptors" { // then nobody can look what there is to remove
				l.nothingLeft(t)
			}
		})
	}
	l.forget()
	if _, _, err := l.backup(); err != nil {
		t.Errorf("when all is well again: %v", err)
	}
}

// damage overwrites bytes of a page on disk, of which the server has a good copy in memory.
func damage(t *testing.T, l *lab, path string, page, at int64) func() {
	t.Helper()
	l.source.Exec("SET GLOBAL innodb_max_dirty_pages_pct = 0, innodb_max_dirty_pages_pct_lwm = 0", "SELECT innodb_redo_log_sharp_checkpoint()")
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	was, junk := make([]byte, 64), make([]byte, 64)
	_, _ = rand.Read(junk)
	if _, err := f.ReadAt(was, page*16384+at); err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt(junk, page*16384+at); err != nil {
		t.Fatal(err)
	}
	return func() {
		f, err := os.OpenFile(path, os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if _, err := f.WriteAt(was, page*16384+at); err != nil {
			t.Error(err)
		}
	}
}

// limitFiles lowers the number of files that this process may open.
func limitFiles(t *testing.T, n uint64) (was syscall.Rlimit) {
	t.Helper()
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &was); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: n, Max: was.Max}); err != nil {
		t.Fatal(err)
	}
	return was
}

func unlimitFiles(t *testing.T, was syscall.Rlimit) {
	t.Helper()
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &was); err != nil {
		t.Fatal(err)
	}
}

// forget takes all holds back.
func (l *lab) forget() {
	l.holds = &holds{at: map[syncpoint.Point][]*hold{}, seen: map[syncpoint.Point]int{}}
}

// nothingLeft checks that the storage has no part of a backup and the server no lock.
func (l *lab) nothingLeft(t *testing.T) {
	t.Helper()
	r, err := repo.Open(t.Context(), l.storage)
	if err != nil {
		t.Fatal(err)
	}
	if all, err := r.List(t.Context()); err != nil || len(all) > 0 {
		t.Errorf("the repository has %v, %v; want no backup", all, err)
	}
	for name, err := range l.storage.List(t.Context(), "") {
		if err != nil || strings.Contains(name.Name, "pack") {
			t.Errorf("the storage still has %s, %v", name.Name, err)
		}
	}
	if n := l.source.QueryString("SELECT COUNT(*) FROM performance_schema.metadata_locks WHERE OBJECT_TYPE = 'BACKUP LOCK' AND LOCK_TYPE = 'SHARED'"); n != "0" {
		t.Errorf("%s backup locks are held", n)
	}
}
