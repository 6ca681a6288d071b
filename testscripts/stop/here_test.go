package stop

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/remora-backup/remora/core/run"
	"github.com/remora-backup/remora/core/server"
	"github.com/remora-backup/remora/core/state"
	"github.com/remora-backup/remora/core/syncpoint"
)

var numbers atomic.Int64

// backupAt starts a backup of the worker's server and holds it at a point; other points may
// be armed too, as "POINT pause".
func (b *bench) backupAt(t *testing.T, at syncpoint.Point, armed ...string) *check {
	t.Helper()
	return b.configured(t, "", at, armed...)
}

// configured is backupAt with more in the configuration.
func (b *bench) configured(t *testing.T, more string, at syncpoint.Point, armed ...string) *check {
	t.Helper()
	dir := filepath.Join(b.dir, fmt.Sprint("own", numbers.Add(1)))
	h, err := newHome(dir, b.server(t).Socket, filepath.Join(dir, "repo"), more)
	if err != nil {
		t.Fatal(err)
	}
	c := &check{t: t, b: b, home: h, p: held(h, "backup"), o: one{"backup", at, "", 1000}}
	t.Cleanup(func() { _ = c.p.signal(syscall.SIGKILL); <-c.p.done; os.RemoveAll(dir) })
	for _, order := range append(armed, string(at)+" pause") {
		c.order("arm " + order)
	}
	c.order("go")
	if err := c.p.await(t.Context(), at); err != nil {
		t.Fatalf("%v\n%s\n%s", err, c.p.out, c.p.err)
	}
	c.before = children(c.p.pid())
	return c
}

func (c *check) order(words string) {
	c.t.Helper()
	if _, err := c.p.sync(c.t.Context(), strings.Fields(words)...); err != nil {
		c.t.Fatal(err)
	}
}

func (c *check) send(s syscall.Signal) {
	c.t.Helper()
	if err := c.p.signal(s); err != nil {
		c.t.Fatal(err)
	}
}

// ends waits for the end and checks the exit code, that nothing stays locked, and that the
// next backup works.
func (c *check) ends(codes ...int) answer {
	c.t.Helper()
	_, _ = c.p.sync(c.t.Context(), "resume", string(c.o.point)) // it may have gone on by itself
	return c.endsByItself(codes...)
}

func (c *check) endsByItself(codes ...int) answer {
	c.t.Helper()
	a, err := c.p.wait(c.t.Context())
	if err != nil {
		c.t.Fatal(err)
	}
	c.answer = a
	good := false
	for _, code := range codes {
		good = good || a.code == code
	}
	if !good {
		c.t.Errorf("exit code is %d, want one of %v\n%s", a.code, codes, a)
	}
	if err := gone(c.before, 2*time.Second); err != nil {
		c.t.Error(err)
	}
	c.server(c.t)
	for until := time.Now().Add(2 * time.Second); c.locks(c.t.Context()) > 0 && time.Now().Before(until); {
		time.Sleep(5 * time.Millisecond)
	}
	c.unlocked(c.t.Context())
	if next, err := begin(c.home, "backup").wait(c.t.Context()); err != nil || next.code != 0 {
		c.t.Errorf("the next backup: %v, exit code %d\n%s", err, next.code, next)
	}
	c.stored(c.listed())
	return a
}

// hanging interrupts a backup once and returns when its clean-up hangs.
func hanging(t *testing.T, b *bench) *check {
	c := b.backupAt(t, syncpoint.TailRedo, string(syncpoint.CleanupAbort)+" pause")
	c.send(syscall.SIGINT)
	if err := c.p.await(t.Context(), syncpoint.CleanupAbort); err != nil {
		t.Fatal(err)
	}
	time.Sleep(30 * time.Millisecond) // a key that bounces is not a second one
	return c
}

func second(t *testing.T, b *bench) {
	c := hanging(t, b)
	begun := time.Now()
	c.send(syscall.SIGINT)
	<-c.p.done
	if took := time.Since(begun); took > time.Second+time.Second { // a second, and one for a busy machine
		t.Errorf("the end took %v, want a second at most", took)
	}
	a := c.endsByItself(130)
	if end := a.end(); end == nil || end.State != run.Cancelled || len(end.Leftovers) == 0 {
		t.Errorf("the end is %+v, want what is left in it", end)
	}
	if all := c.operations(); len(all) != 2 || all[1].State != run.Cancelled {
		t.Errorf("the history is %+v", all)
	}
}

func third(t *testing.T, b *bench) {
	c := hanging(t, b)
	c.send(syscall.SIGINT)
	time.Sleep(30 * time.Millisecond)
	_ = c.p.signal(syscall.SIGINT)            // it may just have left
	c.endsByItself(-int(syscall.SIGINT), 130) // 130 if it was just leaving
}

func twice(t *testing.T, b *bench) {
	c := b.backupAt(t, syncpoint.LockHeld)
	c.send(syscall.SIGINT)
	c.send(syscall.SIGINT)
	a := c.ends(130)
	if end := a.end(); end == nil || len(end.Errors) != 1 || len(end.Leftovers) != 0 {
		t.Errorf("the end is %+v, want a whole clean-up", end)
	}
}

func toTheGroup(t *testing.T, b *bench) {
	c := b.backupAt(t, syncpoint.LockHeld)
	if err := syscall.Kill(-c.p.pid(), syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	if a := c.ends(130); a.end() == nil || len(a.end().Errors) != 1 {
		t.Errorf("got %s, want one error", a)
	}
}

func toAll(t *testing.T, b *bench) {
	c := b.backupAt(t, syncpoint.LockHeld)
	for _, one := range c.before {
		_ = syscall.Kill(one.pid, syscall.SIGTERM)
	}
	c.send(syscall.SIGTERM)
	if a := c.ends(143); a.end() == nil || len(a.end().Errors) != 1 {
		t.Errorf("got %s, want one error", a)
	}
}

func killedWhileTidying(t *testing.T, b *bench) {
	c := b.backupAt(t, syncpoint.LockHeld, string(syncpoint.CleanupRelease)+" pause")
	c.send(syscall.SIGTERM)
	if err := c.p.await(t.Context(), syncpoint.CleanupRelease); err != nil {
		t.Fatal(err)
	}
	c.send(syscall.SIGKILL)
	c.endsByItself(-int(syscall.SIGKILL))
	if all := c.operations(); len(all) != 2 || all[1].State != run.Crashed {
		t.Errorf("the history is %+v, want the first crashed", all)
	}
}

func serverStops(t *testing.T, b *bench) {
	c := b.backupAt(t, syncpoint.CopyExtent)
	if err := b.source.Stop(); err != nil {
		t.Fatal(err)
	}
	if a := c.ends(13); a.end() == nil || a.end().State != run.Failed {
		t.Errorf("got %s", a)
	}
}

func shutdownWhileLocked(t *testing.T, b *bench) {
	c := b.backupAt(t, syncpoint.LockHeld)
	if err := b.source.Stop(); err != nil {
		t.Fatal(err)
	}
	c.ends(13)
}

// stopped is longer than the plugin waits for a silent host.
func stopped(t *testing.T, b *bench) {
	c := b.backupAt(t, syncpoint.LockHeld)
	if c.locks(t.Context()) == 0 {
		t.Fatal("the server is not locked")
	}
	c.send(syscall.SIGSTOP)
	for until := time.Now().Add(patience); c.locks(t.Context()) > 0; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(until) {
			t.Fatal("the server stays locked by a process that is stopped")
		}
	}
	c.send(syscall.SIGCONT)
	if a := c.ends(14); a.end() == nil || !strings.Contains(a.end().Error, "lock") {
		t.Errorf("got %s", a)
	}
}

// orphanedLock: neither host nor plugin could let go, as when their machine is frozen. (A plugin
// that is only stopped is continued by the kernel when its host dies, and lets go.) The session
// of this test stands for theirs; the next backup ends it.
func orphanedLock(t *testing.T, b *bench) {
	c := b.backupAt(t, syncpoint.LockLook)
	c.send(syscall.SIGKILL)
	<-c.p.done
	if err := gone(c.before, 2*time.Second); err != nil {
		t.Error(err)
	}
	db, _, err := server.Open(server.Config{Socket: b.source.Socket, User: "remora", Password: "stop-it", Program: server.LockProgram})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	conn, err := db.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	var id uint64
	if _, err = conn.ExecContext(t.Context(), "LOCK INSTANCE FOR BACKUP"); err == nil {
		err = conn.QueryRowContext(t.Context(), "SELECT CONNECTION_ID()").Scan(&id)
	}
	if err != nil {
		t.Fatal(err)
	}
	all := c.operations()
	c.remembered(func(s *state.Store) error {
		return s.Describe(t.Context(), all[0].ID, func(o *state.Operation) { o.LockConnection, o.LockPID = id, os.Getpid() })
	})
	a, err := begin(c.home, "backup").wait(t.Context())
	if err != nil || a.code != 0 || !strings.Contains(a.out, fmt.Sprintf("Killed session %d", id)) {
		t.Errorf("the next backup: %v, exit code %d, want it to kill session %d\n%s", err, a.code, id, a)
	}
	if n := c.locks(t.Context()); n > 0 {
		t.Errorf("%d locks are left", n)
	}
}

func outOfMemory(t *testing.T, b *bench) {
	c := b.backupAt(t, syncpoint.LockHeld)
	limit := unix.Rlimit{Cur: 1 << 20, Max: 1 << 20}
	if err := unix.Prlimit(c.p.pid(), unix.RLIMIT_AS, &limit, nil); err != nil {
		t.Fatal(err)
	}
	died := 2
	if raceDetector {
		died = 66 // the race detector's own way to die
	}
	c.ends(died, 2, 0) // 0 if it needed no more than it had
}

func killQuery(t *testing.T, b *bench) {
	c := b.backupAt(t, syncpoint.LockHeld)
	var id uint64
	err := b.source.DB().QueryRowContext(t.Context(), "SELECT processlist_id FROM performance_schema.threads JOIN performance_schema.metadata_locks ON owner_thread_id = thread_id WHERE object_type = 'BACKUP LOCK' AND lock_duration = 'EXPLICIT'").Scan(&id)
	if err != nil {
		t.Fatal(err)
	}
	for range 5 {
		b.source.kill(t, fmt.Sprintf("KILL QUERY %d", id))
	}
	c.ends(0)
}

func (s *source) kill(t *testing.T, statement string) {
	t.Helper()
	if err := s.Exec(t.Context(), statement); err != nil {
		t.Error(err)
	}
}

// within opens a session that does something while f runs.
func (s *source) within(t *testing.T, statements []string, f func()) {
	t.Helper()
	conn, err := s.DB().Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for _, q := range statements[:len(statements)-1] {
		if _, err := conn.ExecContext(t.Context(), q); err != nil {
			t.Fatal(err)
		}
	}
	f()
	if _, err := conn.ExecContext(context.WithoutCancel(t.Context()), statements[len(statements)-1]); err != nil {
		t.Error(err)
	}
}

const impatient = "[backup]\nlock_patience = \"1s\"\n"

// blocked: DDL that waits for a transaction holds what the backup lock conflicts with.
func blocked(t *testing.T, b *bench) {
	c := b.configured(t, impatient, syncpoint.LockBefore)
	ddl := make(chan error, 1)
	b.source.within(t, []string{"BEGIN", "SELECT COUNT(*) FROM shop.orders", "COMMIT"}, func() {
		go func() {
			ddl <- b.source.Exec(context.WithoutCancel(t.Context()), "ALTER TABLE shop.orders COMMENT = 'x'")
		}()
		waits := "SELECT COUNT(*) FROM performance_schema.metadata_locks WHERE lock_status = 'PENDING'"
		for n := 0; n == 0; time.Sleep(5 * time.Millisecond) {
			if err := b.source.DB().QueryRowContext(t.Context(), waits).Scan(&n); err != nil {
				t.Fatal(err)
			}
		}
		_, _ = c.p.sync(t.Context(), "resume", string(c.o.point))
		<-c.p.done
	})
	if err := <-ddl; err != nil {
		t.Error(err)
	}
	if a := c.endsByItself(14); !strings.Contains(a.out, "blocked by process") {
		t.Errorf("it does not say who was in the way:\n%s", a)
	}
}

// behindAStatement: a table without a log is written to, so its lock is not granted.
func behindAStatement(t *testing.T, b *bench) {
	c := b.configured(t, impatient, syncpoint.LockLook)
	b.source.within(t, []string{"LOCK TABLES shop.old WRITE", "UNLOCK TABLES"}, func() {
		_, _ = c.p.sync(t.Context(), "resume", string(c.o.point))
		<-c.p.done
	})
	c.endsByItself(14)
}

func sharedLock(t *testing.T, b *bench) {
	c := b.backupAt(t, syncpoint.LockBefore)
	b.source.within(t, []string{"LOCK INSTANCE FOR BACKUP", "UNLOCK INSTANCE"}, func() {
		_, _ = c.p.sync(t.Context(), "resume", string(c.o.point))
		<-c.p.done
	})
	c.endsByItself(0)
}

func passwordChanged(t *testing.T, b *bench) {
	c := b.backupAt(t, syncpoint.CopyExtent)
	b.source.kill(t, "ALTER USER 'remora'@'localhost' IDENTIFIED BY 'another'")
	_, _ = c.p.sync(t.Context(), "resume", string(c.o.point))
	<-c.p.done
	b.source.kill(t, "ALTER USER 'remora'@'localhost' IDENTIFIED BY 'stop-it'")
	c.endsByItself(12)
}

func readOnly(t *testing.T, b *bench) {
	c := b.backupAt(t, syncpoint.BackupStart)
	b.source.kill(t, "SET GLOBAL super_read_only = ON")
	_, _ = c.p.sync(t.Context(), "resume", string(c.o.point))
	<-c.p.done
	b.source.kill(t, "SET GLOBAL super_read_only = OFF")
	b.source.kill(t, "SET GLOBAL read_only = OFF")
	c.endsByItself(0)
}

func restarted(t *testing.T, b *bench) {
	c := b.backupAt(t, syncpoint.CopyDone)
	if err := b.source.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	c.ends(13)
}

// sameName: two notify plugins of one name are two processes with settings of their own, and
// neither is in the other's way.
func sameName(t *testing.T, b *bench) {
	c := b.configured(t, "[[notify]]\nplugin = \"log\"\n", syncpoint.BackupStart)
	n := 0
	for _, one := range c.before {
		n += count(one.name == "remora-notify")
	}
	if n != 2 {
		t.Errorf("%d notify plugins run, want 2", n)
	}
	a := c.ends(0)
	if n := strings.Count(a.err, "Backup completed"); n != 2 {
		t.Errorf("the end was told %d times, want 2\n%s", n, a)
	}
}

func secondOperation(t *testing.T, b *bench) {
	c := b.backupAt(t, syncpoint.LockHeld)
	a, err := begin(c.home, "backup").wait(t.Context())
	if err != nil || a.code != 11 || !strings.Contains(a.String(), fmt.Sprint(c.p.pid())) {
		t.Errorf("the second operation: %v, %s; want 11 and who runs", err, a)
	}
	if out, err := remora(c.home, "status"); err != nil || !strings.Contains(out, "running, locking") {
		t.Errorf("status: got %q, %v", out, err)
	}
	if out, err := remora(c.home, "cancel"); err != nil || !strings.Contains(out, "is being cancelled") {
		t.Errorf("cancel: got %q, %v", out, err)
	}
	if got := c.ends(25); got.end() == nil || !strings.HasPrefix(got.end().InterruptedBy, "api:") {
		t.Errorf("got %s", got)
	}
	if out, err := remora(c.home, "cancel"); err != nil || !strings.Contains(out, "nothing is running") {
		t.Errorf("cancel of nothing: got %q, %v", out, err)
	}
}
