package repo

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"sync"
	"sync/atomic"

	"lukechampine.com/blake3"
)

// Options say how a backup is written.
type Options struct {
	Compression Compression // default: the repository's
	PackSize    int64       // bytes after which a pack is ended; default 96 MiB, at most 1 GiB

	segment int // bytes of index after which an object is put; default 8 MiB
}

const (
	defaultPackSize = 96 << 20
	maxPackSize     = 1 << 30
	segmentSize     = 8 << 20
)

// Backup is a backup being written. Its methods may be called concurrently, but for Seal
// and Abort, which come last: Seal after all packers are idle, Abort in place of it.
//
// The first failure ends all packers: each later call returns it.
type Backup struct {
	repo *Repo
	id   string
	opt  Options

	ctx    context.Context // of every put of a pack; ended by the first failure
	cancel context.CancelCauseFunc
	packs  atomic.Uint32

	mu      sync.Mutex
	packers []*Packer
	kept    []File
	copies  []copied // by FileID

	index    sync.Mutex
	segment  []byte         // end of the index, not yet put
	segments []int64        // sizes of those put
	hash     *blake3.Hasher // of the whole index
	bytes    int64          // of the whole index
	groups   int64
	entries  int64
	sizes    []int64 // of packs, by number-1

	puts   sync.WaitGroup // of packs, and of what follows each
	begun  []string       // what Seal has begun to put beside the index
	sealed bool
}

// copied counts the bytes of one copy of a file.
type copied struct{ plain, stored int64 }

var errSealed = errors.New("the backup is sealed already")

// NewBackup begins to write a backup. The id is from NextID, or from NewID and greater than
// all in the storage. What another host began after NextID may have a greater one. Whoever
// began it calls Seal or Abort. ctx ends the packers' work, and carries the sync points'
// controller.
func (r *Repo) NewBackup(ctx context.Context, id string, opt Options) (*Backup, error) {
	if !ValidID(id) {
		return nil, fmt.Errorf("begin backup %q: not an id", id)
	}
	all, err := r.ids(ctx)
	if err != nil {
		return nil, err
	}
	newest := ""
	for _, f := range all {
		if newest = f.id; id == f.id || id < f.id && id != r.next {
			return nil, fmt.Errorf("begin backup %s: it does not come after backup %s", id, f.id)
		}
	}
	if err := r.create(ctx, newest, opt.Compression); err != nil {
		return nil, err
	}
	if opt.Compression == "" {
		opt.Compression = r.config.Compression
	}
	if opt.PackSize == 0 {
		opt.PackSize = defaultPackSize
	}
	if opt.segment == 0 {
		opt.segment = segmentSize
	}
	if !opt.Compression.valid() || opt.PackSize < 1 || opt.PackSize > maxPackSize {
		return nil, fmt.Errorf("begin backup %s: compression %q, pack size %d", id, opt.Compression, opt.PackSize)
	}
	b := &Backup{repo: r, id: id, opt: opt, hash: blake3.New(32, nil), copies: make([]copied, 1)}
	b.ctx, b.cancel = context.WithCancelCause(ctx)
	b.enter([]byte(indexMagic))
	return b, nil
}

// Packer returns a new packer, or the failure that has ended the backup.
func (b *Backup) Packer() (*Packer, error) {
	if err := b.broken(); err != nil {
		return nil, err
	}
	p, err := newPacker(b)
	if err != nil {
		return nil, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.packers = append(b.packers, p)
	return p, nil
}

// NewFile returns the id of a new copy of a file.
func (b *Backup) NewFile() FileID {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.copies = append(b.copies, copied{})
	return FileID(len(b.copies) - 1)
}

// Keep makes the copy f.ID part of the backup under f.Path. The copy's extents must cover
// all of its bytes, each once, when Seal is called. An error means that the file cannot be
// part of a backup; the backup can go on without it.
func (b *Backup) Keep(f File) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := f.check(); err != nil {
		return err
	}
	if int(f.ID) >= len(b.copies) {
		return fmt.Errorf("keep %q: no copy has id %d", f.Path, f.ID)
	}
	if len(b.kept) == maxFiles {
		return fmt.Errorf("keep %q: %d files are the limit", f.Path, maxFiles)
	}
	b.kept = append(b.kept, f)
	return nil
}

// broken returns the first failure.
func (b *Backup) broken() error {
	if b.ctx.Err() == nil {
		return nil
	}
	return fmt.Errorf("write backup %s: %w", b.id, context.Cause(b.ctx))
}

// fail ends the backup with err, if it has not failed before, and returns what it failed with.
func (b *Backup) fail(err error) error {
	b.cancel(err)
	return b.broken()
}

func (b *Backup) count(en *entry) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if int(en.File) >= len(b.copies) {
		return b.fail(fmt.Errorf("store an extent of file %d: no copy has that id", en.File))
	}
	c := &b.copies[en.File]
	c.plain += int64(en.Length)
	c.stored += int64(en.stored)
	return nil
}

func (b *Backup) nextPack() (uint32, error) {
	n := b.packs.Add(1)
	if n > maxObjects || n == math.MaxUint32 {
		return 0, b.fail(fmt.Errorf("more than %d packs", maxObjects))
	}
	return n, nil
}

// addGroup enters a durable pack into the index.
func (b *Backup) addGroup(pack uint32, size int64, count int, entries []byte) error {
	b.index.Lock()
	defer b.index.Unlock()
	b.groups++
	b.entries += int64(count)
	if pack > 0 {
		for len(b.sizes) < int(pack) {
			b.sizes = append(b.sizes, 0)
		}
		b.sizes[pack-1] = size
	}
	b.enter(appendGroup(nil, 0, pack, size, count, entries))
	if len(b.segment) < b.opt.segment {
		return nil
	}
	return b.putSegment(b.ctx)
}

// enter appends to the index.
func (b *Backup) enter(p []byte) {
	_, _ = b.hash.Write(p) // cannot fail
	b.bytes += int64(len(p))
	b.segment = append(b.segment, p...)
}

func (b *Backup) putSegment(ctx context.Context) error {
	b.segments = append(b.segments, int64(len(b.segment)))
	err := b.repo.put(ctx, indexName(b.id, len(b.segments)), b.segment)
	b.segment = b.segment[:0]
	return err
}

func hexSum(h *blake3.Hasher) string { return hex.EncodeToString(h.Sum(nil)) }
