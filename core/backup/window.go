package backup

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"github.com/remora-backup/remora/core/code"
	"github.com/remora-backup/remora/core/plug"
	"github.com/remora-backup/remora/core/run"
	"github.com/remora-backup/remora/core/syncpoint"
)

const (
	// windowLimit bounds everything that is waited for under the lock.
	windowLimit = 30 * time.Second
	// patience is how long the redo may take to appear in the files by itself before the
	// server is asked to write it out.
	patience = 3 * time.Millisecond
)

// lock takes the backup lock. While it is held no file of the server is created, renamed
// or removed, and no index is built without redo; DML goes on.
func (e *engine) lock(ctx context.Context, t *run.Task) error {
	if err := e.sameServer(ctx); err != nil {
		return err
	}
	if err := e.reachNow(ctx, time.Minute); err != nil {
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
	go func() {
		select {
		case <-held.Lost():
			e.fail(code.New(code.Lock, "the backup lock: %w", plug.ErrLockLost))
		case <-e.work.Done():
		}
	}()
	return nil
}

func (e *engine) acquire(ctx context.Context, scope plug.Scope) (plug.Held, error) {
	held, err := e.cfg.Lock.Acquire(ctx, scope, e.cfg.LockWait)
	if err != nil {
		return nil, code.Default(code.Lock, fmt.Errorf("take the %s lock: %w", scope, err))
	}
	return held, nil
}

// syncPoint does under the lock what cannot be done before: the rest of the copies, the
// proof that nothing is missing, and the position. Then it gives the lock back.
func (e *engine) syncPoint(ctx context.Context, t *run.Task) error {
	ctx, cancel := context.WithTimeoutCause(ctx, windowLimit, code.New(code.Lock, "the work under the lock took longer than %v", windowLimit))
	defer cancel()
	if err := syncpoint.At(ctx, syncpoint.LockHeld); err != nil {
		return err
	}
	if err := e.copyRest(ctx, t); err != nil {
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
	if err := e.release(ctx, t); err != nil {
		return err
	}
	t.Note("the server was locked for %.1f ms, after waiting %.1f ms for the lock", e.manifest.Lock.Held, e.manifest.Lock.Waited)
	return syncpoint.At(ctx, syncpoint.LockReleased)
}

// copyRest copies what changed since the last round. Names cannot change any more, so one
// look is enough; the second one proves it.
func (e *engine) copyRest(ctx context.Context, t *run.Task) error {
	now, err := e.cfg.Server.LogStatus(ctx)
	if err != nil {
		return err
	}
	if err := e.awaitSoon(ctx, now.LSN); err != nil {
		return err
	}
	for range 2 {
		seen, todo, err := e.outstanding(ctx)
		if err != nil {
			return err
		}
		e.last = seen
		if len(todo) == 0 {
			return e.complete(ctx)
		}
		if err := e.copier.all(ctx, t, todo); err != nil {
			return err
		}
	}
	_, todo, err := e.outstanding(ctx)
	if err != nil || len(todo) == 0 {
		return errors.Join(err, e.complete(ctx))
	}
	return code.New(code.CorruptPage, "%s has no good copy although no DDL runs: %s", todo[0].path, e.track.stale(todo[0]))
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

// complete proves that the backup has what the server has: every tablespace that the
// dictionary knows is on disk, and every one on disk has a good copy. Files that the
// dictionary does not know are no part of the server's data and are left out.
func (e *engine) complete(ctx context.Context) error {
	if len(e.last.blank) > 0 {
		return code.New(code.CorruptPage, "%s has no first page although no DDL runs", e.last.blank[0])
	}
	onDisk := make(map[fileKey]string, len(e.last.spaces))
	for _, en := range e.last.spaces {
		if other, twice := onDisk[en.key()]; twice {
			return code.New(code.CorruptPage, "%s and %s have the same space id %d", other, en.path, en.space)
		}
		onDisk[en.key()] = en.path
	}
	known, err := e.cfg.Server.Tablespaces(ctx)
	if err != nil {
		return err
	}
	ids := make(map[uint32]bool, len(known))
	for _, s := range known {
		ids[s.ID] = true
		if _, ok := onDisk[fileKey{s.ID, 0}]; !ok && s.HasFile() {
			return code.New(code.CorruptPage, "tablespace %s (space id %d) is in the dictionary and not in %s", s.Name, s.ID, e.dir.root)
		}
	}
	e.last.spaces = slices.DeleteFunc(e.last.spaces, func(en entry) bool {
		orphan := en.space != 0 && !ids[en.space]
		if orphan {
			e.notes = append(e.notes, fmt.Sprintf("%s (space id %d) is not in the server's dictionary and is left out", en.path, en.space))
		}
		return orphan
	})
	return nil
}

// copyOthers copies the files of other engines that changed. Only if users have tables of
// such engines are writes stopped for it; the lock returned is then held until the
// position is known.
func (e *engine) copyOthers(ctx context.Context) (plug.Held, error) {
	var tables plug.Held
	if foreign(e.last.others) {
		var err error
		if tables, err = e.acquire(ctx, plug.ScopeTables); err != nil {
			return nil, err
		}
	}
	err := e.others.refresh(ctx, e.last.others, true)
	if err != nil && tables != nil {
		_, rerr := tables.Release(context.WithoutCancel(ctx))
		return nil, errors.Join(err, rerr)
	}
	return tables, err
}

// foreign reports whether users have tables of other engines. The system's own, such as the
// general log, are of other engines too, and nobody's data.
func foreign(paths []string) bool {
	return slices.ContainsFunc(paths, func(p string) bool {
		schema, _ := filepath.Split(p)
		switch filepath.Clean(schema) {
		case "mysql", "performance_schema", "sys", "information_schema", ".":
			return false
		}
		return filepath.Ext(p) != ".sdi"
	})
}

// position takes the sync point: what the backup is a backup of.
func (e *engine) position(ctx context.Context) error {
	e.redo.hold()
	at, err := e.cfg.Server.LogStatus(ctx)
	if err != nil {
		return err
	}
	e.sync = at
	e.redo.stopAt(lsn(at.LSN))
	if at.BinlogFile != "" {
		if e.binlog, err = openBinlog(e.facts.LogBinBasename, at.BinlogFile, at.BinlogPosition); err != nil {
			return err
		}
	}
	return syncpoint.At(ctx, syncpoint.LockSyncPoint)
}

// release gives the backup lock back and notes how long it was held.
func (e *engine) release(ctx context.Context, t *run.Task) error {
	e.manifest.Lock.Waited = ms(e.held.Waited())
	held, err := e.held.Release(context.WithoutCancel(ctx))
	e.released = true
	e.manifest.Lock.Held = ms(held)
	if err != nil {
		return code.Default(code.Lock, fmt.Errorf("release the backup lock: %w", err))
	}
	return nil
}
