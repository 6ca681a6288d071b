package backup

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/remora-backup/remora/core/innodb/redo"
	"github.com/remora-backup/remora/core/redolog"
	"github.com/remora-backup/remora/core/repo"
	"github.com/remora-backup/remora/core/run"
	"github.com/remora-backup/remora/core/server"
	"github.com/remora-backup/remora/core/syncpoint"
)

const (
	// backlog is how many chunks of redo may wait for the storage. When they are used up the
	// follower stands still; the consumer's watch sees the lag.
	backlog = 64
	// reachWithin bounds the wait for the redo that the server has written by now.
	reachWithin = time.Minute
	// patience is how long the redo may take to appear in the files by itself before the
	// server is asked to write it out.
	patience = 3 * time.Millisecond
	// redoPath is what the captured redo is called in a backup: the raw blocks from
	// manifest.LSN.Start on, the last one cut at manifest.LSN.End. It is no redo file yet; a
	// restore makes one of it.
	redoPath = "#innodb_redo/captured"
)

// followRedo begins to follow the redo and returns when it has caught up with the server.
type followRedo struct {
	*site
	instead *capture // is ended first; nil the first time
}

// capture is the redo on its way into the backup, from a checkpoint on, beside the phases:
// the log is followed, stored, and kept by the server until it was read.
type capture struct {
	server *server.Server
	log    *redolog.Follower
	ledger *ledger // is told what happens to tablespaces
	watch  *watch
	quit   context.CancelFunc // ends the follower and the watch; the storage gets what was read
	stop   context.CancelFunc // ends the storing too

	ended  chan struct{} // closed when the follower has ended; err is set before
	err    error
	stored chan struct{} // closed when the storing has ended; file is complete before
	file   repo.File
}

func (f followRedo) do(ctx context.Context, t *run.Task) (*capture, error) {
	if f.instead != nil {
		if err := f.instead.close(ctx); err != nil {
			return nil, err
		}
	}
	consumer, err := f.server.RegisterConsumer(ctx)
	if err != nil {
		t.Note("no redo log consumer (%v): an overrun is possible and would be detected", err)
	}
	t.Cleanup(func(ctx context.Context, _ *run.Task, _ error) error { return consumer.Close(ctx) })
	if err := syncpoint.At(ctx, syncpoint.RedoConsumer); err != nil {
		return nil, err
	}
	c, err := f.capture(ctx, t, consumer)
	if err != nil {
		return nil, err
	}
	if err := syncpoint.At(ctx, syncpoint.RedoFound); err != nil {
		return nil, err
	}
	if err := c.reachNow(ctx); err != nil {
		return nil, err
	}
	return c, syncpoint.At(ctx, syncpoint.RedoCaughtUp)
}

// capture starts all that works beside the phases.
func (f followRedo) capture(ctx context.Context, t *run.Task, consumer *server.Consumer) (*capture, error) {
	packer, err := f.store.Packer()
	if err != nil {
		return nil, err
	}
	log, err := f.log.Open()
	if err != nil {
		return nil, err
	}
	t.Note("following redo from checkpoint LSN %d", log.Checkpoint())
	work, stop := context.WithCancel(ctx)
	follow, quit := context.WithCancel(work)
	c := &capture{
		server: f.server, log: log, ledger: newLedger(f.since), quit: quit, stop: stop, ended: make(chan struct{}), stored: make(chan struct{}),
		watch: &watch{server: f.server, consumer: consumer, read: log.Read, done: make(chan struct{})},
		file:  repo.File{ID: f.store.NewFile(), Kind: repo.KindRedo, Path: redoPath},
	}
	t.Cleanup(c.giveBack)
	fail := func(err error) {
		if err != nil && work.Err() == nil {
			t.Fail(err)
		}
	}
	chunks := make(chan []byte, backlog)
	go func() {
		defer close(c.stored)
		fail(c.store(work, packer, chunks))
	}()
	go func() {
		defer close(c.ended)
		if c.err = c.follow(follow, chunks); follow.Err() == nil {
			fail(c.err)
		}
	}()
	go c.watch.run(follow, t)
	return c, nil
}

// follow follows the log until ctx ends, or to the end that it is told.
func (c *capture) follow(ctx context.Context, to chan<- []byte) error {
	defer close(to)
	return c.log.Run(ctx, redolog.Taker{Event: c.ledger.record, Record: c.ledger.see, Blocks: func(ctx context.Context, chunk []byte) error {
		select {
		case to <- chunk:
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}})
}

// store takes the follower's chunks into the backup. Its failure ends the run, and so the
// follower.
func (c *capture) store(ctx context.Context, packer *repo.Packer, chunks <-chan []byte) error {
	for chunk := range chunks {
		if err := packer.Extent(ctx, repo.Extent{File: c.file.ID, Offset: c.file.Size}, chunk); err != nil {
			return fmt.Errorf("store redo: %w", err)
		}
		c.file.Size += int64(len(chunk))
	}
	return nil
}

// reachNow waits until the redo that the server has written by now was parsed.
func (c *capture) reachNow(ctx context.Context) error {
	if err := c.flush(ctx); err != nil {
		return err
	}
	now, err := c.server.LogStatus(ctx)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, reachWithin, fmt.Errorf("not reached within %v", reachWithin))
	defer cancel()
	return c.log.Await(ctx, redo.LSN(now.LSN))
}

// reachSoon is reachNow for the time under the lock: the server is asked to write its redo
// out only if it does not do so by itself.
func (c *capture) reachSoon(ctx context.Context) error {
	now, err := c.server.LogStatus(ctx)
	if err != nil {
		return err
	}
	soon, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	err = c.log.Await(soon, redo.LSN(now.LSN))
	if err == nil || soon.Err() == nil || ctx.Err() != nil {
		return err
	}
	if err := c.flush(ctx); err != nil {
		return err
	}
	return c.log.Await(ctx, redo.LSN(now.LSN))
}

// flush makes the server write its redo to the files now. Without the privilege it does so
// by itself within a second.
func (c *capture) flush(ctx context.Context) error {
	err := c.server.FlushEngineLogs(ctx)
	if errors.Is(err, server.ErrNotAllowed) {
		return nil
	}
	return err
}

// wait returns when the log was read to the end that it was told.
func (c *capture) wait(ctx context.Context) error {
	select {
	case <-c.ended:
		return c.err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// close ends all that runs. It can be called again.
func (c *capture) close(ctx context.Context) error {
	c.quit()
	ctx, cancel := context.WithTimeoutCause(ctx, time.Minute, errors.New("it does not stop"))
	defer cancel()
	for _, done := range []chan struct{}{c.ended, c.stored, c.watch.done} {
		select {
		case <-done:
		case <-ctx.Done():
			return fmt.Errorf("stop following redo: %w", context.Cause(ctx))
		}
	}
	c.log.Close()
	if c.watch.consumer == nil {
		return nil
	}
	err := syncpoint.At(ctx, syncpoint.CleanupConsumer)
	// The watch may have been cut off while it talked to the server, and the connection with
	// it: then the end of the connection has unregistered the consumer.
	_ = c.watch.consumer.Close(ctx)
	return err
}

func (c *capture) giveBack(ctx context.Context, t *run.Task, _ error) error {
	c.stop()
	t.Fail(syncpoint.At(ctx, syncpoint.CleanupRedo))
	return c.close(ctx)
}

// redoFile is the redo of the backup, once it was closed. What its header says of an
// encrypted log's key goes with it: without it nobody can read the blocks, with it only who
// has the master key.
func (c *capture) redoFile() repo.File {
	f := c.file
	if e, yes := c.log.Encryption(); yes {
		f.Attrs = map[string]string{repo.AttrEncryption: hex.EncodeToString(e.Bytes())}
	}
	return f
}
