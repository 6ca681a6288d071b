package stop

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/remora-backup/remora/core/control"
	"github.com/remora-backup/remora/core/syncpoint"
)

// run makes one run: hold, do, let go, ask.
func (b *bench) run(t *testing.T, o one) {
	ctx, cancel := context.WithTimeout(t.Context(), 3*patience)
	defer cancel()
	dir := filepath.Join(b.dir, fmt.Sprint(o.number))
	defer os.RemoveAll(dir)
	socket, repo, more := "/nowhere", b.repo, ""
	if o.operation == "backup" {
		socket, repo = b.server(t).Socket, filepath.Join(dir, "repo")
	}
	if o.fault == killHook {
		more = fmt.Sprintf("[hooks]\nscripts = [%q]\n", filepath.Join(dir, hookName))
	}
	h, err := newHome(dir, socket, repo, more)
	if err == nil {
		err = lay(o, h)
	}
	if err != nil {
		t.Fatal(err)
	}
	p := held(h, o.args(h)...)
	defer p.signal(syscall.SIGKILL)
	c := &check{t: t, b: b, o: o, home: h, p: p}
	if err := c.arrange(ctx); err != nil {
		t.Fatalf("%v\n%s\n%s", err, p.out, p.err)
	}
	c.before = children(p.pid())
	if o.fault != fail {
		if err := c.do(ctx); err != nil {
			t.Fatalf("%v\n%s\n%s", err, p.out, p.err)
		}
		if o.point != syncpoint.OperationBegin || o.fault != sigint && o.fault != sigterm {
			_, _ = p.sync(ctx, "resume", string(o.point)) // it may be gone, or have gone on by itself
		}
	}
	c.answer, err = p.wait(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if o.fault == sigint || o.fault == sigterm {
		b.tally.left(o, time.Since(c.began))
	}
	c.ask(ctx)
	if t.Failed() {
		t.Logf("answer: exit code %d\n%s", c.answer.code, c.answer)
	}
}

// arrange arms what must happen and holds the process at the point.
func (c *check) arrange(ctx context.Context) error {
	p, o := c.p, c.o
	orders := [][]string{{"arm", string(o.point), "pause"}}
	if o.fault == fail {
		orders[0][2] = "fail"
	}
	if o.fault == killMysqld && o.operation != "backup" {
		orders[0] = append(orders[0], "nth=2") // the first progress is told before the server starts
	}
	if at := o.trigger(); at != "" {
		orders = append(orders, []string{"arm", string(at), "fail"})
	}
	if o.fault == failTidy {
		orders = append(orders, []string{"arm", string(tidyPoint(o)), "fail"})
	}
	for _, order := range append(orders, []string{"go"}) {
		if _, err := p.sync(ctx, order...); err != nil {
			return err
		}
	}
	if o.fault == fail {
		return nil
	}
	return p.await(ctx, o.point)
}

// do is the fault itself. It returns when its effect has begun.
func (c *check) do(ctx context.Context) error {
	c.began = time.Now()
	switch c.o.fault {
	case sigint, failTidy:
		return c.stop(ctx, syscall.SIGINT)
	case sigterm:
		return c.stop(ctx, syscall.SIGTERM)
	case cancelled:
		_, err := control.Cancel(ctx, c.home.state(), control.SocketName, "")
		if errors.Is(err, control.ErrUnknown) {
			return nil // it has ended already
		}
		return err
	case killHost:
		return c.killed(ctx)
	case killStore:
		return c.killPlugin("storage")
	case killLock:
		return c.killPlugin("lock")
	case killNotify:
		return c.killPlugin("notify")
	case killHook:
		return c.killPlugin("hook")
	case killConn:
		return c.killConnections(ctx)
	case killMysqld:
		return c.killServer()
	}
	return fmt.Errorf("no fault %q", c.o.fault)
}

func (c *check) stop(ctx context.Context, s syscall.Signal) error {
	if err := c.p.signal(s); err != nil {
		return err
	}
	if c.o.point == syncpoint.OperationBegin || c.o.point == syncpoint.CleanupLockFile {
		return nil // nobody can be asked; the first goes on when it is interrupted, to the other it is the same
	}
	return c.p.interrupted(ctx)
}

// killed kills the host and measures how long the server stays locked.
func (c *check) killed(ctx context.Context) error {
	locks := 0
	if c.o.locked() {
		if locks = c.locks(ctx); locks == 0 {
			c.t.Errorf("the server is not locked at %s", c.o.point)
		}
	}
	c.began = time.Now()
	if err := c.p.signal(syscall.SIGKILL); err != nil {
		return err
	}
	if locks == 0 {
		return nil
	}
	for c.locks(ctx) > 0 {
		if time.Since(c.began) > patience {
			return errors.New("the server stays locked")
		}
		time.Sleep(2 * time.Millisecond)
	}
	d := time.Since(c.began)
	c.b.tally.unlocked(c.o, d)
	if d > 2*time.Second {
		c.t.Errorf("the server was unlocked after %v, want 2s at most", d)
	}
	return nil
}

func (c *check) killPlugin(kind string) error {
	victim, ok := c.p.plugin(kind)
	if !ok {
		return fmt.Errorf("no %s plugin runs", kind)
	}
	if err := syscall.Kill(victim.pid, syscall.SIGKILL); err != nil {
		return err
	}
	return gone([]child{victim}, patience)
}

// gone returns when none of them is there any more.
func gone(all []child, within time.Duration) error {
	for until := time.Now().Add(within); ; time.Sleep(5 * time.Millisecond) {
		var left []string
		for _, c := range all {
			if c.alive() {
				left = append(left, fmt.Sprintf("%s (%d)", c.name, c.pid))
			}
		}
		if len(left) == 0 {
			return nil
		}
		if time.Now().After(until) {
			return fmt.Errorf("still there after %v: %s", within, strings.Join(left, ", "))
		}
	}
}

// killConnections kills the session that holds the lock, or all of the account's if the
// server is not locked.
func (c *check) killConnections(ctx context.Context) error {
	query := "SELECT processlist_id FROM performance_schema.threads WHERE processlist_user = 'remora'"
	if c.o.locked() {
		query += " AND thread_id IN (SELECT owner_thread_id FROM performance_schema.metadata_locks WHERE " + ours + ")"
	}
	rows, err := c.b.source.DB().QueryContext(ctx, query)
	if err != nil {
		return err
	}
	var ids []int64
	for rows.Next() {
		var id int64
		if err := rows.Scan(&id); err != nil {
			return err
		}
		ids = append(ids, id)
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil {
		return err
	}
	if c.o.locked() && len(ids) == 0 {
		return errors.New("no session holds the lock")
	}
	for _, id := range ids {
		// One that has ended meanwhile is as dead as it should be.
		_, _ = c.b.source.DB().ExecContext(ctx, fmt.Sprintf("KILL %d", id))
	}
	return nil
}

// killServer kills the server that is backed up, or the one that recovers.
func (c *check) killServer() error {
	if c.o.operation == "backup" {
		c.b.source.Kill()
		<-c.b.source.Done()
		return nil
	}
	for _, victim := range children(c.p.pid()) {
		if strings.HasPrefix(victim.name, "remora") {
			continue
		}
		if err := syscall.Kill(victim.pid, syscall.SIGKILL); err != nil {
			return err
		}
		return gone([]child{victim}, patience)
	}
	return errors.New("no server recovers")
}

// ours are the locks of a backup in metadata_locks.
const ours = "object_type IN ('BACKUP LOCK', 'GLOBAL') AND lock_duration = 'EXPLICIT'"

// locks counts what locks the server.
func (c *check) locks(ctx context.Context) (n int) {
	err := c.b.source.DB().QueryRowContext(ctx, "SELECT COUNT(*) FROM performance_schema.metadata_locks WHERE "+ours).Scan(&n)
	if err != nil {
		c.t.Errorf("count the locks: %v", err)
	}
	return n
}
