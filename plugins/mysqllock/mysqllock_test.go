package mysqllock

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/remora-backup/remora/core/mysqld/mysqldtest"
	"github.com/remora-backup/remora/core/needs"
	"github.com/remora-backup/remora/core/plug"
	"github.com/remora-backup/remora/core/plug/plugtest"
	"github.com/remora-backup/remora/core/server"
	"github.com/remora-backup/remora/plugins/host"
	"github.com/remora-backup/remora/plugins/sdk"
)

// The test's executable is also the plugin and a host that is killed while it holds a
// lock.
func TestMain(m *testing.M) {
	switch {
	case len(os.Args) > 3 && os.Args[1] == "plugin":
		Serve()
	case len(os.Args) > 2 && os.Args[1] == "host":
		playHost(os.Args[2])
	default:
		os.Exit(m.Run())
	}
}

func plugin(ctx context.Context, socket string) (*host.Plugin, error) {
	facts, err := json.Marshal(sdk.Server{Socket: socket, User: "root"})
	if err != nil {
		return nil, err
	}
	return host.Start(ctx, host.Spec{Kind: host.Lock, Name: "mysql", Server: facts}, host.Options{
		Self:     os.Args[0],
		Builtins: map[string][]string{host.Lock: {"mysql"}},
	})
}

func playHost(socket string) {
	p, err := plugin(context.Background(), socket)
	if err == nil {
		_, err = p.Lock().Acquire(context.Background(), plug.Ask{Scope: plug.ScopeBackup, Wait: 10 * time.Second})
	}
	fmt.Println("locked", err)
	select {}
}

// world is a server, the lock plugin as a process, and another session.
type world struct {
	t      *testing.T
	server *mysqldtest.Server
	db     *sql.DB
	p      *host.Plugin
	lock   plug.Lock
}

func (w *world) start() {
	w.t.Helper()
	p, err := plugin(w.t.Context(), w.server.Socket)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = p.Close(context.Background()) })
	w.p, w.lock = p, p.Lock()
}

func (w *world) acquire(scope plug.Scope) plug.Held {
	w.t.Helper()
	h, err := w.lock.Acquire(w.t.Context(), plug.Ask{Scope: scope, Wait: 20 * time.Second})
	if err != nil {
		w.t.Fatal(err)
	}
	return h
}

// try runs a statement that must not wait long for a lock.
func (w *world) try(statement string) error {
	w.t.Helper()
	conn, err := w.db.Conn(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.ExecContext(w.t.Context(), "SET SESSION lock_wait_timeout=1"); err != nil {
		w.t.Fatal(err)
	}
	_, err = conn.ExecContext(w.t.Context(), statement)
	return err
}

// wantFree waits until DDL goes through.
func (w *world) wantFree() {
	w.t.Helper()
	for end := time.Now().Add(30 * time.Second); ; {
		err := w.try("ALTER TABLE t.a COMMENT 'free'")
		if err == nil {
			return
		}
		if time.Now().After(end) {
			w.t.Fatalf("server is still locked: %v", err)
		}
	}
}

func (w *world) wantLocked() {
	w.t.Helper()
	if err := w.try("ALTER TABLE t.a COMMENT 'x'"); number(err) != errLockWaitTimeout {
		w.t.Errorf("DDL while the server is locked: got %v, want a timeout", err)
	}
}

func TestOnServer(t *testing.T) {
	needs.Server(t)
	s := mysqldtest.Start(t)
	s.Exec("CREATE DATABASE t", "CREATE TABLE t.a (id INT PRIMARY KEY, x INT) ENGINE=InnoDB", "INSERT INTO t.a VALUES (1,1)")
	db := s.Open("root", "", "")
	for name, test := range map[string]func(*world){
		"locked and released":  lockedAndReleased,
		"tables":               tables,
		"read-only tables":     readOnlyTables,
		"blocked":              blocked,
		"in nobody's way":      inNobodysWay,
		"cancelled":            cancelled,
		"connection killed":    connectionKilled,
		"query killed":         queryKilled,
		"plugin killed":        pluginKilled,
		"host killed":          hostKilled,
		"plugin stopped":       pluginStopped,
		"orphaned":             orphaned,
		"privileges":           privileges,
		"unknown scope":        unknownScope,
		"no server to talk to": noServer,
	} {
		t.Run(name, func(t *testing.T) {
			w := &world{t: t, server: s, db: db}
			w.start()
			test(w)
			w.wantFree()
		})
	}
}

func lockedAndReleased(w *world) {
	h := w.acquire(plug.ScopeBackup)
	w.wantLocked()
	if err := w.try("UPDATE t.a SET x=x+1"); err != nil {
		w.t.Errorf("DML while the server is locked: %v", err)
	}
	var user string
	if err := w.db.QueryRow("SELECT user FROM information_schema.processlist WHERE id=?", h.Owner()).Scan(&user); err != nil || user != "root" {
		w.t.Errorf("owner %d: got %q, %v", h.Owner(), user, err)
	}
	on, ok := h.(plug.HeldOn)
	if want := w.server.QueryString("SELECT @@server_uuid"); !ok || on.Locked().UUID != want || time.Since(time.Unix(on.Locked().Started, 0)) > time.Hour {
		w.t.Errorf("locked server: got %+v, want %s, started within the hour", h, want)
	}
	if err := h.Check(w.t.Context()); err != nil {
		w.t.Errorf("check: %v", err)
	}
	held, err := h.Release(w.t.Context())
	if err != nil || held < time.Second { // the DDL waited for that long
		w.t.Errorf("release: got %v, %v", held, err)
	}
}

// tables: only those that are named are locked, against writes and nothing else.
func tables(w *world) {
	w.server.Exec("CREATE TABLE t.m (i INT) ENGINE=MyISAM", "CREATE TABLE t.`q``s\\\\'x` (i INT, KEY (i)) ENGINE=MyISAM DELAY_KEY_WRITE=1")
	defer w.server.Exec("DROP TABLE t.m, t.`q``s\\\\'x`")
	reader := w.reads("t.m") // it has been reading for long, and goes on
	defer reader()
	h, err := w.lock.Acquire(w.t.Context(), plug.Ask{Scope: plug.ScopeTables, Wait: time.Second, Tables: []plug.Table{{Schema: "t", Name: "m"}, {Schema: "t", Name: "q`s\\\\'x"}}})
	if err != nil {
		w.t.Fatal(err)
	}
	for statement, waits := range map[string]bool{
		"INSERT INTO t.m VALUES (1)": true, "INSERT INTO t.`q``s\\\\'x` VALUES (1)": true,
		"SELECT * FROM t.m": false, "UPDATE t.a SET x=x+1": false, "ALTER TABLE t.a COMMENT 'goes on'": false,
	} {
		if err := w.try(statement); (number(err) == errLockWaitTimeout) != waits || err != nil && !waits {
			w.t.Errorf("%s: got %v, want it to wait: %v", statement, err, waits)
		}
	}
	if _, err := h.Release(w.t.Context()); err != nil {
		w.t.Error(err)
	}
}

// readOnlyTables: a server that takes no writes grants no lock for writing, and the tables are
// locked all the same, while the backup lock is held.
func readOnlyTables(w *world) {
	w.server.Exec("CREATE TABLE t.m (i INT) ENGINE=MyISAM", "CREATE TABLE t.c (i INT NOT NULL) ENGINE=CSV", "SET GLOBAL super_read_only = ON")
	defer w.server.Exec("DROP TABLE t.m, t.c")
	defer w.server.Exec("SET GLOBAL read_only = OFF")
	b := w.acquire(plug.ScopeBackup)
	h, err := w.lock.Acquire(w.t.Context(), plug.Ask{Scope: plug.ScopeTables, Wait: 5 * time.Second, Tables: []plug.Table{{Schema: "t", Name: "m"}, {Schema: "t", Name: "c"}}})
	if err != nil {
		w.t.Fatal(err)
	}
	locked := fmt.Sprintf("SELECT COUNT(*) FROM performance_schema.metadata_locks WHERE OBJECT_TYPE = 'GLOBAL' AND LOCK_TYPE = 'SHARED' AND LOCK_STATUS = 'GRANTED' AND OWNER_THREAD_ID = PS_THREAD_ID(%d)", h.Owner())
	if got := w.server.QueryString(locked); got != "1" {
		t := w.server.QueryString("SELECT GROUP_CONCAT(OBJECT_TYPE, ' ', LOCK_TYPE) FROM performance_schema.metadata_locks")
		w.t.Errorf("the server is not locked against writes: %s", t)
	}
	for _, x := range []plug.Held{h, b} {
		if _, err := x.Release(w.t.Context()); err != nil {
			w.t.Error(err)
		}
	}
}

// reads keeps a statement reading from a table.
func (w *world) reads(table string) (stop func()) {
	w.t.Helper()
	w.server.Exec("INSERT INTO " + table + " VALUES (1)")
	conn, err := w.db.Conn(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	var id uint64
	if err := conn.QueryRowContext(w.t.Context(), "SELECT CONNECTION_ID()").Scan(&id); err != nil {
		w.t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = conn.ExecContext(context.Background(), "SELECT *, SLEEP(600) FROM "+table)
	}()
	w.until("it reads", fmt.Sprintf("SELECT COUNT(*) FROM information_schema.processlist WHERE id=%d AND state='User sleep'", id))
	return func() {
		w.server.Exec(fmt.Sprintf("KILL %d", id))
		<-done
		conn.Close()
	}
}

// inNobodysWay: while somebody's DDL takes long, the backup lock is not even asked for, so
// other DDL goes on.
func inNobodysWay(w *world) {
	unblock := w.block()
	defer unblock()
	time.Sleep(long)
	w.server.Exec("CREATE TABLE IF NOT EXISTS t.b (i INT)")
	got := make(chan error, 1)
	go func() {
		_, err := w.lock.Acquire(w.t.Context(), plug.Ask{Scope: plug.ScopeBackup, Wait: 4 * time.Second, Pending: time.Second})
		got <- err
	}()
	for {
		select {
		case err := <-got:
			var late *plug.LockTimeout
			if !errors.As(err, &late) || late.Pending != 0 || len(late.Blockers) == 0 || !strings.Contains(late.Blockers[0].Statement, "ALTER TABLE t.a COMMENT") {
				w.t.Errorf("got %v (%+v), want a timeout that names the ALTER, without having asked", err, late)
			}
			return
		default:
			if err := w.try("ALTER TABLE t.b COMMENT 'goes on'"); err != nil {
				w.t.Errorf("DDL meanwhile: %v", err)
			}
		}
	}
}

// blocked: a session in a transaction keeps an ALTER waiting, which keeps us waiting.
func blocked(w *world) {
	unblock := w.block()
	defer unblock()
	_, err := w.lock.Acquire(w.t.Context(), plug.Ask{Scope: plug.ScopeBackup, Wait: 2 * time.Second})
	var late *plug.LockTimeout
	if !errors.As(err, &late) || len(late.Blockers) == 0 {
		w.t.Fatalf("got %v, want a timeout with blockers", err)
	}
	if b := late.Blockers[0]; !strings.Contains(b.Statement, "ALTER TABLE t.a COMMENT") || b.ProcessID == 0 || !strings.HasPrefix(b.User, "root@") {
		w.t.Errorf("got %+v, want the ALTER", b)
	}
}

// until waits for a count above zero.
func (w *world) until(what, query string) {
	w.t.Helper()
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		var n int
		if err := w.db.QueryRow(query).Scan(&n); err != nil {
			w.t.Fatal(err)
		}
		if n > 0 {
			return
		}
		if time.Now().After(end) {
			w.t.Fatalf("waited in vain: %s", what)
		}
	}
}

// cancelled: nobody waits any more, so the wait must end on the server too.
func cancelled(w *world) {
	other := w.server.Open("root", "", "")
	conn, err := other.Conn(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.ExecContext(w.t.Context(), "LOCK TABLES t.a WRITE"); err != nil {
		w.t.Fatal(err)
	}
	altered := make(chan error, 1)
	go func() {
		_, err := w.db.Exec("ALTER TABLE t.a COMMENT 'waits'")
		altered <- err
	}()
	const waiting = "SELECT COUNT(*) FROM information_schema.processlist WHERE info LIKE 'LOCK INSTANCE%' OR info LIKE 'LOCK TABLES%READ%'"
	ctx, cancel := context.WithCancel(w.t.Context())
	done := make(chan error, 1)
	go func() {
		h, err := w.lock.Acquire(ctx, plug.Ask{Scope: plug.ScopeTables, Wait: time.Minute, Tables: []plug.Table{{Schema: "t", Name: "a"}}})
		if err == nil {
			_, err = h.Release(w.t.Context())
		}
		done <- err
	}()
	cancel()
	if err := <-done; err != nil && !errors.Is(err, context.Canceled) {
		w.t.Errorf("got %v, want context.Canceled", err)
	}
	if _, err := conn.ExecContext(w.t.Context(), "UNLOCK TABLES"); err != nil {
		w.t.Fatal(err)
	}
	if err := <-altered; err != nil {
		w.t.Error(err)
	}
	w.until("no statement of ours is left", "SELECT NOT EXISTS ("+strings.Replace(waiting, "COUNT(*)", "1", 1)+")")
}

func connectionKilled(w *world) {
	h := w.acquire(plug.ScopeBackup)
	w.server.Exec(fmt.Sprintf("KILL CONNECTION %d", h.Owner()))
	<-h.Lost()
	if err := h.Check(w.t.Context()); !errors.Is(err, plug.ErrLockLost) {
		w.t.Errorf("check: got %v, want ErrLockLost", err)
	}
	if _, err := h.Release(w.t.Context()); !errors.Is(err, plug.ErrLockLost) {
		w.t.Errorf("release: got %v, want ErrLockLost", err)
	}
}

func queryKilled(w *world) {
	h := w.acquire(plug.ScopeBackup)
	for range 5 {
		w.server.Exec(fmt.Sprintf("KILL QUERY %d", h.Owner()))
		if err := h.Check(w.t.Context()); err != nil {
			w.t.Errorf("check: %v", err)
		}
	}
	w.wantLocked()
	select {
	case <-h.Lost():
		w.t.Error("KILL QUERY is told as a loss")
	default:
	}
	if _, err := h.Release(w.t.Context()); err != nil {
		w.t.Error(err)
	}
}

func pluginKilled(w *world) {
	h := w.acquire(plug.ScopeBackup)
	if err := syscall.Kill(w.p.Pid(), syscall.SIGKILL); err != nil {
		w.t.Fatal(err)
	}
	<-h.Lost()
	w.wantFree()
}

func hostKilled(w *world) {
	c := exec.Command(os.Args[0], "host", w.server.Socket)
	out, err := c.StdoutPipe()
	if err != nil {
		w.t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		w.t.Fatal(err)
	}
	line := make([]byte, 200)
	n, err := out.Read(line)
	if err != nil || !bytes.HasPrefix(line, []byte("locked <nil>")) {
		w.t.Fatalf("host: %s, %v", line[:n], err)
	}
	w.wantLocked()
	if err := c.Process.Kill(); err != nil {
		w.t.Fatal(err)
	}
	_ = c.Wait()
	begun := time.Now()
	w.wantFree()
	w.t.Logf("free %v after its host was killed", time.Since(begun))
}

// pluginStopped: a process that is stopped cannot unlock; its lease does.
func pluginStopped(w *world) {
	w.acquire(plug.ScopeBackup)
	if err := syscall.Kill(w.p.Pid(), syscall.SIGSTOP); err != nil {
		w.t.Fatal(err)
	}
	w.wantFree()
	if err := syscall.Kill(w.p.Pid(), syscall.SIGCONT); err != nil {
		w.t.Fatal(err)
	}
}

// orphaned: who knows the plugin's process needs no more to end its session.
func orphaned(w *world) {
	h := w.acquire(plug.ScopeBackup)
	if err := syscall.Kill(w.p.Pid(), syscall.SIGSTOP); err != nil {
		w.t.Fatal(err)
	}
	defer syscall.Kill(w.p.Pid(), syscall.SIGCONT)
	srv, err := server.Connect(w.t.Context(), server.Config{Socket: w.server.Socket, User: "root"})
	if err != nil {
		w.t.Fatal(err)
	}
	defer srv.Close()
	host, err := os.Hostname()
	if err != nil {
		w.t.Fatal(err)
	}
	if killed, err := srv.KillOrphans(w.t.Context(), host, w.p.Pid()); err != nil || !slices.Contains(killed, h.Owner()) {
		w.t.Errorf("got %v, %v, want session %d among the killed", killed, err, h.Owner())
	}
	if err := w.try("ALTER TABLE t.a COMMENT 'at once'"); err != nil { // before the lease is over
		w.t.Errorf("DDL after that: %v", err)
	}
}

func privileges(w *world) {
	w.server.Exec("CREATE USER IF NOT EXISTS poor@localhost IDENTIFIED BY 'x'")
	l, err := Open(Config{Lease: "10s"}, sdk.Server{Socket: w.server.Socket, User: "poor", Password: "x"})
	if err != nil {
		w.t.Fatal(err)
	}
	defer l.Drain(w.t.Context())
	if _, err := l.Acquire(w.t.Context(), plug.Ask{Scope: plug.ScopeBackup, Wait: time.Second}); !errors.Is(err, plug.ErrPermission) {
		w.t.Errorf("got %v, want ErrPermission", err)
	}
}

func unknownScope(w *world) {
	if _, err := w.lock.Acquire(w.t.Context(), plug.Ask{Scope: "everything", Wait: time.Second}); !errors.Is(err, plug.ErrInvalid) {
		w.t.Errorf("got %v, want ErrInvalid", err)
	}
}

func noServer(w *world) {
	l, err := Open(Config{Lease: "10s"}, sdk.Server{Socket: "/no/such/socket", User: "root"})
	if err != nil {
		w.t.Fatal(err)
	}
	if _, err := l.Acquire(w.t.Context(), plug.Ask{Scope: plug.ScopeBackup, Wait: time.Second}); err == nil || !strings.Contains(err.Error(), "no such file") {
		w.t.Errorf("got %v", err)
	}
}

// TestContract holds the lock to what every lock promises; an ALTER under way is in its way.
func TestContract(t *testing.T) {
	needs.Server(t)
	s := mysqldtest.Start(t)
	s.Exec("CREATE DATABASE t", "CREATE TABLE t.a (id INT PRIMARY KEY, x INT)", "INSERT INTO t.a VALUES (1,1)")
	plugtest.Lock(t, func(t *testing.T) plugtest.LockCase {
		w := &world{t: t, server: s, db: s.Open("root", "", "")}
		w.start()
		return plugtest.LockCase{
			Lock:  w.lock,
			Block: w.block,
			Lose:  func(h plug.Held) { s.Exec(fmt.Sprintf("KILL %d", h.Owner())) },
		}
	})
}

// block starts an ALTER that waits for a transaction.
func (w *world) block() (unblock func()) {
	w.t.Helper()
	tx, err := w.db.Begin()
	if err != nil {
		w.t.Fatal(err)
	}
	if _, err := tx.Exec("UPDATE t.a SET x=x+1"); err != nil {
		w.t.Fatal(err)
	}
	altered := make(chan error, 1)
	go func() {
		_, err := w.db.Exec("ALTER TABLE t.a COMMENT 'blocks', ALGORITHM=COPY")
		altered <- err
	}()
	w.until("ALTER waits", "SELECT COUNT(*) FROM performance_schema.metadata_locks WHERE lock_status='PENDING'")
	return sync.OnceFunc(func() {
		if err := errors.Join(tx.Rollback(), <-altered); err != nil {
			w.t.Error(err)
		}
	})
}

func TestBadConfig(t *testing.T) {
	for _, c := range []Config{{Lease: "x"}, {Lease: "1s"}, {}} {
		if _, err := Open(c, sdk.Server{}); !errors.Is(err, plug.ErrInvalid) {
			t.Errorf("%+v: got %v, want ErrInvalid", c, err)
		}
	}
	if _, err := Open(Config{Lease: "10s"}, sdk.Server{TLS: "maybe"}); !errors.Is(err, plug.ErrInvalid) {
		t.Errorf("got %v, want ErrInvalid", err)
	}
}
