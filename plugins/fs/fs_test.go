package fs

import (
	"bytes"
	"context"
	"errors"
	"io"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/remora-backup/remora/core/needs"
	"github.com/remora-backup/remora/core/plug"
	"github.com/remora-backup/remora/core/plug/plugtest"
)

func open(t *testing.T, dir string) *Storage {
	t.Helper()
	s, err := Open(Config{Path: dir})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestContract(t *testing.T) {
	plugtest.Storage(t, func(t *testing.T) plug.Storage { return open(t, needs.Memory(t)) })
}

// files returns every path below dir.
func files(t *testing.T, dir string) []string {
	t.Helper()
	var all []string
	err := filepath.WalkDir(dir, func(p string, e os.DirEntry, err error) error {
		if err == nil && !e.IsDir() {
			all = append(all, strings.TrimPrefix(p, dir+"/"))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestFailedPutLeavesNoFile(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	broken := errors.New("broken")
	_, err := s.Put(t.Context(), "a/b", io.MultiReader(strings.NewReader("xyz"), failing{broken}))
	if !errors.Is(err, broken) {
		t.Errorf("got %v, want %v", err, broken)
	}
	if got := files(t, dir); len(got) != 0 {
		t.Errorf("left %v", got)
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

func TestFirstWriteRemovesLeftoversOnly(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	mustPut(t, s, "a/b")
	left := filepath.Join("a", "tmp+1-1")
	if err := os.WriteFile(filepath.Join(dir, left), []byte("left"), 0o600); err != nil {
		t.Fatal(err)
	}
	// A writer that lives: its file must survive the first write of another.
	f, temp, err := s.create("a")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	reader := open(t, dir)
	for range reader.List(t.Context(), "") {
	}
	if got, want := files(t, dir), []string{"a/b", left, temp}; !slices.Equal(got, want) {
		t.Errorf("reading left %v, want %v", got, want)
	}
	mustPut(t, reader, "a/c")
	if got, want := files(t, dir), []string{"a/b", "a/c", temp}; !slices.Equal(got, want) {
		t.Errorf("writing left %v, want %v", got, want)
	}
}

// A storage directory that is made is entered durably in its parent, and that in its own.
func TestTheStorageDirectoryIsMadeDurable(t *testing.T) {
	dir := t.TempDir()
	var synced []string
	root := filepath.Join(dir, "a", "b")
	sync := func(above string) error {
		entries, err := os.ReadDir(above)
		if err != nil || len(entries) != 1 {
			t.Errorf("%s is synced with %v in it (%v), want the new directory", above, entries, err)
		}
		synced = append(synced, above)
		return syncPath(above)
	}
	for range 2 { // the second time nothing is made
		if err := makeRoot(root, sync); err != nil {
			t.Fatal(err)
		}
	}
	if want := []string{dir, filepath.Join(dir, "a")}; !slices.Equal(synced, want) {
		t.Errorf("synced were %v, want %v", synced, want)
	}
	failure := errors.New("disk on fire")
	if err := makeRoot(filepath.Join(dir, "c"), func(string) error { return failure }); !errors.Is(err, failure) {
		t.Errorf("got %v, want what the sync said", err)
	}
}

func TestModes(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new")
	s := open(t, dir)
	if _, err := s.Put(t.Context(), "a/b", strings.NewReader("x")); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]os.FileMode{"": 0o700, "a": 0o700, "a/b": 0o600} {
		info, err := os.Stat(filepath.Join(dir, path))
		if err != nil || info.Mode().Perm() != want {
			t.Errorf("mode of %q: got %v, %v; want %v", path, info.Mode().Perm(), err, want)
		}
	}
}

func TestSymlinksDoNotLeadOut(t *testing.T) {
	dir, outside := t.TempDir(), t.TempDir()
	s := open(t, dir)
	if err := os.WriteFile(filepath.Join(outside, "secret"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(outside, filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	if r, err := s.Get(t.Context(), "link/secret", 0, -1); err == nil {
		_ = r.Close()
		t.Error("read a file outside of the storage")
	}
	if _, err := s.Put(t.Context(), "link/new", strings.NewReader("x")); err == nil {
		t.Error("wrote a file outside of the storage")
	}
}

func TestBelowAnObject(t *testing.T) {
	s := open(t, t.TempDir())
	if _, err := s.Put(t.Context(), "a", strings.NewReader("x")); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Put(t.Context(), "a/b", strings.NewReader("x")); !errors.Is(err, plug.ErrInvalid) {
		t.Errorf("got %v, want ErrInvalid", err)
	}
}

// TestFull needs a file system that can be filled.
func TestFull(t *testing.T) {
	f, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	_, err = write(t.Context(), f, strings.NewReader("x"))
	if !errors.Is(known(err), plug.ErrNoSpace) {
		t.Errorf("got %v, want ErrNoSpace", err)
	}
}

// TestWrongStoragesAreNoticed breaks one promise at a time and expects the check that is
// there for it to say so: a suite that lets these pass proves nothing.
func TestWrongStoragesAreNoticed(t *testing.T) {
	for check, breakIt := range map[string]func(*Storage, string) plug.Storage{
		"put_failing_reader_leaves_nothing": func(s *Storage, dir string) plug.Storage { return inPlace{s, dir} },
		"put_failing_reader_keeps_old":      func(s *Storage, dir string) plug.Storage { return inPlace{s, dir} },
		"put_cancelled_leaves_nothing":      func(s *Storage, _ string) plug.Storage { return truncating{s} },
		"put_appears_at_once":               func(s *Storage, dir string) plug.Storage { return inPlace{s, dir} },
		"put_replaces":                      func(s *Storage, _ string) plug.Storage { return writeOnce{s} },
		"get_out_of_range":                  func(s *Storage, _ string) plug.Storage { return lenient{s} },
		"get_ranges":                        func(s *Storage, _ string) plug.Storage { return offByOne{s} },
		"not_exist":                         func(s *Storage, _ string) plug.Storage { return vague{s} },
		"list_order_and_prefix":             func(s *Storage, _ string) plug.Storage { return unordered{s} },
		"list_ends_early":                   func(s *Storage, _ string) plug.Storage { return lastMissing{s} },
		"delete_idempotent":                 func(s *Storage, _ string) plug.Storage { return strict{s} },
		"names_hostile":                     func(s *Storage, dir string) plug.Storage { return inPlace{s, dir} },
		"cancelled_before":                  func(s *Storage, _ string) plug.Storage { return deaf{s} },
	} {
		t.Run(check, func(t *testing.T) {
			dir := filepath.Join(needs.Memory(t), "in", "in")
			s := breakIt(open(t, dir), dir)
			for r := range plugtest.CheckStorage(t.Context(), s, check) {
				if r.Name == check && r.OK {
					t.Errorf("%s did not notice", check)
				}
				if r.Name == check {
					return
				}
			}
			t.Errorf("no check is called %s", check)
		})
	}
}

// inPlace writes without a temporary file, and to any name.
type inPlace struct {
	*Storage
	dir string
}

func (s inPlace) Put(_ context.Context, name string, r io.Reader) (plug.Object, error) {
	path := filepath.Join(s.dir, strings.ReplaceAll(name, "..", ""))
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return plug.Object{}, err
	}
	f, err := os.Create(path)
	if err != nil {
		return plug.Object{}, err
	}
	defer f.Close()
	n, err := io.Copy(f, r)
	return plug.Object{Name: name, Size: n}, err
}

// truncating takes any end of the reader for the end.
type truncating struct{ *Storage }

func (s truncating) Put(ctx context.Context, name string, r io.Reader) (plug.Object, error) {
	b, _ := io.ReadAll(r)
	return s.Storage.Put(context.WithoutCancel(ctx), name, bytes.NewReader(b))
}

// writeOnce keeps the first object.
type writeOnce struct{ *Storage }

func (s writeOnce) Put(ctx context.Context, name string, r io.Reader) (plug.Object, error) {
	if _, err := s.Stat(ctx, name); err == nil {
		n, err := io.Copy(io.Discard, r)
		return plug.Object{Name: name, Size: n}, err
	}
	return s.Storage.Put(ctx, name, r)
}

// lenient gives what there is of a range.
type lenient struct{ *Storage }

func (s lenient) Get(ctx context.Context, name string, offset, length int64) (io.ReadCloser, error) {
	o, err := s.Stat(ctx, name)
	if err != nil {
		return nil, err
	}
	offset = min(max(offset, 0), o.Size)
	return s.Storage.Get(ctx, name, offset, min(length, o.Size-offset))
}

// offByOne gives one byte less of a range.
type offByOne struct{ *Storage }

func (s offByOne) Get(ctx context.Context, name string, offset, length int64) (io.ReadCloser, error) {
	if offset > 0 && length > 1 {
		length--
	}
	return s.Storage.Get(ctx, name, offset, length)
}

// vague has no typed errors.
type vague struct{ *Storage }

func (s vague) Stat(ctx context.Context, name string) (plug.Object, error) {
	o, err := s.Storage.Stat(ctx, name)
	if err != nil {
		err = errors.New("something is wrong")
	}
	return o, err
}

// unordered lists backwards.
type unordered struct{ *Storage }

func (s unordered) List(ctx context.Context, prefix string) iter.Seq2[plug.Object, error] {
	var all []plug.Object
	for o := range s.Storage.List(ctx, prefix) {
		all = append(all, o)
	}
	return func(yield func(plug.Object, error) bool) {
		for _, o := range slices.Backward(all) {
			if !yield(o, nil) {
				return
			}
		}
	}
}

// lastMissing forgets the last object of a list.
type lastMissing struct{ *Storage }

func (s lastMissing) List(ctx context.Context, prefix string) iter.Seq2[plug.Object, error] {
	return func(yield func(plug.Object, error) bool) {
		var held *plug.Object
		for o, err := range s.Storage.List(ctx, prefix) {
			if err != nil || held != nil && !yield(*held, nil) {
				return
			}
			held = &o
		}
	}
}

// strict minds deleting what is not there.
type strict struct{ *Storage }

func (s strict) Delete(ctx context.Context, name string) error {
	if _, err := s.Stat(ctx, name); err != nil {
		return err
	}
	return s.Storage.Delete(ctx, name)
}

// deaf does not hear a cancellation.
type deaf struct{ *Storage }

func (s deaf) Put(ctx context.Context, name string, r io.Reader) (plug.Object, error) {
	return s.Storage.Put(context.WithoutCancel(ctx), name, r)
}
