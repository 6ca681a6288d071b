package fs

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

func mustPut(t *testing.T, s *Storage, name string) {
	t.Helper()
	if _, err := s.Put(t.Context(), name, strings.NewReader("x")); err != nil {
		t.Fatal(err)
	}
}

func TestNoEmptyDirectoryStays(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	for what, do := range map[string]func() error{
		"delete":            func() error { mustPut(t, s, "a/b/c"); return s.Delete(t.Context(), "a/b/c") },
		"delete of nothing": func() error { _ = os.MkdirAll(filepath.Join(dir, "a/b"), 0o700); return s.Delete(t.Context(), "a/b/c") },
		"failed put": func() error {
			if _, err := s.Put(t.Context(), "a/b/c", failing{io.ErrUnexpectedEOF}); err == nil {
				t.Error("put of a broken stream: no error")
			}
			return nil
		},
	} {
		if err := do(); err != nil {
			t.Errorf("%s: %v", what, err)
		}
		if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
			t.Errorf("after %s: got %v, %v; want nothing", what, left, err)
		}
	}
}

func TestDeleteKeepsWhatIsInUse(t *testing.T) {
	s := open(t, t.TempDir())
	for _, name := range []string{"a", "d/e"} {
		mustPut(t, s, name)
	}
	for _, name := range []string{"a/b", "a/b/c", "d/f", "d/f/g"} {
		if err := s.Delete(t.Context(), name); err != nil {
			t.Errorf("delete %s: %v", name, err)
		}
	}
	for _, name := range []string{"a", "d/e"} {
		if _, err := s.Stat(t.Context(), name); err != nil {
			t.Errorf("%s is gone: %v", name, err)
		}
	}
}

// TestPutWhileItsDirectoryGoes has two that put and delete below the same directories,
// which are empty again and again.
func TestPutWhileItsDirectoryGoes(t *testing.T) {
	dir := t.TempDir()
	var both sync.WaitGroup
	for _, name := range []string{"a/b/c", "a/b/d"} {
		s := open(t, dir)
		both.Go(func() {
			for range 200 {
				if _, err := s.Put(t.Context(), name, strings.NewReader("x")); err != nil {
					t.Errorf("put: %v", err)
				}
				if _, err := s.Stat(t.Context(), name); err != nil {
					t.Errorf("stat: %v", err)
				}
				if err := s.Delete(t.Context(), name); err != nil {
					t.Errorf("delete: %v", err)
				}
			}
		})
	}
	both.Wait()
}
