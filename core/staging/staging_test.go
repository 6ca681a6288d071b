package staging

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/remora-backup/remora/core/code"
)

// The beginning of a line that was not written whole must not become part of another.
func TestPacksAfterATornLine(t *testing.T) {
	for _, torn := range []string{"1", "1 1", "12 3", "\x00\x00"} {
		dir, err := os.OpenRoot(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		if err := dir.WriteFile(packsName, []byte("0 100\n"+torn), 0o600); err != nil {
			t.Fatal(err)
		}
		s := &Dir{dir: dir}
		defer s.Close()
		if err := s.takeLock(); err != nil {
			t.Fatal(err)
		}
		p, err := OpenPacks(s, time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		for _, group := range []int{2, 3} {
			if err := p.Wrote(group); err != nil {
				t.Fatal(err)
			}
			if err := p.Flush(); err != nil {
				t.Fatal(err)
			}
		}
		if p, err = OpenPacks(s, time.Hour); err != nil {
			t.Fatal(err)
		}
		for group := range 200 {
			if got, want := p.Has(group), group == 0 || group == 2 || group == 3; got != want {
				t.Errorf("after %q: pack %d is there: got %v, want %v", torn, group, got, want)
			}
		}
	}
}

// Nothing that lies in the target is overwritten, and what was moved by an earlier run is
// taken as done.
func TestPublishMovesOverNothing(t *testing.T) {
	target := t.TempDir()
	at, err := Look(target)
	if err != nil {
		t.Fatal(err)
	}
	s, err := Open(at, NewState("r", "x", false), Owner{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for _, name := range []string{"mysql.ibd", "ibdata1", "d/t.ibd"} {
		path := filepath.Join(s.DataPath(), name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte("restored"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.enter(Publishing, []string{"d", "ibdata1", "mysql.ibd"}); err != nil {
		t.Fatal(err)
	}
	// As if a run was killed after the first move ...
	if err := os.Rename(filepath.Join(s.DataPath(), "d"), filepath.Join(target, "d")); err != nil {
		t.Fatal(err)
	}
	// ... and somebody else put a file there.
	foreign := filepath.Join(target, "ibdata1")
	if err := os.WriteFile(foreign, []byte("foreign"), 0o600); err != nil {
		t.Fatal(err)
	}
	committed := false
	err = s.Publish(t.Context(), func() error { return nil }, func() { committed = true })
	if code.Of(err) != code.Target || committed {
		t.Errorf("publish over a file: got %v, committed %v", err, committed)
	}
	if b, _ := os.ReadFile(foreign); string(b) != "foreign" {
		t.Errorf("the file of somebody else: got %q", b)
	}
	if err := os.Remove(foreign); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second run has nothing left to do
		if err := s.Publish(t.Context(), func() error { return nil }, func() { committed = true }); err != nil || !committed {
			t.Fatalf("publish: %v, committed %v", err, committed)
		}
	}
	for _, name := range []string{"mysql.ibd", "ibdata1", "d/t.ibd"} {
		if b, err := os.ReadFile(filepath.Join(target, name)); string(b) != "restored" {
			t.Errorf("%s: got %q, %v", name, b, err)
		}
	}
	// A run that was killed while it removed the staging directory.
	if err := s.dir.RemoveAll(Data); err != nil {
		t.Fatal(err)
	}
	committed = false
	if err := s.Publish(t.Context(), func() error { return nil }, func() { committed = true }); err != nil || !committed {
		t.Errorf("publish again without data/: %v, committed %v", err, committed)
	}
	if err := os.Remove(filepath.Join(target, Dictionary)); err != nil {
		t.Fatal(err)
	}
	committed = false
	if err := s.Publish(t.Context(), func() error { return nil }, func() { committed = true }); err == nil || committed {
		t.Errorf("publish without data/ and without the dictionary: %v, committed %v", err, committed)
	}
}
