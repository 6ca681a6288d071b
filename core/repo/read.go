package repo

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"iter"

	"github.com/klauspost/compress/zstd"
	"golang.org/x/sync/errgroup"
	"lukechampine.com/blake3"
)

// Reader reads one complete backup. Its methods may be called concurrently.
type Reader struct {
	repo     *Repo
	manifest Manifest
	files    []File // by id
}

// OpenBackup returns a backup with its table of files, which is proven and whose names are
// safe to be created below one directory. id may be Latest.
func (r *Repo) OpenBackup(ctx context.Context, id string) (*Reader, error) {
	m, err := r.Manifest(ctx, id)
	if err != nil {
		return nil, err
	}
	b := &Reader{repo: r, manifest: m}
	if b.files, err = b.readFiles(ctx); err != nil {
		return nil, err
	}
	return b, nil
}

// Manifest returns the backup's manifest.
func (b *Reader) Manifest() Manifest { return b.manifest }

// Files returns the files of the backup, ordered by id; they belong to the reader.
func (b *Reader) Files() []File { return b.files }

// readFiles reads the table of files. Nothing of it is used before all is proven.
func (b *Reader) readFiles(ctx context.Context) ([]File, error) {
	name := filesName(b.manifest.ID)
	body, err := b.repo.storage.Get(ctx, name, 0, -1)
	if err != nil {
		return nil, lost(ctx, "get", name, err)
	}
	defer body.Close()
	in := &proven{r: body, want: b.manifest.Files, hash: blake3.New(32, nil)}
	z, err := zstd.NewReader(in, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxWindow))
	if err != nil {
		return nil, fmt.Errorf("start decompression: %w", err)
	}
	defer z.Close()
	files, bad := decodeFiles(z, b.manifest.Files.Count)
	_, rest := io.Copy(io.Discard, in)
	if in.err != nil {
		return nil, failed(ctx, "get", name, in.err)
	}
	if err := cmp.Or(rest, in.check()); err != nil {
		return nil, damaged(name, "%w", err)
	}
	if bad == nil {
		bad = checkFiles(files, b.manifest.Server.LowerCaseTableNames != 0)
	}
	if bad != nil {
		return nil, damaged(name, "%w", bad)
	}
	return files, nil
}

const maxWindow = 16 << 20 // bytes a zstd frame may ask us to remember

// proven passes bytes on, no more than the manifest says, and remembers their digest, and
// the storage's error if that is what ended them.
type proven struct {
	r    io.Reader
	want Part
	hash *blake3.Hasher
	size int64
	err  error
}

func (p *proven) Read(b []byte) (int, error) {
	n, err := p.r.Read(b)
	p.size += int64(n)
	_, _ = p.hash.Write(b[:n]) // cannot fail
	if err != nil && !errors.Is(err, io.EOF) {
		p.err = err
	}
	if p.size > p.want.Size {
		return n, errTooLarge
	}
	return n, err
}

func (p *proven) check() error {
	if hexSum(p.hash) != p.want.Digest {
		return errors.New("its digest is not the manifest's")
	}
	return nil
}

// segments is the objects of an index as one stream.
type segments struct {
	ctx  context.Context
	b    *Reader
	next int // number of the object after the one in body
	body io.ReadCloser
	err  error // of the storage, with its code
}

func (s *segments) name() string { return indexName(s.b.manifest.ID, s.next-1) }

func (s *segments) Read(p []byte) (int, error) {
	for {
		if s.body == nil {
			if int64(s.next) > s.b.manifest.Index.Count {
				return 0, io.EOF
			}
			s.next++
			s.body, s.err = s.b.repo.storage.Get(s.ctx, s.name(), 0, -1)
			if s.err != nil {
				s.body, s.err = nil, lost(s.ctx, "get", s.name(), s.err)
				return 0, s.err
			}
		}
		n, err := s.body.Read(p)
		if err == nil || n > 0 && errors.Is(err, io.EOF) {
			return n, nil
		}
		if !errors.Is(err, io.EOF) {
			s.err = failed(s.ctx, "get", s.name(), err)
			return n, s.err
		}
		s.Close()
	}
}

func (s *segments) Close() {
	if s.body != nil {
		_ = s.body.Close() // only read from
		s.body = nil
	}
}

// groups yields the index group by group. Each has its own checksum; that all of them are
// those of the manifest is known when the sequence ends without an error.
func (b *Reader) groups(ctx context.Context) iter.Seq2[group, error] {
	return func(yield func(group, error) bool) {
		s := &segments{ctx: ctx, b: b, next: 1}
		defer s.Close()
		in := &proven{r: s, want: b.manifest.Index, hash: blake3.New(32, nil)}
		err := b.eachGroup(in, yield)
		switch {
		case errors.Is(err, errStop):
			return
		case s.err != nil:
			err = s.err
		case err != nil:
			err = damaged(s.name(), "%w", err)
		default:
			if err = in.check(); err != nil {
				err = damaged(dirName(b.manifest.ID)+"index", "%w", err)
			}
		}
		if err != nil {
			yield(group{}, err)
		}
	}
}

var errStop = errors.New("stop")

func (b *Reader) eachGroup(in io.Reader, yield func(group, error) bool) error {
	x, err := newIndexReader(in)
	if err != nil {
		return err
	}
	for {
		g, err := x.next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		if int(g.source) > len(b.manifest.Bases) {
			return fmt.Errorf("group %d: there is no base %d", g.number, g.source)
		}
		if !yield(g, nil) {
			return errStop
		}
	}
	if n, err := io.Copy(io.Discard, in); n > 0 || err != nil {
		return cmp.Or(err, fmt.Errorf("%d bytes follow its end", n))
	}
	return nil
}

// pack returns the name of the object a group lies in.
func (b *Reader) pack(g *group) string {
	if g.source == 0 {
		return packName(b.manifest.ID, g.pack)
	}
	return packName(b.manifest.Bases[g.source-1], g.pack)
}

// Check proves all that can be known without reading the packs: the index is whole, every
// byte of every file is covered by one extent, every pack is there in its size. The memory
// is that of one group, 8 bytes for each file and 64 for each pack.
func (b *Reader) Check(ctx context.Context) error {
	cover := newCoverage(b.files)
	var packs []group // without entries
	for g, err := range b.groups(ctx) {
		if err != nil {
			return err
		}
		cover.add(g.entries)
		if g.entries = nil; g.pack > 0 {
			packs = append(packs, g)
		}
	}
	if err := cover.whole(); err != nil {
		return damaged(dirName(b.manifest.ID)+"index", "%w", err)
	}
	return b.havePacks(ctx, packs)
}

func (b *Reader) havePacks(ctx context.Context, packs []group) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(statParallel)
	for i := range packs {
		g.Go(func() error { return b.repo.has(ctx, b.pack(&packs[i]), packs[i].size) })
	}
	return g.Wait()
}

// has asks the storage for an object that must be there.
func (r *Repo) has(ctx context.Context, name string, size int64) error {
	obj, err := r.storage.Stat(ctx, name)
	if err != nil {
		return lost(ctx, "stat", name, err)
	}
	if obj.Size != size {
		return damaged(name, "it has %d bytes, %d were stored", obj.Size, size)
	}
	return nil
}

// coverage proves that extents cover each file exactly, in any order, with one number for
// each file: the sum of hash(end)-hash(start) over its extents. Taken as arrows from start
// to end, extents that cover a file are one path from 0 to its size, and the sum is
// hash(size)-hash(0). Arrows only go forward, so nothing else leaves every other place
// balanced: a gap or an overlap leaves a hash over. The seed is random, so no input can be
// made to fit.
type coverage struct {
	files []File
	sums  []uint64
	seed  maphash.Seed
	last  int // index of the file seen last
}

func newCoverage(files []File) *coverage {
	return &coverage{files: files, sums: make([]uint64, len(files)), seed: maphash.MakeSeed()}
}

func (c *coverage) hash(at int64) uint64 { return maphash.Comparable(c.seed, at) }

func (c *coverage) add(entries []entry) {
	for i := range entries {
		e := &entries[i]
		if c.last >= len(c.files) || c.files[c.last].ID != e.File {
			at, found := findFile(c.files, e.File)
			if !found {
				continue // a copy that was replaced
			}
			c.last = at
		}
		c.sums[c.last] += c.hash(e.Offset+int64(e.Length)) - c.hash(e.Offset)
	}
}

func (c *coverage) whole() error {
	for i := range c.files {
		if f := &c.files[i]; c.sums[i] != c.hash(f.Size)-c.hash(0) {
			return fmt.Errorf("the extents of %q do not cover its %d bytes, each once", f.Path, f.Size)
		}
	}
	return nil
}
