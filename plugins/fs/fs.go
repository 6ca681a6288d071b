// Package fs keeps objects as files below a directory.
//
// An object is written to a temporary file beside its place, synced, renamed, and the
// directory synced. A temporary file's name holds a '+', which no object's name can, and
// its writer holds a lock on it, so what a crash left behind is told from what is being
// written. Only writing makes, changes or removes anything: a storage that is only read may
// be a snapshot, or not be there.
package fs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/remora-backup/remora/core/plug"
	"github.com/remora-backup/remora/plugins/sdk"
)

// Config is the plugin's part of the configuration.
type Config struct {
	Path string `json:"path"` // absolute; the first write makes it if it does not exist
}

// Serve is the plugin's main function.
func Serve() {
	sdk.ServeStorage(func(raw json.RawMessage) (plug.Storage, error) {
		var c Config
		if err := sdk.Decode(raw, &c); err != nil {
			return nil, err
		}
		return Open(c)
	})
}

// Storage keeps objects below one directory.
type Storage struct {
	path  string
	temps atomic.Int64 // number of the last temporary file

	mu    sync.Mutex
	root  *os.Root // nil until ready has found or made the directory
	swept bool

	making sync.Mutex
	synced map[string]uint64 // directory whose entry in its parent is durable: its inode
}

// Open looks at the directory, which need not be there yet.
func Open(c Config) (*Storage, error) {
	if !strings.HasPrefix(c.Path, "/") {
		return nil, fmt.Errorf("path %q is not absolute: %w", c.Path, plug.ErrInvalid)
	}
	s := &Storage{path: path.Clean(c.Path), synced: map[string]uint64{}}
	if err := s.ready(false); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	return s, nil
}

// Put is plug.Storage's.
func (s *Storage) Put(ctx context.Context, name string, r io.Reader) (plug.Object, error) {
	if err := s.begin(ctx, name, true); err != nil {
		return plug.Object{}, err
	}
	f, temp, err := s.create(path.Dir(name))
	if errors.Is(err, syscall.ENOTDIR) {
		return plug.Object{}, fmt.Errorf("%s would be below an object: %w", name, plug.ErrInvalid)
	}
	if err != nil {
		return plug.Object{}, s.explain(name, fmt.Errorf("create a file for %s: %w", name, err))
	}
	size, err := write(ctx, f, r)
	if err == nil {
		err = s.root.Rename(temp, name)
	}
	// Only now is the lock on the file given up, so that nobody takes it for a leftover.
	if cerr := f.Close(); err == nil && cerr != nil {
		err = cerr
	}
	if err == nil {
		err = s.syncDir(path.Dir(name))
	}
	if err != nil {
		_ = s.root.Remove(temp) // err is the cause; a sweep gets what is left
		s.prune(path.Dir(name))
		return plug.Object{}, s.explain(name, fmt.Errorf("write %s: %w", name, err))
	}
	return plug.Object{Name: name, Size: size}, nil
}

// writeback is how many bytes are handed to the disk at once: early, so that the sync at
// the end finds little left to do.
const writeback = 8 << 20

func write(ctx context.Context, f *os.File, r io.Reader) (int64, error) {
	buf := make([]byte, 1<<20)
	var size, started int64
	for {
		n, rerr := r.Read(buf)
		if n > 0 {
			if _, err := f.Write(buf[:n]); err != nil {
				return size, err
			}
			size += int64(n)
		}
		if size-started >= writeback {
			// A hint: a file system that cannot do it is still synced below.
			_ = unix.SyncFileRange(int(f.Fd()), started, size-started, unix.SYNC_FILE_RANGE_WRITE)
			started = size
		}
		switch {
		case ctx.Err() != nil:
			return size, context.Cause(ctx)
		case rerr == io.EOF:
			return size, f.Sync()
		case rerr != nil:
			return size, rerr
		}
	}
}

// Get is plug.Storage's.
func (s *Storage) Get(ctx context.Context, name string, offset, length int64) (io.ReadCloser, error) {
	if err := s.begin(ctx, name, false); err != nil {
		return nil, err
	}
	f, err := s.openFile(name)
	if err != nil {
		return nil, s.explain(name, fmt.Errorf("open: %w", err))
	}
	info, err := f.Stat()
	switch {
	case err != nil:
		err = fmt.Errorf("stat: %w", err)
	case !info.Mode().IsRegular():
		err = fmt.Errorf("%s is not an object: %w", name, plug.ErrNotExist)
	case offset < 0 || offset > info.Size() || length > info.Size()-offset:
		err = fmt.Errorf("range of %d bytes at %d is not within %s of %d bytes: %w", length, offset, name, info.Size(), plug.ErrInvalid)
	}
	if err != nil {
		_ = f.Close()
		return nil, known(err)
	}
	if length < 0 {
		length = info.Size() - offset
	}
	return &section{SectionReader: io.NewSectionReader(f, offset, length), f: f, missing: length}, nil
}

// openFile opens what may be something else than a file, and then must not wait.
func (s *Storage) openFile(name string) (*os.File, error) {
	return s.root.OpenFile(name, os.O_RDONLY|unix.O_NONBLOCK, 0)
}

// section is a part of a file that must be there to its end.
type section struct {
	*io.SectionReader
	f       *os.File
	missing int64
}

func (s *section) Read(p []byte) (int, error) {
	n, err := s.SectionReader.Read(p)
	if s.missing -= int64(n); err == io.EOF && s.missing > 0 {
		return n, fmt.Errorf("file became shorter: %w", io.ErrUnexpectedEOF)
	}
	return n, err
}

func (s *section) Close() error { return s.f.Close() }

// Stat is plug.Storage's.
func (s *Storage) Stat(ctx context.Context, name string) (plug.Object, error) {
	if err := s.begin(ctx, name, false); err != nil {
		return plug.Object{}, err
	}
	info, err := s.root.Lstat(name)
	if err != nil {
		return plug.Object{}, s.explain(name, fmt.Errorf("stat: %w", err))
	}
	if !info.Mode().IsRegular() {
		return plug.Object{}, fmt.Errorf("%s is not an object: %w", name, plug.ErrNotExist)
	}
	return plug.Object{Name: name, Size: info.Size()}, nil
}

// Delete is plug.Storage's. Directories that are empty then go too.
func (s *Storage) Delete(ctx context.Context, name string) error {
	dir := path.Dir(name)
	if err := s.begin(ctx, name, false); errors.Is(err, plug.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	if _, err := s.Stat(ctx, name); errors.Is(err, plug.ErrNotExist) {
		s.prune(dir)
		return nil
	} else if err != nil {
		return err
	}
	if err := s.root.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return s.explain(name, fmt.Errorf("remove: %w", err))
	}
	if err := s.syncDir(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return s.explain(name, fmt.Errorf("sync the directory of %s: %w", name, err))
	}
	s.prune(dir)
	return nil
}

// Free is plug.FreeSpace's. What is not there yet will be where it is made.
func (s *Storage) Free(context.Context) (int64, error) {
	var st unix.Statfs_t
	for dir := s.path; ; dir = path.Dir(dir) {
		err := unix.Statfs(dir, &st)
		if err == nil {
			return int64(st.Bavail) * st.Bsize, nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return 0, known(fmt.Errorf("ask for free space in %s: %w", dir, err))
		}
	}
}

// begin is what all calls do first.
func (s *Storage) begin(ctx context.Context, name string, write bool) error {
	if err := context.Cause(ctx); err != nil {
		return err
	}
	if !plug.ValidName(name) {
		return fmt.Errorf("object name %q: %w", name, plug.ErrInvalid)
	}
	return s.ready(write)
}
