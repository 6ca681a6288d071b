package staging

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"

	"github.com/remora-backup/remora/core/code"
	"github.com/remora-backup/remora/core/syncpoint"
)

// mover renames entries of one directory into another, never over something.
type mover struct{ from, to *os.File }

func newMover(from, to *os.Root) (m mover, err error) {
	if m.from, err = from.Open("."); err != nil {
		return m, err
	}
	if m.to, err = to.Open("."); err != nil {
		m.from.Close()
		return m, err
	}
	return m, nil
}

func (m mover) Close() {
	m.from.Close()
	m.to.Close()
}

func (m mover) sync() error { return errors.Join(m.to.Sync(), m.from.Sync()) }

// step moves one entry, unless the run is stopped before.
func (m mover) step(ctx context.Context, p syncpoint.Point, name, as string) error {
	if err := syncpoint.Between(ctx, p); err != nil {
		return err
	}
	if err := m.move(name, as); err != nil {
		return fmt.Errorf("publish %s: %w", as, err)
	}
	return nil
}

// move renames name to as in the other directory. One that was moved by an earlier run is
// not there any more.
func (m mover) move(name, as string) error {
	err := unix.Renameat2(int(m.from.Fd()), name, int(m.to.Fd()), as, unix.RENAME_NOREPLACE)
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSYS) { // this file system cannot
		err = m.moveChecked(name, as)
	}
	switch {
	case errors.Is(err, unix.ENOENT) && m.exists(as):
		return nil
	case errors.Is(err, unix.EEXIST):
		return code.New(code.Target, "something of that name appeared in the target: %w", err)
	}
	return err
}

func (m mover) moveChecked(name, as string) error {
	if _, err := stat(m.from, name); err != nil {
		return err
	}
	if m.exists(as) {
		return unix.EEXIST
	}
	return unix.Renameat(int(m.from.Fd()), name, int(m.to.Fd()), as)
}

func (m mover) exists(name string) bool {
	_, err := stat(m.to, name)
	return err == nil
}

func stat(dir *os.File, name string) (st unix.Stat_t, err error) {
	err = unix.Fstatat(int(dir.Fd()), name, &st, unix.AT_SYMLINK_NOFOLLOW)
	return st, err
}

// rename renames within the first directory, if that was not done before.
func (m mover) rename(from *os.Root, name, as string) error {
	err := from.Rename(name, as)
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return errors.Join(err, m.from.Sync())
}
