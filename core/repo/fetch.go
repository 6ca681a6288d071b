package repo

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"

	"github.com/klauspost/compress/zstd"
	"golang.org/x/sync/errgroup"

	"github.com/remora-backup/remora/core/code"
	"github.com/remora-backup/remora/core/syncpoint"
)

// FetchOptions say what Fetch reads. The functions may be called concurrently.
type FetchOptions struct {
	// Parallel is how many packs are read at once; default 2. Each needs about 3 times
	// MaxExtent of memory.
	Parallel int
	// Want, if not nil, chooses the files.
	Want func(File) bool
	// Skip, if not nil, leaves out groups that an earlier Fetch of the same backup told
	// by Done. Groups are numbered from 0.
	Skip func(group int) bool
	// Done, if not nil, is told after all extents of a group were handed over.
	Done func(ctx context.Context, group int) error
	// Again, if not nil, lets bytes that are not the stored ones be read a second time, and is
	// told what was wrong with them when that helped.
	Again func(err error)
}

// Fetch reads the backup's packs, each one once and in order, and hands over every extent
// of the files: fn gets the file, the extent, and its bytes, proven, which it may use until
// it returns; no bytes if the extent is Zero. fn is called by several goroutines at once.
// The first error ends the fetch; damage is code.Integrity naming the object.
//
// Call Check first: only that proves that the extents cover the files.
func (b *Reader) Fetch(ctx context.Context, opt FetchOptions, fn func(ctx context.Context, f File, e Extent, data []byte) error) error {
	want := func(e *entry) (File, bool) {
		at, found := findFile(b.files, e.File)
		if !found || opt.Want != nil && !opt.Want(b.files[at]) {
			return File{}, false
		}
		return b.files[at], true
	}
	return b.fetch(ctx, opt, want, fn)
}

// Verify reads and checks every stored byte of the backup, also those that a restore does
// not need.
func (b *Reader) Verify(ctx context.Context, parallel int) error {
	if err := b.Check(ctx); err != nil {
		return err
	}
	all := func(*entry) (File, bool) { return File{}, true }
	return b.fetch(ctx, FetchOptions{Parallel: parallel}, all, func(context.Context, File, Extent, []byte) error { return nil })
}

func (b *Reader) fetch(ctx context.Context, opt FetchOptions, want func(*entry) (File, bool), fn fetchFunc) error {
	if opt.Parallel < 1 {
		opt.Parallel = 2
	}
	g, ctx := errgroup.WithContext(ctx)
	work := make(chan group)
	for range opt.Parallel {
		g.Go(func() error {
			w, err := newFetcher(b, want, fn)
			if err != nil {
				return err
			}
			defer w.dec.Close()
			w.again = opt.Again
			for gr := range work {
				if err := w.group(ctx, &gr, opt.Done); err != nil {
					return err
				}
			}
			return nil
		})
	}
	g.Go(func() error {
		defer close(work)
		for gr, err := range b.groups(ctx) {
			if err != nil {
				return err
			}
			if opt.Skip != nil && opt.Skip(gr.number) {
				continue
			}
			select {
			case work <- gr:
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
		return nil
	})
	return g.Wait()
}

type fetchFunc = func(ctx context.Context, f File, e Extent, data []byte) error

// fetcher reads groups, one after the other.
type fetcher struct {
	b      *Reader
	want   func(*entry) (File, bool)
	fn     fetchFunc
	again  func(error)
	dec    *zstd.Decoder
	stored []byte
	plain  []byte
}

func newFetcher(b *Reader, want func(*entry) (File, bool), fn fetchFunc) (*fetcher, error) {
	// With the limit a frame cannot grow beyond the length it is declared with.
	dec, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecodeAllCapLimit(true),
		zstd.WithDecoderMaxWindow(maxWindow))
	if err != nil {
		return nil, fmt.Errorf("start decompression: %w", err)
	}
	return &fetcher{b: b, want: want, fn: fn, dec: dec}, nil
}

// maxGap is how many bytes that are not wanted are read over to reach wanted ones.
const maxGap = 512 << 10

func (w *fetcher) group(ctx context.Context, g *group, done func(context.Context, int) error) error {
	if err := syncpoint.At(ctx, syncpoint.FetchPack); err != nil {
		return err
	}
	for rest := g.entries; len(rest) > 0; {
		var run []entry
		if run, rest = w.run(rest); len(run) > 0 {
			if err := w.patiently(ctx, w.b.pack(g), g.size, run); err != nil {
				return err
			}
		}
	}
	if done == nil {
		return nil
	}
	return done(ctx, g.number)
}

// run cuts the next entries that are read with one request: from a wanted one to the last
// wanted one before a large gap.
func (w *fetcher) run(entries []entry) (run, rest []entry) {
	first, last := -1, -1
	for i := range entries {
		e := &entries[i]
		if last >= 0 && int64(e.at)-int64(entries[last].at)-int64(entries[last].stored) > maxGap {
			break
		}
		if _, ok := w.want(e); ok {
			if first < 0 {
				first = i
			}
			last = i
		}
	}
	if first < 0 {
		return nil, nil
	}
	return entries[first : last+1], entries[last+1:]
}

// patiently reads a run of a pack, and what came damaged once more: a storage, or what lies
// between, may have failed to read what it has.
func (w *fetcher) patiently(ctx context.Context, name string, size int64, run []entry) error {
	n, err := w.read(ctx, name, size, run)
	if w.again == nil || code.Of(err) != code.Integrity || n == len(run) {
		return err
	}
	if _, err := w.read(ctx, name, size, run[n:]); err != nil {
		return err
	}
	w.again(err)
	return nil
}

// read reads a run of a pack and hands its wanted extents over. It returns how many entries
// it is done with.
func (w *fetcher) read(ctx context.Context, name string, size int64, run []entry) (int, error) {
	first, last := &run[0], &run[len(run)-1]
	at, end := int64(first.at), int64(last.at)+int64(last.stored)
	var body io.ReadCloser = io.NopCloser(eof{})
	if end > at {
		var err error
		if body, err = w.b.repo.storage.Get(ctx, name, at, end-at); err != nil {
			return 0, w.b.repo.blame(ctx, name, size, err)
		}
	}
	defer body.Close()
	for i := range run {
		e := &run[i]
		if gap := int64(e.at) - at; gap > 0 {
			if _, err := io.CopyN(io.Discard, body, gap); err != nil {
				return i, w.b.repo.blame(ctx, name, size, err)
			}
		}
		w.stored = grow(w.stored, int(e.stored))
		if _, err := io.ReadFull(body, w.stored); err != nil {
			return i, w.b.repo.blame(ctx, name, size, err)
		}
		at = int64(e.at) + int64(e.stored)
		f, ok := w.want(e)
		if !ok {
			continue
		}
		data, err := w.open(e)
		if err != nil {
			return i, damaged(name, "at %d, file %d %q at %d: %w", e.at, e.File, f.Path, e.Offset, err)
		}
		if err := w.fn(ctx, f, e.Extent, data); err != nil {
			return i, err
		}
	}
	// Only the end tells that the storage confirmed what it sent.
	if n, err := io.ReadFull(body, make([]byte, 1)); n != 0 || !errors.Is(err, io.EOF) {
		return len(run), w.b.repo.blame(ctx, name, size, cmp.Or(err, errors.New("more bytes than asked for")))
	}
	return len(run), nil
}

// open proves the stored bytes of an extent and returns its plain ones.
func (w *fetcher) open(e *entry) ([]byte, error) {
	if e.Zero {
		return nil, nil
	}
	if crc32.Checksum(w.stored, castagnoli) != e.crc {
		return nil, errors.New("checksum mismatch")
	}
	data := w.stored
	if e.zstd {
		w.plain = grow(w.plain, e.Length)
		var err error
		if data, err = w.dec.DecodeAll(w.stored, w.plain[:0:e.Length]); err != nil {
			return nil, fmt.Errorf("decompress: %w", err)
		}
	}
	if len(data) != e.Length {
		return nil, fmt.Errorf("%d bytes, not %d", len(data), e.Length)
	}
	if digest(data) != e.digest {
		return nil, errors.New("digest mismatch")
	}
	return data, nil
}

// blame tells a pack that is missing or cut from a storage that failed.
func (r *Repo) blame(ctx context.Context, name string, size int64, err error) error {
	if ctx.Err() == nil {
		if bad := r.has(ctx, name, size); code.Of(bad) == code.Integrity {
			return bad
		}
	}
	return lost(ctx, "get", name, err)
}

func grow(b []byte, n int) []byte {
	if cap(b) < n {
		return make([]byte, n)
	}
	return b[:n]
}

type eof struct{}

func (eof) Read([]byte) (int, error) { return 0, io.EOF }
