package copier

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/remora-backup/remora/core/code"
	"github.com/remora-backup/remora/core/innodb/page"
	"github.com/remora-backup/remora/core/innodb/tablespace"
	"github.com/remora-backup/remora/core/repo"
	"github.com/remora-backup/remora/core/syncpoint"
)

const (
	rereads    = 10
	firstPause = 2 * time.Millisecond // before a page is read again; doubled each time
	lastPause  = 100 * time.Millisecond
)

// worker copies units, one after the other.
type worker struct {
	Way
	packer *repo.Packer
	reread *atomic.Int64
	done   func(context.Context, *Copy) error
	again  []byte // second reading of encrypted pages; made when first needed

	verifier *page.Verifier
	size     page.Size
}

func (w *worker) copy(ctx context.Context, u unit) error {
	if w.verifier == nil || w.size != u.c.Pages {
		v, err := page.NewVerifier(u.c.Pages)
		if err != nil {
			return err
		}
		w.verifier, w.size = v, u.c.Pages
	}
	for at := u.from; at < u.to && u.c.Spoiled() == nil; at += ExtentSize {
		if err := syncpoint.At(ctx, syncpoint.CopyExtent); err != nil {
			return err
		}
		if err := w.extent(ctx, u.c, at, int(min(ExtentSize, u.to-at))); err != nil {
			return err
		}
	}
	forget(u.c.file, u.from, u.to-u.from)
	if u.c.undone.Add(-1) > 0 {
		return nil
	}
	return w.done(ctx, u.c)
}

// extent copies n bytes at offset at.
func (w *worker) extent(ctx context.Context, c *Copy, at int64, n int) error {
	keep := w.Kept.memory(n)
	b := keep
	if keep == nil {
		b = w.packer.Room(n)
	}
	seen, err := w.read(ctx, c, b, at)
	if err != nil {
		return err
	}
	if seen.Bad >= 0 {
		number := c.First + uint32(at/int64(w.size.Physical)) + uint32(seen.Bad)
		p := b[seen.Bad*w.size.Physical:]
		c.Spoil(number, code.New(code.CorruptPage, "%s: page %d (LSN %d) is corrupt after %d readings: %w",
			c.Path, number, page.LSN(p[:w.size.Physical]), rereads, seen.Outcome.Err()))
	}
	if c.Spoiled() != nil {
		return nil
	}
	if at == 0 && c.First == 0 {
		c.SealedKey = tablespace.SealedKey(b, w.size)
	}
	e := repo.Extent{File: c.ID, Offset: at, MaxLSN: seen.MaxLSN}
	if keep != nil {
		w.Kept.add(e, keep)
	} else if err := w.packer.Extent(ctx, e, b); err != nil {
		return err
	}
	w.Advance(int64(n))
	return nil
}

// read fills b from offset at and verifies its pages. A page that the server is writing
// can look corrupt; it is read again until it is whole or the patience is at its end.
func (w *worker) read(ctx context.Context, c *Copy, b []byte, at int64) (page.Extent, error) {
	pause := firstPause
	for try := 1; ; try++ {
		if ok, err := c.readAt(b, at); !ok {
			return page.Extent{Bad: -1}, err
		}
		first := c.First + uint32(at/int64(w.size.Physical))
		seen := w.verifier.VerifyExtent(b, first, c.exempt())
		if seen.Bad < 0 && seen.Sealed > 0 {
			if err := w.still(ctx, c, b, at); err != nil {
				return page.Extent{}, err
			}
			seen = w.verifier.VerifyExtent(b, first, c.exempt())
		}
		if seen.Bad < 0 || try == rereads {
			return seen, nil
		}
		w.reread.Add(1)
		forget(c.file, at, int64(len(b))) // read it from the disk
		if err := wait(ctx, pause); err != nil {
			return page.Extent{}, err
		}
		pause = min(2*pause, lastPause)
	}
}

// still makes sure that no encrypted page in b was read while it was being written: that
// does not show in it. What two readings with a pause between them agree on was at rest.
func (w *worker) still(ctx context.Context, c *Copy, b []byte, at int64) error {
	if w.again == nil {
		w.again = make([]byte, ExtentSize)
	}
	again := w.again[:len(b)]
	for range rereads {
		forget(c.file, at, int64(len(b)))
		if err := wait(ctx, firstPause); err != nil {
			return err
		}
		if ok, err := c.readAt(again, at); !ok {
			return err
		}
		moved := false
		for i := 0; i+w.size.Physical <= len(b); i += w.size.Physical {
			p, q := b[i:i+w.size.Physical], again[i:i+w.size.Physical]
			if encrypted(p) || encrypted(q) {
				moved = moved || !bytes.Equal(p, q)
				copy(p, q)
			}
		}
		if !moved {
			return nil
		}
		w.reread.Add(1)
	}
	c.Spoil(c.First+uint32(at/int64(w.size.Physical)), code.New(code.CorruptPage,
		"%s: an encrypted page in the MiB at %d was never the same in two of %d readings", c.Path, at, rereads))
	return nil
}

func encrypted(p []byte) bool {
	h, err := page.ParseHeader(p)
	return err == nil && h.Type.Encrypted()
}

// readAt reports whether b could be filled. A file that is shorter than it was spoils the
// copy.
func (c *Copy) readAt(b []byte, at int64) (bool, error) {
	n, err := c.file.ReadAt(b, at)
	if errors.Is(err, io.EOF) {
		c.Spoil(c.First+uint32((at+int64(n))/int64(c.Pages.Physical)), code.New(code.CorruptPage,
			"%s became shorter while it was copied: %d of %d bytes at %d", c.Path, n, len(b), at))
		return false, nil
	}
	return err == nil, err
}

// forget makes the kernel drop its copy of what is not changed in it; advice only.
func forget(f *os.File, at, n int64) { _ = unix.Fadvise(int(f.Fd()), at, n, unix.FADV_DONTNEED) }

func wait(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
