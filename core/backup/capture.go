package backup

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/remora-backup/remora/core/innodb/redo"
	"github.com/remora-backup/remora/core/repo"
	"github.com/remora-backup/remora/core/run"
	"github.com/remora-backup/remora/core/server"
	"github.com/remora-backup/remora/core/syncpoint"
)

const (
	// consumerBeat is how often the server is told how far the redo was read.
	consumerBeat = 500 * time.Millisecond
	// consumerLag is the part of the redo capacity that we may be behind. A consumer that
	// stays behind stalls every writer of the server; rather than that, it is given up.
	consumerLag = 0.5
)

// redoCapture is everything that runs beside the phases to get the redo into the backup:
// the follower, its way into the storage, and the consumer that keeps the server from
// reusing redo that was not read yet.
type redoCapture struct {
	*follower
	checkpoint redo.LSN
	file       repo.FileID
	size       int64 // bytes stored
	stored     chan struct{}
	consumer   *server.Consumer   // nil if there is none
	beat       chan struct{}      // closed when the consumer's watch has ended
	quit       context.CancelFunc // ends the follower and the watch; the storage gets what was read
}

// followRedo begins to follow the redo and returns when it has caught up with the server.
func (e *engine) followRedo(ctx context.Context, t *run.Task) error {
	consumer, err := e.cfg.Server.RegisterConsumer(ctx)
	if err != nil {
		t.Note("no redo log consumer (%v): an overrun is possible and would be detected", err)
	}
	if err := syncpoint.At(ctx, syncpoint.RedoConsumer); err != nil {
		return errors.Join(err, consumer.Close(ctx))
	}
	dir := e.facts.RedoDir()
	files, checkpoint, err := openRedo(dir, e.checksums(), e.redoKey())
	if err != nil {
		return errors.Join(err, consumer.Close(ctx))
	}
	t.Note("following redo from checkpoint LSN %d", checkpoint)
	parser := redo.NewParser(checkpoint, e.facts.PageSize, e.track.record)
	c := &redoCapture{
		follower: newFollower(files, checkpoint, parser), checkpoint: checkpoint, file: e.backup.NewFile(),
		stored: make(chan struct{}), beat: make(chan struct{}), consumer: consumer,
	}
	packer, err := e.backup.Packer()
	if err != nil {
		files.Close()
		return errors.Join(err, consumer.Close(ctx))
	}
	e.redo = c
	go c.store(ctx, packer, e.fail)
	follow, quit := context.WithCancel(ctx)
	c.quit = quit
	go func() {
		if err := c.run(follow); err != nil && follow.Err() == nil {
			e.fail(err)
		}
	}()
	go c.watch(follow, e.cfg.Server, e.facts.RedoCapacity, t)
	if err := syncpoint.At(ctx, syncpoint.RedoFound); err != nil {
		return err
	}
	if err := e.reachNow(ctx, time.Minute); err != nil {
		return err
	}
	return syncpoint.At(ctx, syncpoint.RedoCaughtUp)
}

func (e *engine) checksums() redo.Checksums {
	if e.facts.LogChecksums {
		return redo.RequireCRC
	}
	return redo.AllowNone
}

// reachNow waits until the redo that the server has written by now was parsed.
func (e *engine) reachNow(ctx context.Context, within time.Duration) error {
	if err := e.flushLogs(ctx); err != nil {
		return err
	}
	now, err := e.cfg.Server.LogStatus(ctx)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, within, fmt.Errorf("not reached within %v", within))
	defer cancel()
	return e.redo.await(ctx, lsn(now.LSN))
}

// flushLogs makes the server write its redo to the files now. Without the privilege it
// does so by itself within a second.
func (e *engine) flushLogs(ctx context.Context) error {
	err := e.cfg.Server.FlushEngineLogs(ctx)
	if errors.Is(err, server.ErrNotAllowed) {
		return nil
	}
	return err
}

// store takes the follower's chunks into the backup. It goes on taking them after a
// failure, so that the follower never hangs.
func (c *redoCapture) store(ctx context.Context, packer *repo.Packer, fail func(error)) {
	defer close(c.stored)
	failed := false
	for chunk := range c.chunks {
		if failed {
			continue
		}
		if err := packer.Extent(ctx, repo.Extent{File: c.file, Offset: c.size}, chunk); err != nil {
			fail(fmt.Errorf("store redo: %w", err))
			failed = true
		}
		c.size += int64(len(chunk))
	}
}

// watch advances the consumer, and gives it up when it would stall the server.
func (c *redoCapture) watch(ctx context.Context, s *server.Server, capacity uint64, t *run.Task) {
	defer close(c.beat)
	if c.consumer == nil {
		return
	}
	tick := time.NewTicker(consumerBeat)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		c.mu.Lock()
		at := c.captured
		c.mu.Unlock()
		// A statement that is cut off takes the connection with it, which is then missing at
		// the end: one that has begun is finished.
		whole, done := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		err := c.consumer.Advance(whole, uint64(at))
		done()
		if err == nil {
			var now uint64
			if now, err = s.CurrentLSN(ctx); err == nil && float64(now)-float64(at) > consumerLag*float64(capacity) {
				err = fmt.Errorf("%d bytes of redo behind the server, whose capacity is %d", now-uint64(at), capacity)
			}
		}
		if err != nil && ctx.Err() == nil {
			t.Warn("giving up the redo log consumer so that the server is not stalled (%v); an overrun is possible and would be detected", err)
			_ = c.consumer.Close(ctx) // the session's end releases it in any case
			return
		}
	}
}

// close ends all that runs.
func (c *redoCapture) close(ctx context.Context) error {
	c.quit()
	ctx, cancel := context.WithTimeoutCause(ctx, time.Minute, errors.New("it does not stop"))
	defer cancel()
	for _, done := range []chan struct{}{c.done, c.stored, c.beat} {
		select {
		case <-done:
		case <-ctx.Done():
			return fmt.Errorf("stop following redo: %w", context.Cause(ctx))
		}
	}
	c.files.Close()
	if c.consumer == nil {
		return nil
	}
	err := syncpoint.At(ctx, syncpoint.CleanupConsumer)
	// The watch may have been cut off while it talked to the server, and the connection with
	// it: then the end of the connection has unregistered the consumer.
	_ = c.consumer.Close(ctx)
	return err
}
