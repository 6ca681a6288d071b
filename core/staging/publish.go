package staging

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"github.com/remora-backup/remora/core/code"
	"github.com/remora-backup/remora/core/syncpoint"
)

// Publish moves the entries of data/ to the target. It can be repeated after a crash.
// begin is called before the first of them moves, commit when nothing can go back any more.
func (s *Dir) Publish(ctx context.Context, begin func() error, commit func()) error {
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
	from, err := s.dir.OpenRoot(Data)
	if err != nil {
		return fmt.Errorf("open the data: %w", err)
	}
	defer from.Close()
	m, err := newMover(from, s.target)
	if err != nil {
		return fmt.Errorf("publish the data: %w", err)
	}
	defer m.Close()
	if err := m.rename(from, Dictionary, hidden); err != nil {
		return fmt.Errorf("publish the data: %w", err)
	}
	if err := syncpoint.Between(ctx, syncpoint.PublishHidden); err != nil {
		return err
	}
	for _, name := range s.state.Entries {
		if name == Dictionary {
			continue
		}
		if err := m.step(ctx, syncpoint.PublishEntry, name, name); err != nil {
			return err
		}
	}
	if err := m.sync(); err != nil {
		return fmt.Errorf("publish the data: %w", err)
	}
	if err := syncpoint.Between(ctx, syncpoint.PublishEntriesSynced); err != nil {
		return err
	}
	if err := m.step(ctx, syncpoint.PublishRename, hidden, Dictionary); err != nil {
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
func (s *Dir) published() bool {
	_, gone := s.dir.Lstat(Data)
	_, there := s.target.Lstat(Dictionary)
	return s.state.Stage == Publishing && errors.Is(gone, fs.ErrNotExist) && there == nil
}

// beginPublishing writes down what will be moved, unless an earlier run did.
func (s *Dir) beginPublishing() error {
	again, err := Look(s.path)
	if err != nil {
		return err
	}
	if err := again.Accept(s.state); err != nil { // did anybody put something there meanwhile?
		return err
	}
	if s.state.Stage == Publishing {
		return nil
	}
	names, err := s.Entries()
	if err != nil {
		return fmt.Errorf("read the data: %w", err)
	}
	at := slices.Index(names, Dictionary)
	if at < 0 {
		return code.New(code.Integrity, "publish the data: %s is gone", Dictionary)
	}
	names = append(slices.Delete(names, at, at+1), Dictionary)
	return s.enter(Publishing, names)
}

// Entries lists data/.
func (s *Dir) Entries() ([]string, error) {
	list, err := fs.ReadDir(s.dir.FS(), Data)
	var names []string
	for _, e := range list {
		names = append(names, e.Name())
	}
	return names, err
}
