package restore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/remora-backup/remora/core/code"
	"github.com/remora-backup/remora/core/syncpoint"
)

// dictionary is the file without which no server starts, and which none makes anew. Moved
// last, it is what makes the target a data directory.
const dictionary = "mysql.ibd"

// hidden is its name while the other entries are moved: a server looks for tablespaces in
// all directories below its data, also in the staging directory.
const hidden = dictionary + ".unpublished"

// publish moves the entries of data/ to the target. It can be repeated after a crash.
// begin is called before the first of them moves, commit when nothing can go back any more.
func (s *unfinished) publish(ctx context.Context, begin func() error, commit func()) error {
	if s.published() {
		commit()
		return nil
	}
	if err := s.beginPublishing(); err != nil {
		return err
	}
	if err := begin(); err != nil {
		return err
	}
	from, err := s.dir.OpenRoot(dataName)
	if err != nil {
		return fmt.Errorf("open the data: %w", err)
	}
	defer from.Close()
	m, err := newMover(from, s.target)
	if err != nil {
		return fmt.Errorf("publish the data: %w", err)
	}
	defer m.Close()
	if err := m.rename(from, dictionary, hidden); err != nil {
		return fmt.Errorf("publish the data: %w", err)
	}
	if err := at(ctx, syncpoint.PublishHidden); err != nil {
		return err
	}
	for _, name := range s.state.Entries {
		if name == dictionary {
			continue
		}
		if err := m.publish(ctx, syncpoint.PublishEntry, name, name); err != nil {
			return err
		}
	}
	if err := m.sync(); err != nil {
		return fmt.Errorf("publish the data: %w", err)
	}
	if err := at(ctx, syncpoint.PublishEntriesSynced); err != nil {
		return err
	}
	if err := m.publish(ctx, syncpoint.PublishRename, hidden, dictionary); err != nil {
		return err
	}
	_ = syncpoint.At(ctx, syncpoint.PublishRenamed) // a server can start from here on
	if err := m.sync(); err != nil {
		return fmt.Errorf("publish the data: %w", err)
	}
	commit()
	return nil
}

// published reports whether an earlier run had all in place and ended while it tidied up:
// only then data/ goes.
func (s *unfinished) published() bool {
	_, gone := s.dir.Lstat(dataName)
	_, there := s.target.Lstat(dictionary)
	return s.state.Stage == publishing && errors.Is(gone, fs.ErrNotExist) && there == nil
}

// at is a point where an interruption is looked for as well: nothing else here waits.
func at(ctx context.Context, p syncpoint.Point) error {
	if err := syncpoint.At(ctx, p); err != nil {
		return err
	}
	return context.Cause(ctx)
}

// beginPublishing writes down what will be moved, unless an earlier run did.
func (s *unfinished) beginPublishing() error {
	again, err := inspect(s.path)
	if err != nil {
		return err
	}
	if err := again.accept(s.state); err != nil { // did anybody put something there meanwhile?
		return err
	}
	if s.state.Stage == publishing {
		return nil
	}
	names, err := s.entries()
	if err != nil {
		return fmt.Errorf("read the data: %w", err)
	}
	at := slices.Index(names, dictionary)
	if at < 0 {
		return code.New(code.Integrity, "publish the data: %s is gone", dictionary)
	}
	names = append(slices.Delete(names, at, at+1), dictionary)
	return s.enter(publishing, names...)
}

// entries lists data/.
func (s *unfinished) entries() ([]string, error) {
	list, err := fs.ReadDir(s.dir.FS(), dataName)
	var names []string
	for _, e := range list {
		names = append(names, e.Name())
	}
	return names, err
}

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

// publish moves one entry, unless the run is stopped before.
func (m mover) publish(ctx context.Context, p syncpoint.Point, name, as string) error {
	if err := at(ctx, p); err != nil {
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
