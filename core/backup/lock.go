package backup

import (
	"context"
	"errors"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/remora-backup/remora/core/code"
	"github.com/remora-backup/remora/core/run"
	"github.com/remora-backup/remora/core/server"
	"github.com/remora-backup/remora/core/syncpoint"
)

// windowLimit bounds everything that is waited for under the lock.
const windowLimit = 30 * time.Second

// errGivenBack means that too much was left to copy under the lock, which is not held any
// more.
var errGivenBack = errors.New("the lock was given back for another round")

// lock takes the backup lock. While it is held no file of the server is created, renamed
// or removed, and no index is built without redo; DML goes on.
type lock struct {
	*site
	holding *holding
	copies  *copies
	room    int64 // bytes that may be left to copy under it
}

// locked is the server with the lock held: what there is does not change any more.
type locked struct {
	copies   *copies
	holding  *holding
	last     found
	channels []server.Channel // as they were a moment before
	purged   string           // gtid_purged
	altered  bool             // ALTER INSTANCE was used during the backup
}

func (l lock) do(ctx context.Context, t *run.Task) (*locked, error) {
	got := &locked{copies: l.copies, holding: l.holding}
	if err := l.take(ctx, t, got); err != nil {
		return nil, l.whyLost(ctx, err)
	}
	undone, err := l.look(ctx, got)
	var useless *imported
	enough := err == nil && undone <= l.room
	switch {
	case enough:
		return got, l.whyLost(ctx, l.holding.takeTables(ctx, t, users(got.last.tables)))
	case err != nil && !errors.As(err, &useless):
		return nil, l.whyLost(ctx, err)
	}
	// No gate is asked and nothing is copied while it is held.
	if rerr := l.holding.release(ctx); rerr != nil {
		return nil, l.whyLost(ctx, rerr)
	}
	l.holding.wait.since = time.Time{} // what is copied now is not waiting
	if err != nil {
		return nil, err
	}
	t.Note("giving the lock back for another round: DDL that ended meanwhile left %d MiB to copy", undone>>20)
	return nil, errGivenBack
}

func (l lock) take(ctx context.Context, t *run.Task, got *locked) error {
	if err := l.rehearse(ctx, got); err != nil {
		return err
	}
	if err := syncpoint.At(ctx, syncpoint.LockBefore); err != nil {
		return err
	}
	if err := l.holding.take(ctx, t); err != nil {
		return err
	}
	return syncpoint.At(ctx, syncpoint.LockHeld)
}

// rehearse asks all that will be asked under the lock, so that neither connections nor
// caches have to be filled then, and what would take too long.
func (l lock) rehearse(ctx context.Context, got *locked) error {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() (err error) {
		got.channels, err = l.server.ReplicaStatus(ctx)
		return err
	})
	group.Go(func() error {
		_, err := l.sameRedo(ctx)
		return err
	})
	group.Go(func() error { return l.copies.redo.reachNow(ctx) })
	group.Go(func() error {
		_ = l.server.ProveLocked(ctx, server.Holder{}) // nothing is locked yet
		return nil
	})
	group.Go(func() error { return l.same(ctx) })
	group.Go(func() error {
		_, err := l.copies.survey.look(ctx, false)
		return err
	})
	return group.Wait()
}

// look finds out under the lock what there is and how many bytes are left to copy. If the
// redo alone says that there is no room for them, it does not look.
func (l lock) look(ctx context.Context, got *locked) (undone int64, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, windowLimit, code.New(code.Lock, "the look under the lock took longer than %v", windowLimit))
	defer cancel()
	if err := l.copies.redo.reachSoon(ctx); err != nil {
		return 0, err
	}
	if n := l.copies.redo.ledger.spoiltBytes(); n > l.room {
		return n, nil
	}
	if err := syncpoint.At(ctx, syncpoint.LockLook); err != nil {
		return 0, err
	}
	group, gctx := errgroup.WithContext(ctx)
	group.Go(func() error { return l.holding.prove(gctx) })
	group.Go(func() error { return l.same(gctx) })
	group.Go(func() (err error) {
		got.altered, err = l.sameRedo(gctx)
		return err
	})
	group.Go(func() (err error) {
		got.purged, err = l.server.GTIDPurged(gctx)
		return err
	})
	group.Go(func() (err error) {
		got.last, err = l.copies.survey.outstandingLocked(gctx)
		return err
	})
	err = group.Wait()
	return got.last.bytes(), err
}
