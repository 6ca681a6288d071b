package restore

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/remora-backup/remora/core/code"
	"github.com/remora-backup/remora/core/redomake"
	"github.com/remora-backup/remora/core/repo"
	"github.com/remora-backup/remora/core/staging"
)

// Modes that a server gives to its own files.
const (
	dirMode  = 0o750
	fileMode = 0o640
)

// create makes all directories and files, empty but of their final size. Those that an
// earlier run made are kept; all reports whether every file was there, in that size.
func (t *tree) create(root *os.Root, own staging.Owner) (all bool, err error) {
	for _, dir := range t.dirs {
		if err := makeDir(root, dir, own); err != nil {
			return false, err
		}
	}
	all, err = createRedo(root, t.log, own)
	if err != nil {
		return false, err
	}
	for _, f := range t.files {
		if f.Kind == repo.KindRedo {
			continue
		}
		there, err := createFile(root, f, own)
		if err != nil {
			return false, fmt.Errorf("make %s: %w", f.Path, code.Full(err))
		}
		all = all && there
	}
	return all, nil
}

func makeDir(root *os.Root, name string, own staging.Owner) error {
	err := root.Mkdir(name, dirMode)
	if err == nil {
		err = own.In(root, name)
	} else if errors.Is(err, fs.ErrExist) {
		var info fs.FileInfo
		if info, err = root.Lstat(name); err == nil && !info.IsDir() {
			err = fmt.Errorf("%s is not a directory", name)
		}
	}
	if err != nil {
		return fmt.Errorf("make directory %s: %w", name, code.Full(err))
	}
	return nil
}

// createFile makes a file, or reports that it is there in its size.
func createFile(root *os.Root, f piece, own staging.Owner) (there bool, err error) {
	file, err := root.OpenFile(f.at, os.O_WRONLY|os.O_CREATE|os.O_EXCL, fileMode)
	if errors.Is(err, fs.ErrExist) {
		there = true
		file, err = openRegular(root, f.at)
	}
	if err != nil {
		return false, err
	}
	defer file.Close()
	if err := own.File(file); err != nil {
		return false, err
	}
	same, err := resize(file, f.Size)
	if err != nil {
		return false, err
	}
	return there && same, file.Close()
}

// resize gives a file its size, and reports whether it had it.
func resize(f *os.File, size int64) (same bool, err error) {
	info, err := f.Stat()
	if err != nil || info.Size() == size {
		return err == nil, err
	}
	return false, f.Truncate(size)
}

// openRegular opens a file of ours for writing. What is not a plain file with one name
// was put there by somebody else.
func openRegular(root *os.Root, name string) (*os.File, error) {
	info, err := root.Lstat(name)
	if err != nil {
		return nil, err
	}
	if st, ok := info.Sys().(*syscall.Stat_t); !info.Mode().IsRegular() || !ok || st.Nlink != 1 {
		return nil, code.New(code.Target, "open %s: it is not a plain file", name)
	}
	return root.OpenFile(name, os.O_WRONLY|unix.O_NOFOLLOW, 0)
}

// writer is a file being filled.
type writer interface {
	io.WriterAt
	io.Closer
}

// open returns the writer for a file of the tree.
func (t *tree) open(root *os.Root, f piece) (writer, error) {
	if f.Kind == repo.KindRedo {
		return t.log.Open(root, redoDir)
	}
	file, err := openRegular(root, f.at)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", f.Path, err)
	}
	if f.Sparse {
		return holes{file}, nil
	}
	return file, nil
}

// createRedo makes the files of the redo log with their headers; all reports whether they
// were there, in their size.
func createRedo(root *os.Root, log *redomake.Log, own staging.Owner) (all bool, err error) {
	if err := makeDir(root, redoDir, own); err != nil {
		return false, err
	}
	all, err = log.Create(root, redoDir, own.File)
	return all, code.Full(err)
}
