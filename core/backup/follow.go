package backup

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
	// idlePoll is the pause after a pass over the redo that found nothing new.
	idlePoll = 2 * time.Millisecond
	// redoBacklog is how many chunks may wait for the storage. When they are used up
	// the follower stands still; the consumer's watch sees the lag.
	redoBacklog = 64
)

// maxHeld bounds what is held in memory: the redo that is written while the server is asked
// for the position, which takes it a few milliseconds.
const maxHeld = 512 << 20

// errStopped ends the follower's pass at the LSN it was told.
var errStopped = errors.New("stopped at the sync point")

// follower copies the redo of a running server and parses it as it comes.
//
//	redoFiles ── blocks ──> parser ──> tracker
//	                └─────> chunks of 1 MiB ──> storage
//
// While held, nothing more goes to the storage, so that the log can still be cut at an
// LSN that is only told afterwards.
type follower struct {
	files  *redoFiles
	parser *redo.Parser
	chunks chan []byte // whole blocks, in order; closed at the end

	mu       sync.Mutex
	captured redo.LSN // all data below is in memory or with the storage
	parsed   redo.LSN
	wanted   redo.LSN // the highest LSN anybody waits for
	pending  []byte   // whole blocks from pendingAt on
	pendAt   redo.LSN
	partial  []byte // the block after pending, if it has begun
	held     bool
	stop     redo.LSN // 0 until known
	err      error
	moved    chan struct{} // closed and replaced when captured or parsed change
	done     chan struct{} // closed when run has returned; err is set before
}

func newFollower(files *redoFiles, checkpoint redo.LSN, parser *redo.Parser) *follower {
	first := checkpoint.BlockStart()
	return &follower{
		files: files, parser: parser, chunks: make(chan []byte, redoBacklog), captured: first, pendAt: first,
		moved: make(chan struct{}), done: make(chan struct{}),
	}
}

// run follows the redo until it was stopped, failed, or ctx ended.
func (f *follower) run(ctx context.Context) error {
	err := f.loop(ctx)
	if errors.Is(err, errStopped) {
		err = f.finish(ctx)
	}
	f.mu.Lock()
	f.err = err
	f.mu.Unlock()
	close(f.chunks)
	close(f.done)
	return err
}

func (f *follower) loop(ctx context.Context) error {
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
			err = f.flush(ctx)
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

// take parses a block and keeps it; a block that is not full may come again.
func (f *follower) take(raw []byte, b redo.Block) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.stop != 0 && f.captured >= f.stop {
		return errStopped
	}
	if err := f.parser.Feed(b); err != nil {
		return code.New(code.CorruptPage, "parse redo: %w", err)
	}
	if f.held && len(f.pending) > maxHeld {
		return code.New(code.Lock, "%d MiB of redo were written while the server was asked for the position", maxHeld>>20)
	}
	if b.Full() {
		f.pending, f.partial = append(f.pending, raw...), f.partial[:0]
		redo.Seal(f.pending[len(f.pending)-redo.BlockSize:])
	} else {
		f.partial = append(f.partial[:0], raw...)
		redo.Seal(f.partial)
	}
	f.advanceLocked(b.End())
	return nil
}

func (f *follower) advanceLocked(end redo.LSN) {
	if parsed := f.parser.ParsedLSN(); end > f.captured || parsed > f.parsed {
		f.captured, f.parsed = max(end, f.captured), parsed
		close(f.moved)
		f.moved = make(chan struct{})
	}
}

// settle ends the pass when stop is reached. It also helps over one edge: when the
// last mini-transaction filled its block, the server may not have written the next block
// yet, with which the mini-transaction counts as complete. An LSN that the server named
// proves it.
func (f *follower) settle() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if w := f.wanted; w.Offset() == redo.BlockHeader && f.captured == w && f.parsed < w {
		if err := f.parser.Feed(redo.Block{LSN: w.BlockStart()}); err != nil {
			return code.New(code.CorruptPage, "parse redo: %w", err)
		}
		f.advanceLocked(w)
	}
	if f.stop != 0 && f.captured >= f.stop {
		return errStopped
	}
	return nil
}

// flush gives whole chunks to the storage unless held.
func (f *follower) flush(ctx context.Context) error {
	for {
		f.mu.Lock()
		var chunk []byte
		if !f.held && len(f.pending) >= redoChunk {
			chunk = f.cutChunkLocked()
		}
		f.mu.Unlock()
		if chunk == nil {
			return nil
		}
		if err := f.give(ctx, chunk); err != nil {
			return err
		}
	}
}

func (f *follower) cutChunkLocked() []byte {
	n := min(len(f.pending), redoChunk)
	chunk := bytes.Clone(f.pending[:n])
	f.pending = append(f.pending[:0], f.pending[n:]...)
	f.pendAt += redo.LSN(n)
	return chunk
}

func (f *follower) give(ctx context.Context, chunk []byte) error {
	select {
	case f.chunks <- chunk:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// finish cuts the log at stop and hands over the rest.
func (f *follower) finish(ctx context.Context) error {
	f.mu.Lock()
	f.pending = append(f.pending, f.partial...)
	last := int(f.stop.BlockStart()) - int(f.pendAt)
	if last == len(f.pending) && f.stop.Offset() == redo.BlockHeader {
		f.pending = append(f.pending, redo.EmptyBlock(f.stop.BlockStart())...)
	}
	if last < 0 || last+redo.BlockSize > len(f.pending) {
		defer f.mu.Unlock()
		return fmt.Errorf("cut redo at LSN %d: memory holds %d bytes from LSN %d", f.stop, len(f.pending), f.pendAt)
	}
	f.pending = f.pending[:last+redo.BlockSize]
	f.files.cut(f.pending[last:], f.stop)
	f.mu.Unlock()
	for len(f.pending) > 0 {
		if err := f.give(ctx, f.cutChunkLocked()); err != nil {
			return err
		}
	}
	return nil
}

// hold keeps what comes from now on in memory until stopAt.
func (f *follower) hold() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.held = true
}

// stopAt ends the follower at lsn, exactly. hold must have been called before the server
// was asked for lsn.
func (f *follower) stopAt(lsn redo.LSN) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.stop, f.wanted = lsn, max(f.wanted, lsn)
}

// await waits until all redo up to lsn, which the server named, was read and parsed.
func (f *follower) await(ctx context.Context, lsn redo.LSN) error {
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

// position returns the LSN up to which all redo was parsed.
func (f *follower) position() redo.LSN {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.parsed
}

// wait returns when the follower has ended.
func (f *follower) wait(ctx context.Context) error {
	select {
	case <-f.done:
		return f.err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
