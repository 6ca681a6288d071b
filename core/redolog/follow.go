package redolog

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/remora-backup/remora/core/code"
	"github.com/remora-backup/remora/core/innodb/redo"
	"github.com/remora-backup/remora/core/syncpoint"
)

const (
	// idlePoll is the pause after a pass that found nothing new.
	idlePoll = 2 * time.Millisecond
	// maxTail bounds what a Tail keeps in memory: the redo that is written while the server is
	// asked for the position, which takes it a few milliseconds.
	maxTail = 512 << 20
)

// Taker takes what a Follower reads, on the follower's goroutine, in the order of the log.
type Taker struct {
	// Event is told of every complete mini-transaction that changes which files there are,
	// or makes a copy of one stale.
	Event func(redo.Event)
	// Record is told of every record, once, also of one whose mini-transaction is not complete.
	Record func(redo.Record)
	// Blocks gets the log itself, every block once and whole, in chunks of at most 1 MiB that
	// are the taker's from then on. An error of it ends the follower.
	Blocks func(ctx context.Context, chunk []byte) error
}

// errEnd ends a pass at the LSN that was told.
var errEnd = errors.New("the end that was told")

// Follower reads the log as the server writes it. Its methods may be called from any
// goroutine; Run once, Close when it has returned.
type Follower struct {
	checkpoint redo.LSN
	page       int // innodb_page_size, bytes
	files      *files
	parser     *redo.Parser
	taker      Taker

	mu       sync.Mutex
	captured redo.LSN // all before it was read
	parsed   redo.LSN
	wanted   redo.LSN // the highest LSN anybody waits for
	pending  []byte   // whole blocks from pendAt on, not handed over yet
	pendAt   redo.LSN
	partial  []byte   // the block after pending, if it has begun
	kept     bool     // pending stays until the end was told
	end      redo.LSN // 0 until told
	err      error
	moved    chan struct{} // closed and replaced when captured or parsed change
	done     chan struct{} // closed when Run has returned; err is set before
}

func newFollower(files *files, checkpoint redo.LSN, page int) *Follower {
	first := checkpoint.BlockStart()
	return &Follower{
		checkpoint: checkpoint, page: page, files: files, captured: first, pendAt: first,
		moved: make(chan struct{}), done: make(chan struct{}),
	}
}

// Checkpoint is where the follower begins.
func (f *Follower) Checkpoint() redo.LSN { return f.checkpoint }

// Close gives the files back.
func (f *Follower) Close() { f.files.close() }

// Run follows until ctx ends, which is its cause, or the end that was told, which is nil.
func (f *Follower) Run(ctx context.Context, to Taker) error {
	f.taker, f.parser = to, redo.NewParser(f.checkpoint, f.page, to.Event)
	f.parser.Records(to.Record)
	err := f.loop(ctx)
	if errors.Is(err, errEnd) {
		err = f.finish(ctx)
	}
	f.mu.Lock()
	f.err = err
	f.mu.Unlock()
	close(f.done)
	return err
}

func (f *Follower) loop(ctx context.Context) error {
	idle := time.NewTimer(0)
	defer idle.Stop()
	for {
		if err := syncpoint.At(ctx, syncpoint.RedoBlock); err != nil {
			return err
		}
		n, err := f.files.poll(f.take)
		if err == nil {
			err = f.settle()
		}
		if err == nil {
			err = f.handOver(ctx)
		}
		if err != nil {
			return err
		}
		if n > 0 {
			continue
		}
		idle.Reset(idlePoll)
		select {
		case <-idle.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// take parses a block and keeps it; one that is not full may come again.
func (f *Follower) take(raw []byte, b redo.Block) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.end != 0 && f.captured >= f.end {
		return errEnd
	}
	if err := f.parser.Feed(b); err != nil {
		return code.New(code.CorruptPage, "parse redo: %w", err)
	}
	if f.kept && len(f.pending) > maxTail {
		return code.New(code.Lock, "%d MiB of redo were written while the server was asked for the position", maxTail>>20)
	}
	f.addLocked(raw, b.Full())
	f.advanceLocked(b.End())
	return nil
}

func (f *Follower) addLocked(raw []byte, full bool) {
	if full {
		f.pending, f.partial = append(f.pending, raw...), f.partial[:0]
		redo.Seal(f.pending[len(f.pending)-redo.BlockSize:])
		return
	}
	f.partial = append(f.partial[:0], raw...)
	redo.Seal(f.partial)
}

func (f *Follower) advanceLocked(end redo.LSN) {
	if parsed := f.parser.ParsedLSN(); end > f.captured || parsed > f.parsed {
		f.captured, f.parsed = max(end, f.captured), parsed
		close(f.moved)
		f.moved = make(chan struct{})
	}
}

// settle ends the pass when the end is reached, and helps over one edge: a mini-transaction
// that filled its block counts as complete with the next block, which may not be written
// yet. An LSN that the server named proves it.
func (f *Follower) settle() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if w := f.wanted; w.Offset() == redo.BlockHeader && f.captured == w && f.parsed < w {
		if err := f.parser.Feed(redo.Block{LSN: w.BlockStart()}); err != nil {
			return code.New(code.CorruptPage, "parse redo: %w", err)
		}
		f.advanceLocked(w)
	}
	if f.end != 0 && f.captured >= f.end {
		return errEnd
	}
	return nil
}

// handOver gives whole chunks to the taker, unless the tail is kept.
func (f *Follower) handOver(ctx context.Context) error {
	for {
		f.mu.Lock()
		var chunk []byte
		if !f.kept && len(f.pending) >= chunkSize {
			chunk = f.cutChunkLocked()
		}
		f.mu.Unlock()
		if chunk == nil {
			return nil
		}
		if err := f.taker.Blocks(ctx, chunk); err != nil {
			return err
		}
	}
}

func (f *Follower) cutChunkLocked() []byte {
	n := min(len(f.pending), chunkSize)
	chunk := bytes.Clone(f.pending[:n])
	f.pending = append(f.pending[:0], f.pending[n:]...)
	f.pendAt += redo.LSN(n)
	return chunk
}

// finish cuts the log at the end and hands over the rest.
func (f *Follower) finish(ctx context.Context) error {
	f.mu.Lock()
	f.pending = append(f.pending, f.partial...)
	last := int(f.end.BlockStart()) - int(f.pendAt)
	if last == len(f.pending) && f.end.Offset() == redo.BlockHeader {
		f.pending = append(f.pending, redo.EmptyBlock(f.end.BlockStart())...)
	}
	if last < 0 || last+redo.BlockSize > len(f.pending) {
		defer f.mu.Unlock()
		return fmt.Errorf("cut redo at LSN %d: memory holds %d bytes from LSN %d", f.end, len(f.pending), f.pendAt)
	}
	f.pending = f.pending[:last+redo.BlockSize]
	f.files.cut(f.pending[last:], f.end)
	f.mu.Unlock()
	for len(f.pending) > 0 {
		if err := f.taker.Blocks(ctx, f.cutChunkLocked()); err != nil {
			return err
		}
	}
	return nil
}

// Tail is a log whose end is not told yet: what was read since stays in memory, so that it
// can be cut at an LSN that the server only names afterwards.
type Tail struct{ f *Follower }

// KeepTail keeps in memory what is read from now on, until the end is told.
func (f *Follower) KeepTail() Tail {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.kept = true
	return Tail{f}
}

// EndAt ends the log at lsn, exactly. The server must have named it after KeepTail.
func (t Tail) EndAt(lsn redo.LSN) {
	t.f.mu.Lock()
	defer t.f.mu.Unlock()
	t.f.end, t.f.wanted = lsn, max(t.f.wanted, lsn)
}

// Await waits until all redo up to lsn, which the server named, was read and parsed.
func (f *Follower) Await(ctx context.Context, lsn redo.LSN) error {
	for {
		f.mu.Lock()
		f.wanted = max(f.wanted, lsn)
		at, captured, moved := f.parsed, f.captured, f.moved
		f.mu.Unlock()
		if at >= lsn && captured >= lsn {
			return nil
		}
		select {
		case <-moved:
		case <-f.done:
			if f.err != nil {
				return fmt.Errorf("follow redo: %w", f.err)
			}
			return fmt.Errorf("follow redo: ended at LSN %d before %d", at, lsn)
		case <-ctx.Done():
			return fmt.Errorf("wait for redo up to LSN %d (parsed up to %d): %w", lsn, at, context.Cause(ctx))
		}
	}
}

// Read returns the LSN up to which all redo was read.
func (f *Follower) Read() redo.LSN {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.captured
}

// Parsed returns the LSN up to which all redo was parsed.
func (f *Follower) Parsed() redo.LSN {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.parsed
}

// Encryption is what the header of the log says of the key of its blocks, if one was met that
// is encrypted. It is known when Run has returned.
func (f *Follower) Encryption() (redo.Encryption, bool) {
	return f.files.key.info, f.files.key.key != nil
}
