package fs

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/remora-backup/remora/core/needs"
	"github.com/remora-backup/remora/core/plug"
)

// somebody is a user other than root.
const somebody = 12345

func needsRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		needs.Missing(t, "needs root, who can be another user too")
	}
}

// become lets the rest of the test be somebody. Only its thread is: it is not given to others.
func become(t *testing.T, uid int) {
	t.Helper()
	runtime.LockOSThread()
	set := func(uid int) {
		if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, ^uintptr(0), uintptr(uid), ^uintptr(0)); errno != 0 {
			t.Fatal(errno)
		}
	}
	set(uid)
	t.Cleanup(func() { set(0); runtime.UnlockOSThread() })
}

// place makes a directory that everybody can reach, with files in it.
func place(t *testing.T, names ...string) string {
	t.Helper()
	dir := t.TempDir()
	for d := dir; strings.HasPrefix(d, os.TempDir()+"/"); d = filepath.Dir(d) {
		if err := os.Chmod(d, 0o777); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range names {
		if err := os.MkdirAll(filepath.Join(dir, filepath.Dir(name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func owner(t *testing.T, path string) int {
	t.Helper()
	info, err := os.Lstat(path)
	if err != nil {
		t.Fatal(err)
	}
	return int(info.Sys().(*syscall.Stat_t).Uid)
}

// What root stores in somebody's repository is the repository's owner's, and so is the
// directory if root makes it below somebody's.
func TestRootGivesWhatItMakes(t *testing.T) {
	needsRoot(t)
	home := place(t)
	if err := os.Chown(home, somebody, somebody); err != nil {
		t.Fatal(err)
	}
	mustPut(t, open(t, filepath.Join(home, "new", "repo")), "backups/1/manifest.json")
	for _, name := range []string{"new", "new/repo", "new/repo/backups", "new/repo/backups/1", "new/repo/backups/1/manifest.json"} {
		if got := owner(t, filepath.Join(home, name)); got != somebody {
			t.Errorf("%s belongs to user %d, want %d", name, got, somebody)
		}
	}
}

// A file that has another name too is not given away.
func TestRootGivesOnlyWhatItMade(t *testing.T) {
	needsRoot(t)
	dir := place(t, "secret")
	secret, theirs := filepath.Join(dir, "secret"), filepath.Join(dir, "theirs")
	if err := errors.Join(os.Link(secret, theirs), os.Chown(dir, somebody, somebody)); err != nil {
		t.Fatal(err)
	}
	top, terr := os.Open(dir)
	f, err := os.Open(theirs)
	if err := errors.Join(terr, err); err != nil {
		t.Fatal(err)
	}
	defer top.Close()
	defer f.Close()
	if err := giveTo(top, f); err != nil || owner(t, secret) != 0 {
		t.Errorf("got %v, owner %d; want it kept", err, owner(t, secret))
	}
}

// Part of the storage is root's: it is listed as what cannot be read, and the rest as ever.
func TestUnreadableIsListed(t *testing.T) {
	needsRoot(t)
	dir := place(t, "b/1/o", "b/2/o", "b/2.x/o", "b/3/o", "b/4/o")
	for d, mode := range map[string]os.FileMode{"b/2": 0o700, "b/3": 0o744} {
		if err := os.Chmod(filepath.Join(dir, d), mode); err != nil {
			t.Fatal(err)
		}
	}
	become(t, somebody)
	s := open(t, dir)
	for prefix, want := range map[string][]string{
		"":      {"b/1/o", "b/2.x/o", "b/2/", "b/3/", "b/4/o"},
		"b/2/":  {"b/2/"},
		"b/2/o": {"b/2/"},
		"b/3/":  {"b/3/"},
		"b/4/":  {"b/4/o"},
	} {
		var got []string
		for o, err := range s.List(t.Context(), prefix) {
			if err != nil {
				t.Errorf("list %q: %v", prefix, err)
			}
			got = append(got, o.Name)
		}
		if !slices.Equal(got, want) {
			t.Errorf("list %q: got %v, want %v", prefix, got, want)
		}
	}
	const says = "b/2 belongs to user 0, this is user 12345"
	_, serr := s.Stat(t.Context(), "b/2/o")
	_, gerr := s.Get(t.Context(), "b/2/o", 0, -1)
	_, perr := s.Put(t.Context(), "b/2/p", strings.NewReader("x"))
	for what, err := range map[string]error{"stat": serr, "get": gerr, "put": perr, "delete": s.Delete(t.Context(), "b/2/o")} {
		if !errors.Is(err, plug.ErrPermission) || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: got %v, want ErrPermission and %q", what, err, says)
		}
	}
}

// A snapshot that a crash was caught in can be read; that it cannot be written is told by
// who writes.
func TestReadOnlyStorage(t *testing.T) {
	needsRoot(t)
	dir := place(t, "b/1", "b/tmp+1-1", "tmp+1-2")
	for _, d := range []string{dir, filepath.Join(dir, "b")} {
		if err := os.Chmod(d, 0o555); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(filepath.Join(dir, "b/1"), 0o444); err != nil {
		t.Fatal(err)
	}
	become(t, somebody)
	s := open(t, dir)
	if _, err := s.Stat(t.Context(), "b/1"); err != nil {
		t.Error(err)
	}
	for o, err := range s.List(t.Context(), "") {
		if err != nil || o.Name != "b/1" {
			t.Errorf("listed %+v, %v", o, err)
		}
	}
	if _, err := s.Put(t.Context(), "b/2", strings.NewReader("x")); !errors.Is(err, plug.ErrPermission) {
		t.Errorf("put: got %v, want ErrPermission", err)
	}
	if got := files(t, dir); len(got) != 3 {
		t.Errorf("got %v, want all three files", got)
	}
}

func TestSweepGoesOnBehindWhatItCannotReach(t *testing.T) {
	needsRoot(t)
	dir := place(t, "a/tmp+1-1", "b/tmp+1-2", "c/tmp+1-3")
	if err := os.Chmod(filepath.Join(dir, "b"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, d := range []string{"a", "c"} {
		for _, p := range []string{d, d + "/tmp+1-1", d + "/tmp+1-3"} {
			_ = os.Chown(filepath.Join(dir, p), somebody, somebody) // one of the files
		}
	}
	become(t, somebody)
	mustPut(t, open(t, dir), "new")
	for name, want := range map[string]bool{"a/tmp+1-1": false, "c/tmp+1-3": false, "new": true} {
		if _, err := os.Lstat(filepath.Join(dir, name)); (err == nil) != want {
			t.Errorf("%s: got %v, want it there %v", name, err, want)
		}
	}
}

// Whoever reads makes nothing, and says what may be the matter.
func TestReadingMakesNothing(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "not", "mounted")
	s := open(t, dir)
	_, serr := s.Stat(t.Context(), "x")
	_, gerr := s.Get(t.Context(), "x", 0, -1)
	for what, err := range map[string]error{"stat": serr, "get": gerr} {
		if !errors.Is(err, plug.ErrNotExist) || !strings.Contains(err.Error(), "not mounted") {
			t.Errorf("%s: got %v", what, err)
		}
	}
	for o, err := range s.List(t.Context(), "") {
		t.Errorf("listed %+v, %v", o, err)
	}
	if err := s.Delete(t.Context(), "x"); err != nil {
		t.Errorf("delete: %v", err)
	}
	if n, err := s.Free(t.Context()); err != nil || n <= 0 {
		t.Errorf("free: got %d, %v; want that of where it will be", n, err)
	}
	if _, err := os.Lstat(filepath.Dir(dir)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("it was made: %v", err)
	}
	mustPut(t, s, "x")
	if _, err := s.Stat(t.Context(), "x"); err != nil {
		t.Error(err)
	}
}

func TestNotADirectory(t *testing.T) {
	for _, path := range []string{"/dev/null", "/dev/null/x"} {
		if _, err := Open(Config{Path: path}); !errors.Is(err, plug.ErrInvalid) {
			t.Errorf("%s: got %v, want ErrInvalid", path, err)
		}
	}
}
