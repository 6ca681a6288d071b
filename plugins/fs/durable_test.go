package fs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/remora-backup/remora/core/durable"
	"github.com/remora-backup/remora/core/needs"
)

// The test's executable stores objects while its system calls are traced.
func TestMain(m *testing.M) {
	if len(os.Args) > 2 && os.Args[1] == "store" {
		if err := store(os.Args[2]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// store puts objects in every way there is, several at a time, and says of each on standard
// output that it is promised, when it is.
func store(dir string) error {
	s, err := Open(Config{Path: dir})
	if err != nil {
		return err
	}
	if err := errors.Join(makeRoot(dir, syncPath), os.Mkdir(filepath.Join(dir, "a"), 0o700)); err != nil { // by one who died then
		return err
	}
	if _, err := s.Put(context.Background(), "a/b", strings.NewReader("x")); err != nil {
		return err
	}
	fmt.Println("promised a/b")
	var all sync.WaitGroup
	failed := make(chan error, 100)
	for _, name := range []string{"top", "b/1/manifest", "b/1/pack-1", "b/1/pack-2", "b/2/c/d/e", "b/2/c/d/f"} {
		all.Go(func() {
			for _, size := range []int{1, 0, 20 << 20} { // replaced, and written back early
				if _, err := s.Put(context.Background(), name, bytes.NewReader(make([]byte, size))); err != nil {
					failed <- err
				}
				fmt.Printf("promised %s\n", name)
			}
			if _, err := s.Put(context.Background(), name, failing{os.ErrInvalid}); err == nil {
				failed <- fmt.Errorf("put of a broken stream: no error")
			}
		})
	}
	all.Wait()
	close(failed)
	if err := s.Delete(context.Background(), "b/2/c/d/f"); err != nil {
		return err
	}
	return <-failed
}

// TestPutIsDurable holds the system calls of puts against the law: data before name, names
// before Put returns, up to the directory that the storage made for itself.
func TestPutIsDurable(t *testing.T) {
	strace, err := exec.LookPath("strace")
	if err != nil {
		needs.Missing(t, "%v", err)
	}
	top := t.TempDir()
	dir, trace := filepath.Join(top, "made", "repo"), filepath.Join(top, "trace")
	out, err := exec.CommandContext(t.Context(), strace, "-f", "-y", "-qq", "-s", "200", "-o", trace, "-e", durable.Calls,
		os.Args[0], "store", dir).CombinedOutput()
	if err != nil {
		needs.Missing(t, "trace system calls: %v: %s", err, out)
	}
	f, err := os.Open(trace)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	law := durable.Law{Root: dir, Passing: func(p string) bool { return strings.Contains(path.Base(p), tempMark) }}
	broken, promises, err := law.Broken(f)
	if err != nil || promises != 1+6*3+1 {
		t.Errorf("the trace has %d promises, %v; want %d: %s", promises, err, 1+6*3+1, out)
	}
	for _, b := range broken {
		t.Error(b)
	}
}
