package backup

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
	"sync/atomic"
	"syscall"

	"golang.org/x/sync/errgroup"

	"github.com/remora-backup/remora/core/code"
	"github.com/remora-backup/remora/core/innodb/redo"
	"github.com/remora-backup/remora/core/innodb/tablespace"
	"github.com/remora-backup/remora/core/repo"
	"github.com/remora-backup/remora/core/run"
	"github.com/remora-backup/remora/core/syncpoint"
)

const (
	extentSize = 1 << 20 // bytes; a whole number of pages of any size
	unitSize   = 64 << 20
)

// copier copies tablespaces into the backup, several at once. Each worker has its own
// packer, so that workers never wait for each other.
type copier struct {
	dir     *directory
	tracker *tracker
	backup  *repo.Backup
	packers []*repo.Packer
	begun   func() redo.LSN // redo parsed so far
	reread  atomic.Int64    // extents that were torn at first
	again   atomic.Int64    // tablespaces that were copied again
	kept    kept            // what is read while the server is locked
}

// copying is a tablespace file that is being copied, or was.
type copying struct {
	entry // size: when it was opened; what is added later comes with the redo
	file  *os.File
	id    repo.FileID
	begun redo.LSN
	thin  bool // has holes
	stale bool // guarded by the tracker

	left atomic.Int32 // units not done
	mu   sync.Mutex
	bad  error
	page uint32 // which spoiled it
}

type unit struct {
	c        *copying
	from, to int64
}

// all copies the entries. A page that stays bad spoils its copy only; what that means is
// decided when it is known what became of the tablespace.
func (c *copier) all(ctx context.Context, t *run.Task, todo []entry) error {
	group, ctx := errgroup.WithContext(ctx)
	units := make(chan unit)
	group.Go(func() error {
		defer close(units)
		for _, e := range todo {
			if err := c.open(ctx, e, units); err != nil {
				return fmt.Errorf("copy %s: %w", e.path, err)
			}
		}
		return nil
	})
	for _, p := range c.packers[:min(len(c.packers), len(todo))] {
		group.Go(func() error {
			w := worker{copier: c, packer: p, task: t}
			for u := range units {
				if err := w.copy(ctx, u); err != nil {
					return fmt.Errorf("copy %s: %w", u.c.path, err)
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
func (c *copier) open(ctx context.Context, e entry, units chan<- unit) error {
	if err := syncpoint.At(ctx, syncpoint.CopyOpen); err != nil {
		return err
	}
	begun := c.begun()
	file, err := os.Open(c.dir.full(e.path))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return unreadable(err)
	}
	now, err := c.dir.read(file, e.place)
	if errors.Is(err, errAway) || code.Of(err) == code.CorruptPage {
		delete(c.dir.known, e.path)
		return file.Close()
	}
	st, serr := file.Stat()
	if err = errors.Join(err, serr); err != nil {
		file.Close()
		return err
	}
	now.why = e.why
	cp := &copying{entry: now, file: file, id: c.backup.NewFile(), begun: begun, thin: thin(st)}
	count := max(1, (cp.size+unitSize-1)/unitSize)
	cp.left.Store(int32(count))
	for i := range count {
		select {
		case units <- unit{cp, i * unitSize, min((i+1)*unitSize, cp.size)}:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

// done records the copy when its last unit is done. A file that has become another
// tablespace's meanwhile, which an import does, is no copy.
func (c *copier) done(ctx context.Context, cp *copying) error {
	_, err := c.dir.read(cp.file, cp.place)
	if cerr := cp.file.Close(); err == nil {
		err = cerr
	}
	if errors.Is(err, errAway) {
		return nil
	}
	if err != nil && cp.spoiled() == nil {
		cp.spoil(0, err)
	}
	if c.tracker.copied(cp) {
		c.again.Add(1)
	}
	return syncpoint.At(ctx, syncpoint.CopyFileDone)
}

// exempt says which pages are no pages: the old doublewrite area of the system tablespace.
func (c *copying) exempt() func(uint32) bool {
	if c.space != tablespace.System {
		return nil
	}
	return c.pages.InDoublewrite
}

func (c *copying) spoil(page uint32, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.bad == nil {
		c.bad, c.page = err, page
	}
}

func (c *copying) spoiled() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.bad
}

// thin reports whether the file has holes, as transparent page compression leaves them.
func thin(st fs.FileInfo) bool {
	s, ok := st.Sys().(*syscall.Stat_t)
	return ok && s.Blocks*512 < s.Size
}
