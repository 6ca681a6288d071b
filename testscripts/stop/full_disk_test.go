package stop

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/remora-backup/remora/core/mysqld/lab"
	"github.com/remora-backup/remora/core/needs"
	"github.com/remora-backup/remora/core/run"
	"github.com/remora-backup/remora/core/syncpoint"
)

// disk is a file system of its own whose size can be changed while it is in use.
type disk struct {
	t   *testing.T
	dir string
}

const roomy = 2 << 30 // bytes; only what is written takes memory

func newDisk(t *testing.T, dir string) disk {
	t.Helper()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%d", roomy)); err != nil {
		needs.Missing(t, "a file system that fills up must be mounted: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return disk{t, dir}
}

func (d disk) resize(size uint64) {
	d.t.Helper()
	if err := unix.Mount("tmpfs", d.dir, "tmpfs", unix.MS_REMOUNT, fmt.Sprintf("size=%d", size)); err != nil {
		d.t.Fatal(err)
	}
}

// fill leaves so many bytes free.
func (d disk) fill(free uint64) {
	d.t.Helper()
	var st unix.Statfs_t
	if err := unix.Statfs(d.dir, &st); err != nil {
		d.t.Fatal(err)
	}
	d.resize((st.Blocks-st.Bfree)*uint64(st.Bsize) + free)
}

// targetFull fills the target's disk in the middle of one restore after the other, each of
// which goes on where the one before ended. The last has room, and gives exact data.
func targetFull(t *testing.T, b *bench) {
	want, err := lab.Checksums(t.Context(), b.server(t).DB()) // made as that of the good backup was
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(b.dir, "full")
	h, err := newHome(dir, "/nowhere", b.repo, "")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	d := newDisk(t, h.path("disk"))
	target := h.path("disk/new")
	for i, s := range []struct {
		at   syncpoint.Point
		free uint64 // bytes, from the point on
	}{
		{syncpoint.RestoreTargetReady, 0}, {syncpoint.FetchCreated, 0}, {syncpoint.FetchExtent, 100 << 10}, {syncpoint.FetchExtent, 7 << 20},
		{syncpoint.FetchExtent, 20<<20 + 4096}, {syncpoint.FetchPackDone, 1 << 20}, {syncpoint.PrepareJournal, 0}, {syncpoint.PrepareSpawn, 0},
		{syncpoint.PrepareSpawn, 2 << 20}, {syncpoint.PrepareSynced, 0}, {syncpoint.PublishBefore, 0},
	} {
		d.resize(roomy)
		p := held(h, "restore", "--target", target)
		c := &check{t: t, b: b, home: h, p: p, o: one{"restore", s.at, "", 1000}}
		t.Cleanup(func() { _ = p.signal(syscall.SIGKILL); <-p.done })
		c.order("arm " + string(s.at) + " pause")
		c.order("go")
		if err := p.await(t.Context(), s.at); err != nil {
			t.Fatalf("%v\n%s\n%s", err, p.out, p.err)
		}
		d.fill(s.free)
		_, _ = p.sync(t.Context(), "resume", string(s.at))
		a, err := p.wait(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		end := a.end()
		if a.code != 18 || end == nil || end.State != run.Failed || !strings.HasPrefix(end.Message, "Operation aborted. Incomplete files in") || len(end.Leftovers) == 0 {
			t.Errorf("restore %d, full at %s with %d bytes: exit code %d, want 18 and what is left\n%s", i, s.at, s.free, a.code, a)
		}
		if exists(filepath.Join(target, "mysql.ibd")) {
			t.Fatalf("restore %d, full at %s: there is a data directory", i, s.at)
		}
	}
	d.resize(roomy)
	c := &check{t: t, b: b, home: h, o: one{"restore", "", "", 1000}}
	if a, err := begin(h, "restore", "--target", target).wait(t.Context()); err != nil || a.code != 0 {
		t.Fatalf("with room again: %v, exit code %d\n%s", err, a.code, a)
	}
	if got := c.starts(t.Context(), target); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("restored are %v, want %v", got, want)
	}
}
