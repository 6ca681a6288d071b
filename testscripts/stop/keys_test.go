package stop

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/remora-backup/remora/core/mysqld/lab"
	"github.com/remora-backup/remora/core/mysqld/mysqldtest"
	"github.com/remora-backup/remora/core/syncpoint"
)

// own starts a server that this scenario has for itself, on a bench of its own.
func (b *bench) own(t *testing.T, o lab.Options, statements ...string) *bench {
	t.Helper()
	o.Args = append([]string{"--innodb-flush-method=nosync", "--sync-binlog=0", "--innodb-buffer-pool-size=16M"}, o.Args...)
	s, err := lab.Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Remove(); err != nil {
			t.Error(err)
		}
	})
	all := append([]string{"CREATE DATABASE shop", "CREATE DATABASE probe", "CREATE TABLE shop.orders (id INT AUTO_INCREMENT PRIMARY KEY, v VARCHAR(200))"}, account...)
	if err := s.Exec(t.Context(), append(all, statements...)...); err != nil {
		t.Fatal(err)
	}
	return &bench{repo: b.repo, dir: filepath.Join(b.dir, fmt.Sprint("bench", numbers.Add(1))), source: &source{s}, tally: new(tally)}
}

// change rewrites the configuration.
func (h home) change(t *testing.T, old, new string) {
	t.Helper()
	text, err := os.ReadFile(h.config())
	if err == nil && !strings.Contains(string(text), old) {
		err = fmt.Errorf("the configuration has no %q", old)
	}
	if err == nil {
		err = os.WriteFile(h.config(), []byte(strings.Replace(string(text), old, new, 1)), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// hold starts an operation and returns when it is held at a point.
func (b *bench) hold(t *testing.T, h home, at syncpoint.Point, args ...string) *check {
	t.Helper()
	c := &check{t: t, b: b, home: h, p: held(h, args...), o: one{args[0], at, "", 1000}}
	t.Cleanup(func() { _ = c.p.signal(syscall.SIGKILL); <-c.p.done })
	c.order("arm " + string(at) + " pause")
	c.order("go")
	if err := c.p.await(t.Context(), at); err != nil {
		t.Fatalf("%v\n%s\n%s", err, c.p.out, c.p.err)
	}
	c.before = children(c.p.pid())
	return c
}

// goOn lets the operation end by itself.
func (c *check) goOn() answer {
	c.t.Helper()
	_, _ = c.p.sync(c.t.Context(), "resume", string(c.o.point))
	a, err := c.p.wait(c.t.Context())
	if err != nil {
		c.t.Fatal(err)
	}
	c.answer = a
	return a
}

// keyRotated rotates InnoDB's master key and that of the binary log while backups are held.
func keyRotated(t *testing.T, b *bench) {
	bin, keys := mysqldtest.Keyring(t)
	b = b.own(t, lab.Options{Bin: bin, Args: []string{"--innodb-redo-log-encrypt=ON", "--innodb-undo-log-encrypt=ON"}},
		"CREATE TABLE shop.secret (id INT AUTO_INCREMENT PRIMARY KEY, v VARCHAR(200)) ENCRYPTION='Y'",
		"INSERT INTO shop.secret (v) WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i < 900) SELECT REPEAT(HEX(i), 9) FROM n")
	dir := filepath.Join(b.dir, "keys")
	h, err := newHome(dir, b.source.Socket, filepath.Join(dir, "repo"), "")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	h.change(t, mysqldtest.Binary(t), bin)
	h.change(t, "[state]", fmt.Sprintf("keyring_file = %q\n[state]", keys))
	rotate := func() {
		b.source.kill(t, "ALTER INSTANCE ROTATE INNODB MASTER KEY")
		b.source.kill(t, "INSERT INTO shop.secret (v) SELECT v FROM shop.secret LIMIT 500")
	}
	refused := func(a answer, words string) {
		t.Helper()
		if a.code != 20 || !strings.Contains(a.String(), words) {
			t.Errorf("exit code is %d, want 20 and %q\n%s", a.code, words, a)
		}
	}
	// Whoever may not read the server's log cannot tell the statement from a harmful one.
	c := b.hold(t, h, syncpoint.CopyExtent, "backup")
	rotate()
	refused(c.goOn(), "grant SELECT on performance_schema.error_log")
	b.source.kill(t, "GRANT SELECT ON performance_schema.error_log TO 'remora'@'localhost'")

	for _, at := range []syncpoint.Point{syncpoint.RedoFound, syncpoint.CopyExtent, syncpoint.LockBefore} {
		c = b.hold(t, h, at, "backup")
		rotate()
		if a := c.goOn(); a.code != 0 {
			t.Fatalf("rotated at %s: exit code %d\n%s", at, a.code, a)
		}
	}
	// Under the lock it has to wait, and is done when that is given back.
	c = b.hold(t, h, syncpoint.LockSyncPoint, "backup")
	rotated := make(chan error, 1)
	go func() {
		rotated <- b.source.Exec(context.WithoutCancel(t.Context()), "ALTER INSTANCE ROTATE INNODB MASTER KEY")
	}()
	if a := c.goOn(); a.code != 0 {
		t.Errorf("rotated under the lock: exit code %d\n%s", a.code, a)
	}
	if err := <-rotated; err != nil {
		t.Error(err)
	}
	c.exactWith(bin)

	b.source.kill(t, "SET GLOBAL binlog_encryption = ON")
	b.source.kill(t, "ALTER INSTANCE ROTATE BINLOG MASTER KEY")
	c = b.hold(t, h, syncpoint.CopyDone, "backup")
	b.source.kill(t, "ALTER INSTANCE ROTATE BINLOG MASTER KEY")
	if a := c.goOn(); a.code != 0 {
		t.Errorf("an encrypted binary log, its key rotated: exit code %d\n%s", a.code, a)
	}
	// From plain to encrypted while a backup is held.
	b.source.kill(t, "SET GLOBAL binlog_encryption = OFF")
	c = b.hold(t, h, syncpoint.CopyDone, "backup")
	b.source.kill(t, "SET GLOBAL binlog_encryption = ON")
	if a := c.goOn(); a.code != 0 {
		t.Errorf("the binary log encrypted during the backup: exit code %d\n%s", a.code, a)
	}
	c.stored(c.listed())
}

// exactWith is exact with a server of one's own.
func (c *check) exactWith(bin string) {
	c.t.Helper()
	target := c.home.path("exact")
	a, err := begin(c.home, "restore", "--target", target).wait(c.t.Context())
	if err != nil || a.code != 0 {
		c.t.Errorf("restore: %v, exit code %d\n%s", err, a.code, a)
		return
	}
	want, err := lab.Checksums(c.t.Context(), c.b.source.DB())
	if err != nil {
		c.t.Error(err)
	}
	s, err := lab.Start(c.t.Context(), lab.Options{Bin: bin, DataDir: target, Args: []string{"--innodb-flush-method=nosync", "--innodb-buffer-pool-size=16M"}})
	if err != nil {
		c.t.Errorf("start the restored server: %v", err)
		return
	}
	defer s.Remove()
	if got, err := lab.Checksums(c.t.Context(), s.DB()); err != nil || len(got) < 2 || fmt.Sprint(got) != fmt.Sprint(want) {
		c.t.Errorf("restored are %v, %v, want %v", got, err, want)
	}
}
