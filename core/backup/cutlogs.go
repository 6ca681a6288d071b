package backup

import (
	"context"
	"fmt"
	"time"

	"github.com/remora-backup/remora/core/binlog"
	"github.com/remora-backup/remora/core/code"
	"github.com/remora-backup/remora/core/innodb/redo"
	"github.com/remora-backup/remora/core/repo"
	"github.com/remora-backup/remora/core/run"
	"github.com/remora-backup/remora/core/syncpoint"
)

// cutLogs stores what was read under the lock, and gets the redo and the binlog up to exactly
// the sync point.
type cutLogs struct {
	*site
	locked *locked
	redo   *capture
	point  *point
}

// logs are those files of the backup, and the GTID set that they end with.
type logs struct {
	files    []repo.File
	executed binlog.GTIDSet
}

func (c cutLogs) do(ctx context.Context, _ *run.Task) (*logs, error) {
	if err := c.point.kept.Store(ctx, c.packers); err != nil {
		return nil, err
	}
	redoFile, err := c.cutRedo(ctx)
	if err != nil {
		return nil, err
	}
	set, err := binlog.ParseGTIDSet(c.point.at.GTIDExecuted)
	if err != nil {
		return nil, fmt.Errorf("read gtid_executed: %w", err)
	}
	l := &logs{files: []repo.File{redoFile}, executed: set}
	if b := c.point.binlog; b != nil {
		file, executed, err := b.store(ctx, c.site)
		if err != nil {
			return nil, err
		}
		l.files = append(l.files, file)
		l.executed.Union(executed)
	}
	return l, syncpoint.At(ctx, syncpoint.TailDone)
}

// cutRedo waits until the redo up to the sync point is in the backup, and ends all that
// followed it.
func (c cutLogs) cutRedo(ctx context.Context) (repo.File, error) {
	if err := syncpoint.At(ctx, syncpoint.TailRedo); err != nil {
		return repo.File{}, err
	}
	if err := c.redo.flush(ctx); err != nil {
		return repo.File{}, err
	}
	end, first := redo.LSN(c.point.at.LSN), c.redo.log.Checkpoint().BlockStart()
	ctx, cancel := context.WithTimeoutCause(ctx, time.Minute, code.New(code.RedoOverrun, "redo up to the sync point LSN %d did not appear within a minute", end))
	defer cancel()
	if err := c.redo.wait(ctx); err != nil {
		return repo.File{}, fmt.Errorf("copy redo up to the sync point LSN %d: %w", end, err)
	}
	if c.locked.altered {
		if err := c.redo.ledger.logged(); err != nil {
			return repo.File{}, err
		}
	}
	if err := syncpoint.At(ctx, syncpoint.TailRedoDone); err != nil {
		return repo.File{}, err
	}
	if err := c.redo.close(ctx); err != nil {
		return repo.File{}, err
	}
	file := c.redo.redoFile()
	if want := int64(end.BlockStart()-first) + redo.BlockSize; file.Size != want {
		return repo.File{}, code.New(code.RedoOverrun, "%d bytes of redo were stored, LSN %d to %d are %d", file.Size, first, end, want)
	}
	return file, nil
}
