package fs

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/remora-backup/remora/core/plug"
)

// ready opens the storage directory, which only writing makes: a directory that is not
// there when somebody wants to read is most often one that is not mounted. The first write
// also removes what crashed writers left.
func (s *Storage) ready(write bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.root == nil {
		if write {
			if err := makeRoot(s.path, syncPath); err != nil {
				return known(fmt.Errorf("make the storage directory: %w", err))
			}
		}
		info, err := os.Stat(s.path)
		if errors.Is(err, syscall.ENOTDIR) || err == nil && !info.IsDir() {
			return fmt.Errorf("the storage directory %s is not a directory: %w", s.path, plug.ErrInvalid)
		}
		if errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("the storage directory %s does not exist, or is not mounted: %w", s.path, plug.ErrNotExist)
		}
		var root *os.Root
		if err == nil {
			root, err = os.OpenRoot(s.path)
		}
		if err != nil {
			return known(fmt.Errorf("open the storage directory: %w", err))
		}
		s.root = root
	}
	if write && !s.swept {
		s.swept = true
		s.sweep()
	}
	return nil
}

// makeRoot makes dir and what is missing above it durable: each new entry is synced in its
// parent.
func makeRoot(dir string, sync func(dir string) error) error {
	if _, err := os.Stat(dir); err == nil {
		return nil // if it is no directory, who opens it says so
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	above := path.Dir(dir)
	if err := makeRoot(above, sync); err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	parent, err := os.Open(above)
	if err != nil {
		return err
	}
	defer parent.Close()
	made, err := os.OpenFile(dir, madeDir, 0)
	if err != nil {
		return err
	}
	defer made.Close()
	if err := giveTo(parent, made); err != nil {
		return err
	}
	return sync(above)
}

// giveTo gives what root just made to the owner of where it is: one backup taken as root
// must not shut a repository's user out. f is open, so that nothing else can be in its
// place, and only what is root's is given.
func giveTo(owner, f *os.File) error {
	if os.Geteuid() != 0 {
		return nil
	}
	var to, have unix.Stat_t
	if err := unix.Fstat(int(owner.Fd()), &to); err != nil {
		return fmt.Errorf("look at the owner of %s: %w", owner.Name(), err)
	}
	if err := unix.Fstat(int(f.Fd()), &have); err != nil {
		return fmt.Errorf("look at the owner of %s: %w", f.Name(), err)
	}
	if have.Uid != 0 || to.Uid == 0 || have.Mode&unix.S_IFMT != unix.S_IFDIR && have.Nlink != 1 {
		return nil
	}
	if err := f.Chown(int(to.Uid), int(to.Gid)); err != nil {
		return fmt.Errorf("give to user %d: %w", to.Uid, err)
	}
	return nil
}

// madeDir opens a directory that was just made, and nothing that took its place.
const madeDir = os.O_RDONLY | unix.O_DIRECTORY | unix.O_NOFOLLOW

func (s *Storage) giveDir(dir string) error {
	d, err := s.root.OpenFile(dir, madeDir, 0)
	if err != nil {
		return err
	}
	defer d.Close()
	return s.give(d)
}

// give gives what was made in the storage to the owner of its directory.
func (s *Storage) give(f *os.File) error {
	if os.Geteuid() != 0 {
		return nil
	}
	top, err := s.root.Open(".")
	if err != nil {
		return err
	}
	defer top.Close()
	return giveTo(top, f)
}

func syncPath(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// explain gives a system error of an access to name the identity that callers look for,
// and what people need to know of a refusal: whose it is.
func (s *Storage) explain(name string, err error) error {
	if err = known(err); !errors.Is(err, plug.ErrPermission) || s.root == nil {
		return err
	}
	for ; ; name = path.Dir(name) {
		info, lerr := s.root.Lstat(name)
		if lerr == nil {
			st, ok := info.Sys().(*syscall.Stat_t)
			if !ok || int(st.Uid) == os.Geteuid() {
				return err
			}
			return fmt.Errorf("%w (%s belongs to user %d, this is user %d)", err, path.Join(s.path, name), st.Uid, os.Geteuid())
		}
		if name == "." {
			return err
		}
	}
}

// known gives a system error the identity that callers look for.
func known(err error) error {
	switch {
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return fmt.Errorf("%w: %w", plug.ErrNoSpace, err)
	case errors.Is(err, syscall.EROFS):
		return fmt.Errorf("%w: %w", plug.ErrPermission, err)
	case errors.Is(err, syscall.ENOTDIR):
		// A part of the name before a '/' is an object: nothing can be below it.
		return fmt.Errorf("%w: %w", plug.ErrNotExist, err)
	case errors.Is(err, syscall.EISDIR), errors.Is(err, syscall.ENAMETOOLONG):
		return fmt.Errorf("%w: %w", plug.ErrInvalid, err)
	}
	return err
}
