package backup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/remora-backup/remora/core/code"
	"github.com/remora-backup/remora/core/innodb/page"
	"github.com/remora-backup/remora/core/innodb/redo"
	"github.com/remora-backup/remora/core/innodb/tablespace"
	"github.com/remora-backup/remora/core/repo"
	"github.com/remora-backup/remora/core/run"
	"github.com/remora-backup/remora/core/syncpoint"
)

const (
	extentSize = 1 << 20 // bytes; a whole number of pages of any size
	unitSize   = 64 << 20
	rereads    = 10
	firstPause = 2 * time.Millisecond // before a page is read again; doubled each time
	lastPause  = 100 * time.Millisecond
)

// copier copies tablespaces into the backup, several at once. Each worker has its own
// packer, so that workers never wait for each other.
type copier struct {
	dir     *directory
	tracker *tracker
	backup  *repo.Backup
	packers []*repo.Packer
	begun   func() redo.LSN // redo parsed so far
	reread  atomic.Int64    // pages that were torn at first
	again   atomic.Int64    // tablespaces that were copied again
	copied  atomic.Int64    // bytes
}

// copying is a tablespace file that is being copied.
type copying struct {
	entry
	file  *os.File
	id    repo.FileID
	size  int64 // bytes, when it was opened; what is added later comes with the redo
	begun redo.LSN
	thin  bool // has holes

	left atomic.Int32 // units not done
	mu   sync.Mutex
	bad  error
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
	for _, p := range c.packers {
		group.Go(func() error {
			w := worker{copier: c, packer: p, buf: make([]byte, extentSize), task: t}
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
// another one by now, is left to the next look at the directory.
func (c *copier) open(ctx context.Context, e entry, units chan<- unit) error {
	if err := syncpoint.At(ctx, syncpoint.CopyOpen); err != nil {
		return err
	}
	begun := c.begun()
	file, err := os.Open(filepath.Join(c.dir.root, filepath.FromSlash(e.path)))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	now, err := c.dir.readEntry(file, e.path, e.kind)
	if err == nil && now.key() != e.key() || errors.Is(err, errBlank) {
		file.Close()
		c.tracker.touch(e.path)
		return nil
	}
	st, serr := file.Stat()
	if err = errors.Join(err, serr); err != nil {
		file.Close()
		return err
	}
	cp := &copying{entry: now, file: file, id: c.backup.NewFile(), size: st.Size(), begun: begun, thin: thin(st)}
	count := max(1, (cp.size+unitSize-1)/unitSize)
	cp.left.Store(int32(count))
	for i := range count {
		select {
		case units <- unit{cp, i * unitSize, min((i+1)*unitSize, cp.size)}:
		case <-ctx.Done():
			file.Close()
			return context.Cause(ctx)
		}
	}
	return nil
}

// worker copies units, one after the other.
type worker struct {
	*copier
	packer *repo.Packer
	task   *run.Task
	buf    []byte

	verifier *page.Verifier
	size     page.Size
}

func (w *worker) copy(ctx context.Context, u unit) error {
	if w.verifier == nil || w.size != u.c.pages {
		v, err := page.NewVerifier(u.c.pages)
		if err != nil {
			return err
		}
		w.verifier, w.size = v, u.c.pages
	}
	for at := u.from; at < u.to && u.c.spoiled() == nil; at += extentSize {
		if err := syncpoint.At(ctx, syncpoint.CopyExtent); err != nil {
			return err
		}
		if err := w.extent(ctx, u.c, at, int(min(extentSize, u.to-at))); err != nil {
			return err
		}
	}
	_ = unix.Fadvise(int(u.c.file.Fd()), u.from, u.to-u.from, unix.FADV_DONTNEED) // advice only
	if u.c.left.Add(-1) > 0 {
		return nil
	}
	return w.finish(ctx, u.c)
}

// extent copies n bytes at offset at.
func (w *worker) extent(ctx context.Context, c *copying, at int64, n int) error {
	b := w.buf[:n]
	seen, err := w.read(ctx, c, b, at)
	if err != nil {
		return err
	}
	if seen.Bad >= 0 {
		number := at/int64(w.size.Physical) + int64(seen.Bad)
		p := b[seen.Bad*w.size.Physical:]
		c.spoil(code.New(code.CorruptPage, "%s: page %d (LSN %d) is corrupt after %d readings: %w",
			c.path, number, page.LSN(p[:w.size.Physical]), rereads, seen.Outcome.Err()))
		return nil
	}
	if c.spoiled() != nil {
		return nil
	}
	e := repo.Extent{File: c.id, Offset: at, MaxLSN: seen.MaxLSN}
	if err := w.packer.Extent(ctx, e, b); err != nil {
		return err
	}
	w.copied.Add(int64(n))
	w.task.Advance(int64(n))
	return nil
}

// read fills b from offset at and verifies its pages. A page that the server is writing
// can look corrupt; it is read again until it is whole or the patience is at its end.
func (w *worker) read(ctx context.Context, c *copying, b []byte, at int64) (page.Extent, error) {
	pause := firstPause
	for try := 1; ; try++ {
		switch n, err := c.file.ReadAt(b, at); {
		case errors.Is(err, io.EOF):
			c.spoil(code.New(code.CorruptPage, "%s became shorter while it was copied: %d of %d bytes at %d", c.path, n, len(b), at))
			return page.Extent{Bad: -1}, nil
		case err != nil:
			return page.Extent{}, err
		}
		first := uint32(at / int64(w.size.Physical))
		seen := w.verifier.VerifyExtent(b, first, c.exempt())
		if seen.Bad < 0 || try == rereads {
			return seen, nil
		}
		w.reread.Add(1)
		_ = unix.Fadvise(int(c.file.Fd()), at, int64(len(b)), unix.FADV_DONTNEED) // read it from the disk
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return page.Extent{}, context.Cause(ctx)
		}
		pause = min(2*pause, lastPause)
	}
}

// exempt says which pages are no pages: the old doublewrite area of the system tablespace.
func (c *copying) exempt() func(uint32) bool {
	if c.kind != tablespace.SystemFile || c.part > 0 {
		return nil
	}
	return c.pages.InDoublewrite
}

// finish records the copy when its last unit is done.
func (w *worker) finish(ctx context.Context, c *copying) error {
	if err := c.file.Close(); err != nil {
		return err
	}
	if w.tracker.copied(c) {
		w.again.Add(1)
	}
	return syncpoint.At(ctx, syncpoint.CopyFileDone)
}

func (c *copying) spoil(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.bad == nil {
		c.bad = err
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
