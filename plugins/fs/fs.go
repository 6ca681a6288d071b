// Package fs keeps objects as files below a directory.
//
// An object is written to a temporary file beside its place, synced, renamed, and the
// directory synced. A temporary file's name holds a '+', which no object's name can, and
// its writer holds a lock on it, so what a crash left behind is told from what is being
// written.
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
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/remora-backup/remora/core/plug"
	"github.com/remora-backup/remora/plugins/sdk"
)

// Config is the plugin's part of the configuration.
type Config struct {
	Path string `json:"path"` // absolute; made if it does not exist
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
	root  *os.Root
	temps atomic.Int64 // number of the last temporary file
}

// Open opens the directory and removes what crashed writers left in it.
func Open(c Config) (*Storage, error) {
	if !strings.HasPrefix(c.Path, "/") {
		return nil, fmt.Errorf("path %q is not absolute: %w", c.Path, plug.ErrInvalid)
	}
	if err := makeRoot(path.Clean(c.Path), syncPath); err != nil {
		return nil, fmt.Errorf("make the storage directory: %w", err)
	}
	root, err := os.OpenRoot(c.Path)
	if err != nil {
		return nil, fmt.Errorf("open the storage directory: %w", err)
	}
	s := &Storage{root: root}
	if err := s.sweep(); err != nil {
		return nil, fmt.Errorf("remove what crashed writers left: %w", err)
	}
	return s, nil
}

// Put is plug.Storage's.
func (s *Storage) Put(ctx context.Context, name string, r io.Reader) (plug.Object, error) {
	if err := begin(ctx, name); err != nil {
		return plug.Object{}, err
	}
	f, temp, err := s.create(path.Dir(name))
	if errors.Is(err, syscall.ENOTDIR) {
		return plug.Object{}, fmt.Errorf("%s would be below an object: %w", name, plug.ErrInvalid)
	}
	if err != nil {
		return plug.Object{}, known(fmt.Errorf("create a file for %s: %w", name, err))
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
		return plug.Object{}, known(fmt.Errorf("write %s: %w", name, err))
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
	if err := begin(ctx, name); err != nil {
		return nil, err
	}
	f, err := s.root.Open(name)
	if err != nil {
		return nil, known(fmt.Errorf("open: %w", err))
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
	if err := begin(ctx, name); err != nil {
		return plug.Object{}, err
	}
	info, err := s.root.Lstat(name)
	if err != nil {
		return plug.Object{}, known(fmt.Errorf("stat: %w", err))
	}
	if !info.Mode().IsRegular() {
		return plug.Object{}, fmt.Errorf("%s is not an object: %w", name, plug.ErrNotExist)
	}
	return plug.Object{Name: name, Size: info.Size()}, nil
}

// Delete is plug.Storage's. Directories that are empty then go too.
func (s *Storage) Delete(ctx context.Context, name string) error {
	dir := path.Dir(name)
	if _, err := s.Stat(ctx, name); errors.Is(err, plug.ErrNotExist) {
		s.prune(dir)
		return nil
	} else if err != nil {
		return err
	}
	if err := s.root.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return known(fmt.Errorf("remove: %w", err))
	}
	if err := s.syncDir(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return known(fmt.Errorf("sync the directory of %s: %w", name, err))
	}
	s.prune(dir)
	return nil
}

// Free is plug.FreeSpace's.
func (s *Storage) Free(context.Context) (int64, error) {
	d, err := s.root.Open(".")
	if err != nil {
		return 0, fmt.Errorf("open the storage directory: %w", err)
	}
	defer d.Close()
	var st unix.Statfs_t
	if err := unix.Fstatfs(int(d.Fd()), &st); err != nil {
		return 0, fmt.Errorf("ask for free space: %w", err)
	}
	return int64(st.Bavail) * st.Bsize, nil
}

// begin is what all calls do first.
func begin(ctx context.Context, name string) error {
	if err := context.Cause(ctx); err != nil {
		return err
	}
	if !plug.ValidName(name) {
		return fmt.Errorf("object name %q: %w", name, plug.ErrInvalid)
	}
	return nil
}

// known gives a system error the identity that callers look for.
func known(err error) error {
	switch {
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return fmt.Errorf("%w: %w", plug.ErrNoSpace, err)
	case errors.Is(err, syscall.ENOTDIR):
		// A part of the name before a '/' is an object: nothing can be below it.
		return fmt.Errorf("%w: %w", plug.ErrNotExist, err)
	case errors.Is(err, syscall.EISDIR), errors.Is(err, syscall.ENAMETOOLONG):
		return fmt.Errorf("%w: %w", plug.ErrInvalid, err)
	}
	return err
}
