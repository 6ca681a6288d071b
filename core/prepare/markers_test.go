package prepare

import (
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"testing"

	"github.com/remora-backup/remora/core/needs"
	"github.com/remora-backup/remora/core/xtrabackup"
)

// A run that ended at any step, and is run again, leads to what one that was not
// interrupted leads to.
func TestMarkersCanBeInterruptedAnywhere(t *testing.T) {
	needs.Server(t)
	const markers = 8
	before := listing{
		files: map[string]bool{}, spaces: map[string]uint32{"d/a.ibd": 1, "d/b.ibd": 2, "d/c.ibd": 3, "d/n.ibd": 4, "d/n.ibd.new": 4, "d/gone.ibd": 5, "d/z.ibd": 6, "d/z.ibd.new": 7},
	}
	for name, to := range map[string]string{"d/1.ren": "d/b.ibd", "d/2.ren": "d/a.ibd", "d/3.ren": "new/c.ibd", "d/n.ibd.new": "", "d/5.del": "", "d/6.del": "", "d/z.ibd.new": "", "d/bad.ibd.crpt": ""} {
		m, ok, err := xtrabackup.ParseMarker(name)
		if !ok || err != nil {
			t.Fatal(name, err)
		}
		m.To = to
		before.markers = append(before.markers, m)
		before.files[name] = true
	}
	before.files["d/bad.ibd"] = true
	for name := range before.spaces {
		before.files[name] = true
	}
	if len(before.markers) != markers {
		t.Fatalf("%d markers", len(before.markers))
	}
	groups, err := planMarkers(before)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"d/a.ibd": "d/b.ibd", "d/b.ibd": "d/a.ibd", "new/c.ibd": "d/c.ibd", "d/n.ibd": "d/n.ibd.new", "d/z.ibd": "d/z.ibd.new"}
	steps := 0
	for _, g := range groups {
		steps += len(g)
	}
	for stop := range steps + 1 {
		for _, saved := range []bool{true, false} {
			root := before.make(t)
			j := &journal{Format: journalFormat, Stage: applying, Groups: groups}
			if err := j.save(root); err != nil {
				t.Fatal(err)
			}
			doSteps(t, root, j, stop, saved)
			j, err := readJournal(root)
			if err != nil {
				t.Fatal(err)
			}
			if err := j.carryOut(t.Context(), root); err != nil {
				t.Fatalf("after %d of %d steps: %v", stop, steps, err)
			}
			if got := contents(t, root); !maps.Equal(got, want) {
				t.Fatalf("after %d of %d steps: got %v, want %v", stop, steps, got, want)
			}
		}
	}
}

// Write errors between two saves are told only to a descriptor that was open before them.
func TestAJournalSyncsThroughOneDescriptor(t *testing.T) {
	root := listing{}.make(t)
	made := &journal{Format: journalFormat, Stage: applying}
	if err := made.save(root); err != nil {
		t.Fatal(err)
	}
	read, err := readJournal(root)
	if err != nil {
		t.Fatal(err)
	}
	for name, j := range map[string]*journal{"made": made, "read": read} {
		if err := j.save(root); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if err := j.close(); err != nil {
			t.Fatalf("%s: close what was opened before the first change: %v", name, err)
		}
		if err := j.save(root); err == nil {
			t.Errorf("%s: got no error of a closed descriptor: the directory was opened anew after the changes", name)
		}
	}
}

// doSteps does as many steps; the end of the last whole group is written down, or not.
func doSteps(t *testing.T, root *os.Root, j *journal, n int, saved bool) {
	for _, g := range j.Groups {
		for _, s := range g {
			if n--; n < 0 {
				return
			}
			if err := s.do(root); err != nil {
				t.Fatal(err)
			}
		}
		j.Done++
		if n > 0 || saved { // only the last step before the end can be unknown
			if err := j.save(root); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// make writes the files, each holding its name.
func (f listing) make(t *testing.T) *os.Root {
	t.Helper()
	dir := t.TempDir()
	for name := range f.files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(name), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { root.Close() })
	return root
}

func contents(t *testing.T, root *os.Root) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := fs.WalkDir(root.FS(), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || name == JournalName {
			return err
		}
		b, err := root.ReadFile(name)
		all[name] = string(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}
