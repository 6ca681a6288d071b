package stop

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/remora-backup/remora/core/mysqld/lab"
	"github.com/remora-backup/remora/core/plug"
	"github.com/remora-backup/remora/core/run"
	"github.com/remora-backup/remora/core/syncpoint"
	storage "github.com/remora-backup/remora/plugins/fs"
	"github.com/remora-backup/remora/plugins/sdk"
)

// odd is a storage plugin on files that is slow, or sends other bytes than it has. The test's
// own executable serves it.
type odd struct {
	*storage.Storage `json:"-"`

	Path  string `json:"path"`
	Log   string `json:"log"`    // a line for each begin and end of a put
	PutMS int    `json:"put_ms"` // that each put takes longer
	Rate  int    `json:"rate"`   // bytes a second that the put of a pack takes
	Flips int    `json:"flips"`  // gets of a pack that send a wrong byte in their middle; -1: all of them

	mu sync.Mutex
}

func serveOdd() {
	sdk.ServeStorage(func(config json.RawMessage) (plug.Storage, error) {
		o := &odd{}
		if err := sdk.Decode(config, o); err != nil {
			return nil, err
		}
		var err error
		o.Storage, err = storage.Open(storage.Config{Path: o.Path})
		return o, err
	})
}

func (o *odd) note(format string, args ...any) error {
	f, err := os.OpenFile(o.Log, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(f, format, args...)
	return errors.Join(err, f.Close())
}

func (o *odd) Put(ctx context.Context, name string, r io.Reader) (plug.Object, error) {
	if err := o.note("begin %s\n", name); err != nil {
		return plug.Object{}, err
	}
	if strings.Contains(name, "/pack-") {
		r = slowly{r, o.Rate}
	}
	obj, err := o.Storage.Put(ctx, name, r)
	time.Sleep(time.Duration(o.PutMS) * time.Millisecond)
	return obj, errors.Join(err, o.note("end %s\n", name))
}

// slowly reads so many bytes a second; 0 is as fast as it can.
type slowly struct {
	r    io.Reader
	rate int
}

func (s slowly) Read(b []byte) (int, error) {
	n, err := s.r.Read(b)
	if s.rate > 0 {
		time.Sleep(time.Duration(n) * time.Second / time.Duration(s.rate))
	}
	return n, err
}

func (o *odd) Get(ctx context.Context, name string, offset, length int64) (io.ReadCloser, error) {
	r, err := o.Storage.Get(ctx, name, offset, length)
	o.mu.Lock()
	defer o.mu.Unlock()
	if err != nil || !strings.Contains(name, "/pack-") || o.Flips == 0 {
		return r, err
	}
	o.Flips--
	return &flipped{r, length / 2}, o.note("flip %s\n", name)
}

type flipped struct {
	io.ReadCloser
	left int64
}

func (f *flipped) Read(b []byte) (int, error) {
	n, err := f.ReadCloser.Read(b)
	if f.left >= 0 && f.left < int64(n) {
		b[f.left] ^= 1
	}
	f.left -= int64(n)
	return n, err
}

// withOdd is a home whose storage is odd, on the files of repo.
func (b *bench) withOdd(t *testing.T, repo string, settings map[string]string, more string) home {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(b.dir, fmt.Sprint("odd", numbers.Add(1)))
	h, err := newHome(dir, b.server(t).Socket, repo, more)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if repo == "" {
		repo = h.path("repo")
	}
	h.change(t, `plugin = "fs"`, fmt.Sprintf("plugin = %q\nargs = [\"odd-storage\"]", self))
	text := fmt.Sprintf("path = %q\nlog = %q\n", repo, h.path("puts"))
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		text += name + " = " + settings[name] + "\n"
	}
	h.change(t, "[storage.config]\n", "[storage.config]\n#")
	h.change(t, "[[notify]]", text+"[[notify]]")
	return h
}

// puts returns how many puts of the home's storage have begun and ended.
func (h home) puts(t *testing.T) (begun, ended int) {
	t.Helper()
	b, err := os.ReadFile(h.path("puts"))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	return strings.Count(string(b), "begin "), strings.Count(string(b), "end ")
}

// slowStorage backs up to a storage that takes its time for each object, and for each byte.
func slowStorage(t *testing.T, b *bench) {
	b = b.own(t, lab.Options{Args: []string{"--innodb-redo-log-capacity=64M"}}, "CREATE TABLE shop.big (id INT AUTO_INCREMENT PRIMARY KEY, v VARBINARY(1024))",
		"INSERT INTO shop.big (v) WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i < 1000) SELECT RANDOM_BYTES(1024) FROM n",
		"INSERT INTO shop.big (v) SELECT RANDOM_BYTES(1024) FROM shop.big a, (SELECT 1 FROM shop.big LIMIT 47) b",
		"SET GLOBAL innodb_max_dirty_pages_pct = 0")
	const put = 1000 // ms
	for _, s := range []struct {
		name     string
		settings map[string]string
	}{{"fast", nil}, {"slow", map[string]string{"put_ms": strconv.Itoa(put), "rate": strconv.Itoa(20 << 20)}}} {
		h := b.withOdd(t, "", s.settings, "")
		c := &check{t: t, b: b, home: h, p: held(h, "backup"), o: one{"backup", syncpoint.LockBefore, "", 1000}}
		t.Cleanup(func() { _ = c.p.signal(syscall.SIGKILL); <-c.p.done })
		for _, p := range []syncpoint.Point{syncpoint.LockBefore, syncpoint.LockHeld, syncpoint.LockChecked, syncpoint.CleanupHooks} {
			c.order("arm " + string(p) + " pause")
		}
		c.order("go")
		step := func(p syncpoint.Point, last syncpoint.Point) {
			t.Helper()
			if last != "" {
				c.order("resume " + string(last))
			}
			if err := c.p.await(t.Context(), p); err != nil {
				t.Fatalf("%v\n%s\n%s", err, c.p.out, c.p.err)
			}
		}
		step(syncpoint.LockBefore, "")
		// DDL that is left to be copied under the lock.
		b.source.kill(t, "DROP TABLE IF EXISTS shop.late")
		b.source.kill(t, "CREATE TABLE shop.late AS SELECT * FROM shop.big LIMIT 300")
		step(syncpoint.LockHeld, syncpoint.LockBefore)
		begun, ended := h.puts(t) // that of the redo goes on
		if begun-ended > 1 || ended == 0 {
			t.Errorf("%s: when the server is locked %d puts have begun, %d ended", s.name, begun, ended)
		}
		began, at := time.Now(), len(c.p.out.String())
		step(syncpoint.LockChecked, syncpoint.LockHeld)
		took := time.Since(began)
		if b, e := h.puts(t); b != begun || e != ended {
			t.Errorf("%s: while the server was locked %d puts began and %d ended", s.name, b-begun, e-ended)
		}
		if took > put*time.Millisecond/2 {
			t.Errorf("%s: the work under the lock took %v, want less than any put does\n%s", s.name, took, c.p.out.String()[at:])
		}
		step(syncpoint.CleanupHooks, syncpoint.LockChecked)
		memory := peak(t, c.p.pid())
		c.order("resume " + string(syncpoint.CleanupHooks))
		a, err := c.p.wait(t.Context())
		if err != nil || a.code != 0 {
			t.Fatalf("%s: %v, exit code %d\n%s", s.name, err, a.code, a)
		}
		t.Logf("%s: %v under the lock, %d MiB of memory at most", s.name, took, memory>>20)
		if s.name == "slow" {
			c.home.change(t, "put_ms", "#")
			c.exact(t.Context())
		}
	}
	backpressure(t, b)
}

// backpressure: a storage that takes nothing stops the copying, which would come to its end if
// what is copied were kept in memory.
func backpressure(t *testing.T, b *bench) {
	h := b.withOdd(t, "", map[string]string{"rate": "1"}, "")
	c := b.hold(t, h, syncpoint.CopyDiscovered, "backup")
	c.order("resume " + string(syncpoint.CopyDiscovered))
	for seen, since := "", time.Now(); time.Since(since) < 2*time.Second; time.Sleep(10 * time.Millisecond) {
		if now := c.p.out.String(); now != seen || !strings.Contains(now, `"percent":`) {
			seen, since = now, time.Now()
		}
		if c.p.exited() {
			t.Fatalf("it ended:\n%s\n%s", c.p.out, c.p.err)
		}
	}
	if out := c.p.out.String(); strings.Contains(out, `"phase":"catching_up"`) {
		t.Errorf("all was copied although nothing could be stored:\n%s", out)
	}
	t.Logf("nothing can be stored: %d MiB of memory at most", peak(t, c.p.pid())>>20)
}

// peak returns the most memory that a process had, in bytes.
func peak(t *testing.T, pid int) int {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(b), "VmHWM:")
	var kib int
	if _, err := fmt.Sscan(rest, &kib); err != nil {
		t.Fatal(err)
	}
	return kib << 10
}

// otherBytes restores from a storage that sends wrong bytes, at first or always.
func otherBytes(t *testing.T, b *bench) {
	want, err := lab.Checksums(t.Context(), b.server(t).DB())
	if err != nil {
		t.Fatal(err)
	}
	for flips, code := range map[string]int{"1": 0, "-1": 19} {
		h := b.withOdd(t, b.repo, map[string]string{"flips": flips}, "")
		target := h.path("new")
		a, err := begin(h, "restore", "--target", target).wait(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		flipped, _ := os.ReadFile(h.path("puts"))
		if a.code != code || a.end() == nil || !strings.Contains(string(flipped), "flip ") || !strings.Contains(a.out, "/pack-") || !strings.Contains(a.out, "is damaged") {
			t.Errorf("%s flips: exit code %d, want %d and the name of the pack\n%s\n%s", flips, a.code, code, flipped, a)
		}
		c := &check{t: t, b: b, home: h, o: one{"restore", "", "", 1000}}
		if code != 0 {
			if exists(filepath.Join(target, "mysql.ibd")) {
				t.Error("damaged data were published")
			}
			continue
		}
		if end := a.end(); end.State != run.CompleteWithWarnings {
			t.Errorf("the end is %s, want a warning of the storage", end.State)
		}
		if got := c.starts(t.Context(), target); fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("restored are %v, want %v", got, want)
		}
	}
}
