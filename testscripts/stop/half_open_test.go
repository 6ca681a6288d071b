package stop

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/remora-backup/remora/core/mysqld/lab"
	"github.com/remora-backup/remora/core/run"
	"github.com/remora-backup/remora/core/syncpoint"
)

// network is a way to a server that can stop to carry anything in either direction, without
// a word to either side, as one does whose cable is pulled out.
type network struct {
	listener net.Listener
	to       string

	mu       sync.Mutex
	old, new []byte // of the same length: what one side says, and what the other hears
	dead     bool
	conns    []net.Conn
}

func newNetwork(t *testing.T, port int) *network {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	n := &network{listener: l, to: fmt.Sprintf("127.0.0.1:%d", port)}
	var carriers sync.WaitGroup
	carriers.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			n.carry(&carriers, c)
		}
	})
	t.Cleanup(func() {
		l.Close()
		n.mu.Lock()
		for _, c := range n.conns {
			c.Close()
		}
		n.mu.Unlock()
		carriers.Wait()
	})
	return n
}

func (n *network) carry(carriers *sync.WaitGroup, c net.Conn) {
	if n.keep(c) {
		return // it connects, and nobody answers
	}
	s, err := net.Dial("tcp", n.to)
	if err != nil {
		c.Close()
		return
	}
	n.keep(s)
	for _, way := range [][2]net.Conn{{c, s}, {s, c}} {
		carriers.Go(func() {
			_, _ = io.Copy(lossy{n, way[1]}, way[0])
			if !n.isDead() {
				way[1].Close()
			}
		})
	}
}

// keep notes a connection and reports whether the network is dead.
func (n *network) keep(c net.Conn) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.conns = append(n.conns, c)
	return n.dead
}

func (n *network) isDead() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.dead
}

func (n *network) setDead(dead bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.dead = dead
}

// change lets the other side hear new where one side says old.
func (n *network) change(old, new string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.old, n.new = []byte(old), []byte(new)
}

// lossy drops what a dead network does not carry.
type lossy struct {
	n  *network
	to io.Writer
}

func (l lossy) Write(b []byte) (int, error) {
	l.n.mu.Lock()
	dead, old, new := l.n.dead, l.n.old, l.n.new
	l.n.mu.Unlock()
	if dead {
		return len(b), nil
	}
	if len(old) > 0 {
		b = bytes.ReplaceAll(b, old, new)
	}
	return l.to.Write(b)
}

// halfOpen lets the network between remora and the server die, without a word, while the
// tablespaces are copied, where it takes a minute to be sure of it, and while the server is locked.
func halfOpen(t *testing.T, b *bench) {
	b = b.own(t, lab.Options{TCP: true}, "INSERT INTO shop.orders (v) VALUES ('one'), ('two')")
	const lease = 3 * time.Second
	points := []syncpoint.Point{syncpoint.LockSyncPoint}
	if *full {
		points = append(points, syncpoint.CopyExtent, syncpoint.LockLook)
	}
	for _, at := range points {
		n := newNetwork(t, b.source.Port)
		dir := filepath.Join(b.dir, string(at))
		h, err := newHome(dir, b.source.Socket, filepath.Join(dir, "repo"), fmt.Sprintf("[lock]\nplugin = \"mysql\"\n[lock.config]\nlease = %q\n", lease))
		if err != nil {
			t.Fatal(err)
		}
		defer os.RemoveAll(dir)
		port := n.listener.Addr().(*net.TCPAddr).Port
		h.change(t, fmt.Sprintf("socket = %q", b.source.Socket), fmt.Sprintf("host = \"127.0.0.1\"\nport = %d", port))
		c := b.hold(t, h, at, "backup")
		locked := at != syncpoint.CopyExtent
		if n := c.locks(t.Context()); (n > 0) != locked {
			t.Fatalf("at %s there are %d locks", at, n)
		}
		begun := time.Now()
		n.setDead(true)
		for c.locks(t.Context()) > 0 {
			if time.Since(begun) > lease+5*time.Second {
				t.Fatalf("at %s: the server is still locked after %v", at, time.Since(begun))
			}
			time.Sleep(10 * time.Millisecond)
		}
		unlocked := time.Since(begun)
		for c.consumers() > 0 { // it would stall the server's writes
			if time.Since(begun) > 25*time.Second {
				t.Fatalf("at %s: the redo log consumer is still registered", at)
			}
			time.Sleep(50 * time.Millisecond)
		}
		released := time.Since(begun)
		a := c.goOn()
		ended := time.Since(begun)
		t.Logf("at %s: unlocked after %v, no consumer after %v, exit code %d after %v", at, unlocked, released, a.code, ended)
		want := 14
		if !locked {
			want = 13
		}
		if end := a.end(); a.code != want || end == nil || end.State != run.Failed {
			t.Errorf("at %s: exit code is %d after %v, want %d\n%s", at, a.code, ended, want, a)
		}
		n.setDead(false)
		c.unlocked(t.Context())
		if a, err := begin(h, "backup").wait(t.Context()); err != nil || a.code != 0 {
			t.Errorf("the next backup: %v, exit code %d\n%s", err, a.code, a)
		}
		c.stored(c.listed())
	}
}

// consumers counts the sessions whose last statement had to do with the redo log consumer.
func (c *check) consumers() (n int) {
	c.t.Helper()
	err := c.b.source.DB().QueryRowContext(c.t.Context(), `SELECT COUNT(*) FROM performance_schema.events_statements_current s
		JOIN performance_schema.threads t USING (thread_id) WHERE t.processlist_user = 'remora' AND s.sql_text LIKE '%consumer%'`).Scan(&n)
	if err != nil {
		c.t.Fatal(err)
	}
	return n
}
