package fs

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const tempMark = "+"

// create makes and locks a temporary file in dir, which is made too. Somebody else may
// at the same time remove the empty directory, or take the file for a leftover before
// it is locked: then it is done again.
func (s *Storage) create(dir string) (*os.File, string, error) {
	var last error
	for range 100 {
		if err := s.makeDirs(dir); errors.Is(err, fs.ErrNotExist) {
			last = err
			continue
		} else if err != nil {
			return nil, "", err
		}
		temp := path.Join(dir, fmt.Sprintf("tmp%s%d-%d", tempMark, os.Getpid(), s.temps.Add(1)))
		f, err := s.root.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if err != nil {
			if last = err; errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrExist) {
				continue
			}
			return nil, "", err
		}
		if last = lockNew(f); last == nil {
			if err := s.give(f); err != nil {
				_ = s.root.Remove(temp) // err is the cause; a sweep gets what is left
				_ = f.Close()
				return nil, "", err
			}
			return f, temp, nil
		}
		_ = f.Close()
	}
	return nil, "", last
}

// lockNew locks a file that was just made and checks that it still has its name.
func lockNew(f *os.File) error {
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return fmt.Errorf("lock: %w", err)
	}
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if st, ok := info.Sys().(*syscall.Stat_t); ok && st.Nlink == 0 {
		return fs.ErrNotExist
	}
	return nil
}

// makeDirs makes dir durable: each entry is synced in its parent, also one that is there
// already, as whoever made it may not have come so far.
func (s *Storage) makeDirs(dir string) error {
	s.making.Lock()
	defer s.making.Unlock()
	return s.makeDirsLocked(dir)
}

func (s *Storage) makeDirsLocked(dir string) error {
	if dir == "." || s.synced[dir] != 0 && s.synced[dir] == s.inode(dir) {
		return nil
	}
	if err := s.makeDirsLocked(path.Dir(dir)); err != nil {
		return err
	}
	err := s.root.Mkdir(dir, 0o700)
	if err == nil {
		err = s.giveDir(dir)
	}
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	made := s.inode(dir)
	if err := s.syncDir(path.Dir(dir)); err != nil {
		return err
	}
	s.synced[dir] = made
	return nil
}

// inode is the number of a directory, 0 if there is none.
func (s *Storage) inode(dir string) uint64 {
	info, err := s.root.Lstat(dir)
	if err != nil || !info.IsDir() {
		return 0
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0
	}
	return st.Ino
}

// prune removes dir and what is above it as far as they are empty. Whoever is about to put
// something there makes them again; see create.
func (s *Storage) prune(dir string) {
	for ; dir != "."; dir = path.Dir(dir) {
		above, err := s.root.Open(path.Dir(dir))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		} else if err != nil {
			return
		}
		// Not root.Remove, which would remove an object that has the directory's name by now.
		err = unix.Unlinkat(int(above.Fd()), path.Base(dir), unix.AT_REMOVEDIR)
		_ = above.Close()
		if err != nil && err != unix.ENOENT {
			return
		}
	}
}

func (s *Storage) syncDir(dir string) error {
	d, err := s.root.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// sweepWithin bounds a sweep: every writer begins with one, and must begin soon even on
// slow storage with many objects. What is not reached is left to the next.
const sweepWithin = 2 * time.Second

// sweep removes temporary files whose writer is gone. What cannot be removed costs room and
// nothing else, so it is no reason to fail.
func (s *Storage) sweep() {
	until := time.Now().Add(sweepWithin)
	_ = fs.WalkDir(s.root.FS(), ".", func(name string, e fs.DirEntry, err error) error {
		if time.Now().After(until) {
			return fs.SkipAll
		}
		if err == nil && e.Type().IsRegular() && strings.HasPrefix(e.Name(), "tmp"+tempMark) {
			s.removeLeftover(name)
		}
		return nil
	})
}

func (s *Storage) removeLeftover(name string) {
	f, err := s.openFile(name)
	if err != nil {
		return
	}
	defer f.Close()
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return // its writer lives
	}
	_ = s.root.Remove(name)
}
