package backup

import (
	"context"
	"time"

	"github.com/remora-backup/remora/core/code"
	"github.com/remora-backup/remora/core/copier"
	"github.com/remora-backup/remora/core/datadir"
	"github.com/remora-backup/remora/core/innodb/redo"
	"github.com/remora-backup/remora/core/run"
	"github.com/remora-backup/remora/core/server"
	"github.com/remora-backup/remora/core/syncpoint"
)

// keptLimit bounds, in bytes, the memory for what is read under the lock; what is more than
// that is stored while the lock is held.
const keptLimit = 64 << 20

// syncPoint does under the lock what cannot be done before: the rest of the copies, the
// proof that nothing is missing, and the position. Then it gives the lock back.
type syncPoint struct {
	*site
	locked *locked
}

// point is what the backup is a backup of.
type point struct {
	at       server.LogStatus
	time     time.Time
	channels []server.Channel // as they were about then
	binlog   *binlogCopy      // open; nil if the server writes none
	kept     *copier.Kept     // what was read under the lock and is not stored yet
}

func (s syncPoint) do(ctx context.Context, t *run.Task) (*point, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, windowLimit, code.New(code.Lock, "the work under the lock took longer than %v", windowLimit))
	defer cancel()
	p := &point{kept: copier.Keep(keptLimit)}
	err := s.underLock(ctx, t, p)
	if err == nil {
		err = s.locked.holding.release(ctx)
	}
	if err != nil {
		return nil, s.whyLost(ctx, err)
	}
	times := s.locked.holding.times
	t.Note("the server was locked for %.1f ms, after waiting %.1f ms for the lock", times.Held, times.Waited)
	if times.Tables > 0 {
		t.Note("tables of other engines than InnoDB were locked against writes for %.1f ms", times.Tables)
	}
	if p.channels, err = channelsOf(ctx, s.server, p.at.Channels, s.locked.channels); err != nil {
		return nil, err
	}
	return p, syncpoint.At(ctx, syncpoint.LockReleased)
}

func (s syncPoint) underLock(ctx context.Context, t *run.Task, p *point) error {
	if err := syncpoint.At(ctx, syncpoint.LockRest); err != nil {
		return err
	}
	if err := s.copyRest(ctx, t, p.kept); err != nil {
		return err
	}
	if err := syncpoint.At(ctx, syncpoint.LockOthers); err != nil {
		return err
	}
	if err := s.copyOthers(ctx, t, p); err != nil {
		return err
	}
	if err := syncpoint.At(ctx, syncpoint.LockRelease); err != nil {
		return err
	}
	if err := s.locked.holding.check(ctx); err != nil {
		return code.New(code.Lock, "the lock at the sync point: %w", err)
	}
	return syncpoint.At(ctx, syncpoint.LockChecked)
}

// copyRest copies what changed since the last round and proves that the backup has what
// the server has: each tablespace of the dictionary lies where the dictionary says, with
// the right id (the look has made sure of that), and has a copy that nothing has spoiled
// since. No file is created, renamed or removed any more, so one look is enough.
func (s syncPoint) copyRest(ctx context.Context, t *run.Task, kept *copier.Kept) error {
	last, copies := &s.locked.last, s.locked.copies
	if err := copies.copier.Copy(ctx, last.todo, copier.Way{Advance: t.Advance, Kept: kept}); err != nil {
		return err
	}
	copies.survey.sort(last)
	if len(last.todo) > 0 {
		j := last.todo[0]
		if cp := copies.redo.ledger.spoiled(j.File); cp != nil {
			return damaged(cp.Spoiled())
		}
		return code.New(code.CorruptPage, "%s (space id %d) has no good copy although no DDL runs: %s", j.Path, j.Space, j.Why)
	}
	return datadir.Distinct(last.spaces)
}

// copyOthers copies the files of other engines that changed, and takes the position. If users
// have tables of such engines they are locked since the last look.
func (s syncPoint) copyOthers(ctx context.Context, t *run.Task, p *point) error {
	others := s.locked.last.Others
	if err := syncpoint.At(ctx, syncpoint.LockTables); err != nil {
		return err
	}
	if err := s.locked.copies.plain.Refresh(ctx, others, true); err != nil {
		return err
	}
	return s.position(ctx, t, p)
}

// position takes the sync point: what the backup is a backup of.
func (s syncPoint) position(ctx context.Context, t *run.Task, p *point) (err error) {
	if err := syncpoint.At(ctx, syncpoint.LockPosition); err != nil {
		return err
	}
	tail := s.locked.copies.redo.log.KeepTail()
	if p.at, err = s.server.LogStatus(ctx); err != nil {
		return err
	}
	p.time = time.Now()
	tail.EndAt(redo.LSN(p.at.LSN))
	if p.at.BinlogFile != "" {
		if p.binlog, err = openBinlog(s.facts.LogBinBasename, p.at.BinlogFile, p.at.BinlogPosition); err != nil {
			return err
		}
		t.Cleanup(func(context.Context, *run.Task, error) error { return p.binlog.file.Close() })
	}
	return syncpoint.At(ctx, syncpoint.LockSyncPoint)
}
