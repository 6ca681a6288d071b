// Package copier reads files that a server is changing, until every page of them is whole.
package copier

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/remora-backup/remora/core/code"
	"github.com/remora-backup/remora/core/datadir"
	"github.com/remora-backup/remora/core/innodb/page"
	"github.com/remora-backup/remora/core/innodb/redo"
	"github.com/remora-backup/remora/core/repo"
	"github.com/remora-backup/remora/core/syncpoint"
)

// Copier copies the files of tablespaces while the server changes them, several at once.
// Each worker has a packer of its own, so that workers never wait for each other.
type Copier struct {
	Dir     *datadir.Dir
	NewFile func() repo.FileID
	Packers []*repo.Packer  // nobody else's while Copy runs
	Parsed  func() redo.LSN // up to where all redo was parsed
	Done    func(*Copy)     // told of each copy that was made, on its worker

	Reread atomic.Int64 // extents that were torn at first
}

// Copy copies the files. A page that stays bad spoils its copy only; what that means is
// decided when it is known what became of the tablespace.
func (c *Copier) Copy(ctx context.Context, todo []Job, way Way) error {
	group, ctx := errgroup.WithContext(ctx)
	units := make(chan unit)
	group.Go(func() error {
		defer close(units)
		for _, e := range todo {
			if err := c.open(ctx, e, units); err != nil {
				return fmt.Errorf("copy %s: %w", e.Path, err)
			}
		}
		return nil
	})
	for _, p := range c.Packers[:min(len(c.Packers), len(todo))] {
		group.Go(func() error {
			w := worker{Way: way, packer: p, reread: &c.Reread, done: c.done}
			for u := range units {
				if err := w.copy(ctx, u); err != nil {
					return fmt.Errorf("copy %s: %w", u.c.Path, err)
				}
			}
			return nil
		})
	}
	return group.Wait()
}

// open begins the copy of one file and hands out its units. A file that is gone, or
// another one by now, is left to the next look; so is one that is damaged, or only half
// there to be imported.
func (c *Copier) open(ctx context.Context, e Job, units chan<- unit) error {
	if err := syncpoint.At(ctx, syncpoint.CopyOpen); err != nil {
		return err
	}
	begun := c.Parsed()
	file, err := c.Dir.Open(e.Path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return datadir.Unreadable(err)
	}
	now, err := c.Dir.Identify(file, e.Place)
	if errors.Is(err, datadir.ErrAway) || code.Of(err) == code.CorruptPage {
		c.Dir.Forget(e.Place)
		return file.Close()
	}
	st, serr := file.Stat()
	if err = errors.Join(err, serr); err != nil {
		file.Close()
		return err
	}
	cp := &Copy{File: now, Why: e.Why, file: file, ID: c.NewFile(), Begun: begun, Thin: thin(st)}
	count := max(1, (cp.Size+unitSize-1)/unitSize)
	cp.undone.Store(int32(count))
	for i := range count {
		select {
		case units <- unit{cp, i * unitSize, min((i+1)*unitSize, cp.Size)}:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

// done records the copy when its last unit is done. A file that has become another
// tablespace's meanwhile, which an import does, is no copy.
func (c *Copier) done(ctx context.Context, cp *Copy) error {
	_, err := c.Dir.Identify(cp.file, cp.Place)
	if cerr := cp.file.Close(); err == nil {
		err = cerr
	}
	if errors.Is(err, datadir.ErrAway) {
		return nil
	}
	if err != nil && cp.Spoiled() == nil {
		cp.Spoil(0, err)
	}
	c.Done(cp)
	return syncpoint.At(ctx, syncpoint.CopyFileDone)
}

// StillBad reads the page that spoiled the copy again, and reports whether it is corrupt.
func (c *Copier) StillBad(cp *Copy) (bool, error) {
	file, err := c.Dir.Open(cp.Path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, datadir.Unreadable(err)
	}
	defer file.Close()
	if _, err := c.Dir.Identify(file, cp.Place); err != nil {
		return !errors.Is(err, datadir.ErrAway), nil
	}
	v, err := page.NewVerifier(cp.Pages)
	if err != nil {
		return false, err
	}
	b := make([]byte, cp.Pages.Physical)
	if _, err := file.ReadAt(b, int64(cp.page-cp.First)*int64(len(b))); errors.Is(err, io.EOF) {
		return true, nil
	} else if err != nil {
		return false, err
	}
	return v.Verify(b, cp.page).Corrupt(), nil
}
