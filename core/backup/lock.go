package backup

import (
	"context"
	"fmt"
	"math"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/remora-backup/remora/core/code"
	"github.com/remora-backup/remora/core/plug"
	"github.com/remora-backup/remora/core/run"
	"github.com/remora-backup/remora/core/server"
	"github.com/remora-backup/remora/core/syncpoint"
)

const (
	// lockedBytes is how much may be copied under the lock. While the lock is waited for
	// DDL comes to its end, such as an index that was being built; if it leaves more than
	// this to copy, the lock is given back for another round without it. The limit doubles
	// each time: DDL that never stops leaves as much the next time.
	lockedBytes = 8 << 20
	// maxLocks bounds how often the lock is taken: the last time whatever is to be copied
	// is copied under it.
	maxLocks = 5
)

// lock takes the backup lock. While it is held no file of the server is created, renamed
// or removed, and no index is built without redo; DML goes on.
func (e *engine) lock(ctx context.Context, t *run.Task) error {
	limit := int64(lockedBytes)
	for try := 1; ; try, limit = try+1, 2*limit {
		if try == maxLocks {
			limit = math.MaxInt64
		}
		if err := e.takeLock(ctx, t); err != nil {
			return err
		}
		if err := syncpoint.At(ctx, syncpoint.LockHeld); err != nil {
			return err
		}
		n, err := e.lookLocked(ctx, limit)
		if err != nil {
			return err
		}
		if e.track.born() == 0 && n <= limit {
			return nil
		}
		if err := e.release(ctx); err != nil {
			return err
		}
		t.Note("giving the lock back for another round: DDL that ended meanwhile left %d MiB to copy", n>>20)
		if err := e.catchUp(ctx, t); err != nil {
			return err
		}
	}
}

func (e *engine) takeLock(ctx context.Context, t *run.Task) error {
	if err := e.sameServer(ctx); err != nil {
		return err
	}
	if err := e.rehearse(ctx); err != nil {
		return err
	}
	if err := syncpoint.At(ctx, syncpoint.LockBefore); err != nil {
		return err
	}
	held, err := e.acquire(ctx, plug.ScopeBackup)
	if err != nil {
		return err
	}
	e.held = held
	t.Locked(held.Owner())
	go func() {
		select {
		case <-held.Lost():
			e.fail(e.whyLost(e.work, code.New(code.Lock, "the backup lock: %w", plug.ErrLockLost)))
		case <-e.work.Done():
		}
	}()
	return nil
}

// whyLost makes the loss of a lock what it is if the server went away with it.
func (e *engine) whyLost(ctx context.Context, lost error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	if err := e.sameServer(ctx); code.Of(err) == code.ServerGone {
		return err
	}
	return lost
}

func (e *engine) acquire(ctx context.Context, scope plug.Scope) (plug.Held, error) {
	held, err := e.cfg.Lock.Acquire(ctx, scope, e.cfg.LockWait)
	if err != nil {
		return nil, code.Default(code.Lock, fmt.Errorf("take the %s lock: %w", scope, err))
	}
	return held, nil
}

// lookLocked finds out under the lock what there is and how many bytes are left to copy. If
// the redo alone says that they are more than limit, it does not look.
func (e *engine) lookLocked(ctx context.Context, limit int64) (int64, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, windowLimit, code.New(code.Lock, "the look under the lock took longer than %v", windowLimit))
	defer cancel()
	now, err := e.cfg.Server.LogStatus(ctx)
	if err != nil {
		return 0, err
	}
	if err := e.awaitSoon(ctx, now.LSN); err != nil {
		return 0, err
	}
	if n := e.track.spoiltBytes(); n > limit {
		return n, nil
	}
	if err := syncpoint.At(ctx, syncpoint.LockLook); err != nil {
		return 0, err
	}
	group, gctx := errgroup.WithContext(ctx)
	group.Go(func() error { return e.reallyLocked(gctx) })
	group.Go(func() error { return e.sameRedo(gctx) })
	group.Go(func() error {
		var err error
		if e.last, err = e.look(gctx, true); err != nil {
			return err
		}
		return e.judge(gctx, &e.last, true)
	})
	if err := group.Wait(); err != nil {
		return 0, err
	}
	return bytesOf(e.last.todo), nil
}

// rehearse asks all that will be asked under the lock, so that neither connections nor
// caches have to be filled then.
func (e *engine) rehearse(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return e.sameRedo(ctx) })
	group.Go(func() error { return e.reachNow(ctx, time.Minute) })
	group.Go(func() error {
		_, err := e.cfg.Server.HoldsBackupLock(ctx, 0)
		return err
	})
	group.Go(func() error {
		_, err := e.look(ctx, false)
		return err
	})
	return group.Wait()
}

// reallyLocked looks with our own eyes whether the lock is held: its plugin may be wrong.
func (e *engine) reallyLocked(ctx context.Context) error {
	if e.held.Owner() == 0 {
		return nil
	}
	switch seen, err := e.cfg.Server.HoldsBackupLock(ctx, e.held.Owner()); {
	case err != nil:
		return err
	case seen == server.No:
		return code.New(code.Lock, "the lock plugin says that connection %d holds the backup lock, the server says that it does not", e.held.Owner())
	}
	return nil
}

// awaitSoon waits for redo that the server may still have in memory only.
func (e *engine) awaitSoon(ctx context.Context, at uint64) error {
	soon, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	err := e.redo.await(soon, lsn(at))
	if err == nil || soon.Err() == nil || ctx.Err() != nil {
		return err
	}
	if err := e.flushLogs(ctx); err != nil {
		return err
	}
	return e.redo.await(ctx, lsn(at))
}

// sameRedo makes sure that redo logging was never switched off: pages that changed
// meanwhile left no trace. The redo files show it only as long as it lasts, which can be
// less than a millisecond; the statement is counted for ever.
func (e *engine) sameRedo(ctx context.Context) error {
	now, err := e.cfg.Server.Altered(ctx)
	if err != nil || now.Count == e.altered.Count {
		return err
	}
	seen, err := e.cfg.Server.RedoSwitched(ctx, e.altered)
	switch {
	case err != nil:
		return err
	case seen == server.Yes:
		return errRedoOff()
	case seen == server.Unseen:
		return code.Hint(code.Version, "grant SELECT on performance_schema.error_log and set log_error_verbosity to 2 or more, so that harmless statements can be told from that",
			"ALTER INSTANCE was used %d times during the backup; whether redo logging was switched off cannot be seen", now.Count-e.altered.Count)
	}
	return nil
}

func errRedoOff() error {
	return code.New(code.Version, "redo logging was switched off during the backup: what changed meanwhile is lost to it")
}
