package staging

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

// A file that somebody has touched since all was whole is seen, whatever its size and time.
func TestDiffers(t *testing.T) {
	rewrite := func(text string) func(string) error {
		return func(name string) error { return os.WriteFile(name, []byte(text), 0o600) }
	}
	for name, c := range map[string]struct {
		change func(name string) error
		want   string
	}{
		"nothing":  {func(string) error { return nil }, ""},
		"longer":   {rewrite("restored, and more"), "d/t.ibd"},
		"as long":  {rewrite("Restored"), "d/t.ibd"},
		"gone":     {os.Remove, "d/t.ibd"},
		"replaced": {replace, "d/t.ibd"},
		"a link": {func(name string) error {
			if err := os.Rename(name, name+"x"); err != nil {
				return err
			}
			return os.Symlink(name+"x", name)
		}, "d/t.ibd"},
		"another list": {func(name string) error {
			return os.WriteFile(filepath.Join(filepath.Dir(name), "../..", inventoryName), []byte("x\n"), 0o600)
		}, inventoryName},
		"no list": {func(name string) error { return os.Remove(filepath.Join(filepath.Dir(name), "../..", inventoryName)) }, inventoryName},
	} {
		for _, stage := range []Stage{Prepared, Publishing} {
			s := complete(t)
			file := filepath.Join(s.DataPath(), "d/t.ibd")
			was, err := os.Stat(file)
			if err != nil {
				t.Fatal(err)
			}
			if err := s.Enter(stage); err != nil {
				t.Fatal(err)
			}
			if err := c.change(file); err != nil {
				t.Fatal(err)
			}
			if info, err := os.Lstat(file); err == nil && stage == Prepared && info.Mode().IsRegular() && name != "nothing" {
				putTimeBack(t, file, was)
			}
			if got, err := s.Differs(); got != c.want || err != nil {
				t.Errorf("%s, %s: got %q, %v, want %q", stage, name, got, err, c.want)
			}
		}
	}
}

// While files move each is looked for where it is, and where a server can start nothing is.
func TestDiffersWhilePublishing(t *testing.T) {
	s := complete(t)
	if err := s.enter(Publishing, []string{"d", "ibdata1", "mysql.ibd"}); err != nil {
		t.Fatal(err)
	}
	target := filepath.Dir(s.Path())
	looks := func(when, want string) {
		t.Helper()
		if got, err := s.Differs(); got != want || err != nil {
			t.Errorf("%s: got %q, %v, want %q", when, got, err, want)
		}
	}
	move := func(from, to string) {
		t.Helper()
		if err := os.Rename(filepath.Join(s.DataPath(), from), to); err != nil {
			t.Fatal(err)
		}
	}
	move(Dictionary, filepath.Join(s.DataPath(), hidden))
	looks("hidden", "")
	move("d", filepath.Join(target, "d"))
	looks("moved", "")
	if err := os.WriteFile(filepath.Join(target, "d/t.ibd"), []byte("Restored"), 0o600); err != nil {
		t.Fatal(err)
	}
	looks("changed", "d/t.ibd")
	move(hidden, filepath.Join(target, Dictionary))
	looks("startable", "")
}

// complete is a staging directory whose files are whole.
func complete(t *testing.T) *Dir {
	t.Helper()
	at, err := Look(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	s, err := Open(at, NewState("r", "x", false), Owner{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	old := time.Now().Add(-time.Hour)
	for _, name := range []string{"mysql.ibd", "ibdata1", "d/t.ibd"} {
		path := filepath.Join(s.DataPath(), name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte("restored"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, old, old); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Complete(); err != nil {
		t.Fatal(err)
	}
	return s
}

// putTimeBack leaves only what the kernel keeps, as soon as its clock has gone on.
func putTimeBack(t *testing.T, name string, was os.FileInfo) {
	t.Helper()
	before, _ := itemOf(name, was)
	for now := before; now.Touched == before.Touched; {
		if err := os.Chtimes(name, was.ModTime(), was.ModTime()); err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(name)
		if err != nil {
			t.Fatal(err)
		}
		now, _ = itemOf(name, info)
	}
}

// replace puts another file of the same bytes in its place.
func replace(name string) error {
	b, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	if err := os.WriteFile(name+".new", b, 0o600); err != nil {
		return err
	}
	return os.Rename(name+".new", name)
}
