package backup

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/remora-backup/remora/core/code"
	"github.com/remora-backup/remora/core/plug"
	"github.com/remora-backup/remora/core/run"
	"github.com/remora-backup/remora/core/syncpoint"
)

// syncPoint does under the lock what cannot be done before: the rest of the copies, the
// proof that nothing is missing, and the position. Then it gives the lock back.
func (e *engine) syncPoint(ctx context.Context, t *run.Task) error {
	ctx, cancel := context.WithTimeoutCause(ctx, windowLimit, code.New(code.Lock, "the work under the lock took longer than %v", windowLimit))
	defer cancel()
	if err := syncpoint.At(ctx, syncpoint.LockRest); err != nil {
		return err
	}
	if err := e.copyRest(ctx, t); err != nil {
		return err
	}
	if err := syncpoint.At(ctx, syncpoint.LockOthers); err != nil {
		return err
	}
	tables, err := e.copyOthers(ctx)
	if err != nil {
		return err
	}
	err = e.position(ctx)
	if tables != nil {
		_, rerr := tables.Release(context.WithoutCancel(ctx))
		err = errors.Join(err, rerr)
	}
	if err != nil {
		return err
	}
	if err := syncpoint.At(ctx, syncpoint.LockRelease); err != nil {
		return err
	}
	if err := e.held.Check(ctx); err != nil {
		return code.New(code.Lock, "the lock at the sync point: %w", err)
	}
	if err := syncpoint.At(ctx, syncpoint.LockChecked); err != nil {
		return err
	}
	if err := e.release(ctx); err != nil {
		return err
	}
	t.Note("the server was locked for %.1f ms, after waiting %.1f ms for the lock", e.manifest.Lock.Held, e.manifest.Lock.Waited)
	return syncpoint.At(ctx, syncpoint.LockReleased)
}

// copyRest copies what changed since the last round and proves that the backup has what
// the server has: each tablespace of the dictionary lies where the dictionary says, with
// the right id (look has made sure of that), and has a copy that nothing has spoiled since.
// No file is created, renamed or removed any more, so one look is enough.
func (e *engine) copyRest(ctx context.Context, t *run.Task) error {
	e.copier.kept.left = keptLimit
	if err := e.copier.all(ctx, t, e.last.todo); err != nil {
		return err
	}
	e.sort(&e.last)
	if len(e.last.todo) > 0 {
		en := e.last.todo[0]
		if c := e.track.spoiled(en); c != nil {
			return damaged(c.spoiled())
		}
		return code.New(code.CorruptPage, "%s (space id %d) has no good copy although no DDL runs: %s", en.path, en.space, en.why)
	}
	return distinct(e.last.spaces)
}

// copyOthers copies the files of other engines that changed. Only if users have tables of
// such engines are writes stopped for it; the lock returned is then held until the
// position is known.
func (e *engine) copyOthers(ctx context.Context) (plug.Held, error) {
	var tables plug.Held
	if slices.ContainsFunc(e.last.others, ofUsers) {
		var err error
		if tables, err = e.acquire(ctx, plug.ScopeTables); err != nil {
			return nil, err
		}
	}
	err := syncpoint.At(ctx, syncpoint.LockTables)
	if err == nil {
		err = e.others.refresh(ctx, e.last.others, true)
	}
	if err != nil && tables != nil {
		_, rerr := tables.Release(context.WithoutCancel(ctx))
		return nil, errors.Join(err, rerr)
	}
	return tables, err
}

// position takes the sync point: what the backup is a backup of.
func (e *engine) position(ctx context.Context) error {
	if err := syncpoint.At(ctx, syncpoint.LockPosition); err != nil {
		return err
	}
	e.redo.hold()
	at, err := e.cfg.Server.LogStatus(ctx)
	if err != nil {
		return err
	}
	e.sync, e.manifest.VPTime = at, time.Now()
	e.redo.stopAt(lsn(at.LSN))
	if at.BinlogFile != "" {
		if e.binlog, err = openBinlog(e.facts.LogBinBasename, at.BinlogFile, at.BinlogPosition); err != nil {
			return err
		}
	}
	return syncpoint.At(ctx, syncpoint.LockSyncPoint)
}

// release gives the backup lock back and notes how long it was held.
func (e *engine) release(ctx context.Context) error {
	e.manifest.Lock.Waited += ms(e.held.Waited())
	held, err := e.held.Release(context.WithoutCancel(ctx))
	e.held = nil
	e.manifest.Lock.Held += ms(held)
	if err != nil {
		return code.Default(code.Lock, fmt.Errorf("release the backup lock: %w", err))
	}
	return nil
}

const (
	// windowLimit bounds everything that is waited for under the lock.
	windowLimit = 30 * time.Second
	// patience is how long the redo may take to appear in the files by itself before the
	// server is asked to write it out.
	patience = 3 * time.Millisecond
)
