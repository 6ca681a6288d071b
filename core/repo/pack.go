package repo

import (
	"bytes"
	"context"
	"fmt"
	"hash/crc32"
	"slices"

	"github.com/klauspost/compress/zstd"

	"github.com/remora-backup/remora/core/syncpoint"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Packer writes extents into packs, one after the other. It is for one goroutine; each
// worker of a backup has its own. It holds at most two packs in flight, one being filled
// and one being made durable, with a few MiB of buffers each.
type Packer struct {
	b   *Backup
	enc *zstd.Encoder // nil: no compression

	out    *stream // the pack being filled; nil until there are bytes for it
	number uint32
	size   int64  // bytes of it
	chunk  []byte // its last bytes, not yet handed over
	plain  []byte // room for data that is going to be compressed
	free   chan []byte

	entries []byte // its part of the index
	count   int

	closing chan struct{} // closed when the pack before it is durable, or failed; nil if there is none
}

func newPacker(b *Backup) (*Packer, error) {
	p := &Packer{b: b, free: make(chan []byte, 2*(chunkQueue+2))}
	if b.opt.Compression == Zstd {
		enc, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedFastest),
			zstd.WithAllLitEntropyCompression(true), zstd.WithEncoderCRC(false), zstd.WithSingleSegment(true))
		if err != nil {
			return nil, fmt.Errorf("start compression: %w", err)
		}
		p.enc = enc
	}
	return p, nil
}

// Room returns memory for the data of the next Extent, n bytes of 1 to MaxExtent. Data in
// it need not be copied once more. It is the caller's until then.
func (p *Packer) Room(n int) []byte {
	if p.enc == nil {
		p.chunk = slices.Grow(p.ready(), n)
		return p.chunk[len(p.chunk) : len(p.chunk)+n]
	}
	p.plain = slices.Grow(p.plain, n)
	return p.plain[:n]
}

// ready returns the chunk to append to.
func (p *Packer) ready() []byte {
	if p.chunk == nil {
		p.chunk = newChunk(p.free)
	}
	return p.chunk
}

// Extent stores data as the extent e; data is 1 to MaxExtent bytes and is not kept. It
// waits while the storage is behind. After an error the backup can only be aborted.
func (p *Packer) Extent(ctx context.Context, e Extent, data []byte) error {
	if err := p.b.broken(); err != nil {
		return err
	}
	if len(data) == 0 || len(data) > MaxExtent || e.File == 0 || e.Offset < 0 || e.Offset > maxFileSize {
		return fmt.Errorf("store %d bytes at %d of file %d: not an extent", len(data), e.Offset, e.File)
	}
	en := entry{Extent: e, at: uint32(p.size)}
	en.Length, en.Zero = len(data), isZero(data)
	if !en.Zero {
		if err := p.begin(); err != nil {
			return err
		}
		p.store(&en, data)
	}
	p.entries = en.append(p.entries)
	p.count++
	if err := p.b.count(&en); err != nil {
		return err
	}
	if len(p.chunk) >= chunkSize {
		if err := p.send(ctx); err != nil {
			return err
		}
	}
	if p.size >= p.b.opt.PackSize || p.count == maxGroup {
		return p.cut(ctx)
	}
	return nil
}

// begin opens a pack if none is open.
func (p *Packer) begin() error {
	if p.out != nil {
		return nil
	}
	if err := syncpoint.At(p.b.ctx, syncpoint.StorePackBegin); err != nil {
		return err
	}
	number, err := p.b.nextPack()
	if err != nil {
		return err
	}
	p.number = number
	p.out = newStream(p.b.ctx, &p.b.puts, p.b.repo.storage, packName(p.b.id, number), p.free)
	return nil
}

// store appends data to the pack, compressed if that makes it smaller.
func (p *Packer) store(en *entry, data []byte) {
	start := len(p.ready())
	if p.enc != nil {
		p.chunk = p.enc.EncodeAll(data, p.chunk)
		en.zstd = len(p.chunk)-start < len(data)
	}
	if !en.zstd {
		p.chunk = slices.Grow(p.chunk[:start], len(data))[:start+len(data)]
		if &p.chunk[start] != &data[0] { // else it is there already: see Room
			copy(p.chunk[start:], data)
		}
	}
	stored := p.chunk[start:]
	en.stored = uint32(len(stored))
	en.crc = crc32.Checksum(stored, castagnoli)
	en.digest = digest(data)
	p.size += int64(len(stored))
}

func (p *Packer) send(ctx context.Context) error {
	chunk := p.chunk
	p.chunk = nil
	if err := p.out.send(ctx, chunk); err != nil {
		return p.b.fail(err)
	}
	return nil
}

// cut ends the pack and lets it become durable while the next one is filled.
func (p *Packer) cut(ctx context.Context) error {
	if p.count == 0 {
		return p.b.broken()
	}
	if err := p.wait(ctx); err != nil {
		return err
	}
	out, number, size := p.out, p.number, p.size
	entries, count := p.entries, p.count
	if out != nil && len(p.chunk) > 0 {
		if err := p.send(ctx); err != nil {
			return err
		}
	}
	p.out, p.number, p.size, p.entries, p.count = nil, 0, 0, nil, 0
	done := make(chan struct{})
	p.closing = done
	p.b.puts.Go(func() {
		defer close(done)
		if err := p.b.endPack(out, number, size, count, entries); err != nil {
			_ = p.b.fail(err) // told by the next call of any packer, and by Seal
		}
	})
	return nil
}

// wait returns when the pack cut before is durable.
func (p *Packer) wait(ctx context.Context) error {
	if p.closing == nil {
		return p.b.broken()
	}
	select {
	case <-p.closing:
		p.closing = nil
		return p.b.broken()
	case <-ctx.Done():
		return fmt.Errorf("wait for a pack of backup %s: %w", p.b.id, context.Cause(ctx))
	}
}

// Flush ends the current pack and returns when all that was stored is durable: nothing of
// this packer is in flight then.
func (p *Packer) Flush(ctx context.Context) error {
	if err := p.cut(ctx); err != nil {
		return err
	}
	return p.wait(ctx)
}

// endPack makes a pack durable and enters it into the index.
func (b *Backup) endPack(out *stream, number uint32, size int64, count int, entries []byte) error {
	if out != nil {
		if err := syncpoint.At(b.ctx, syncpoint.StorePackPut); err != nil {
			return err
		}
		if err := out.finish(); err != nil {
			return err
		}
		if err := syncpoint.At(b.ctx, syncpoint.StorePackDone); err != nil {
			return err
		}
	}
	return b.addGroup(number, size, count, entries)
}

// isZero reports whether b is zeros only; it mostly looks at a few bytes.
func isZero(b []byte) bool {
	return b[0] == 0 && b[len(b)-1] == 0 && bytes.Equal(b[:len(b)-1], b[1:])
}
