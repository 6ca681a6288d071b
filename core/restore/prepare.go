package restore

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/remora-backup/remora/core/code"
	"github.com/remora-backup/remora/core/mysqld"
	"github.com/remora-backup/remora/core/run"
	"github.com/remora-backup/remora/core/syncpoint"
)

// prepare lets a mysqld recover the files.
//
// Transactions that were prepared at the backup's position are committed if the binary
// log has them. When the server shuts down it has saved the GTIDs of that log in
// mysql.gtid_executed, so the log is not needed any more: the restored server begins a
// binary log of its own, of whatever name, and its gtid_executed is the backup's. (Seen
// on 9.7.4 with the same log_bin, another one, and none.)
func (r *restore) prepare(ctx context.Context, t *run.Task) error {
	t.Progress(run.Progress{TargetLSN: r.manifest.LSN.End})
	if stage := r.staging.state.Stage; stage == prepared || stage == publishing {
		t.Progress(r.whole())
		return nil
	}
	if err := syncpoint.At(ctx, syncpoint.PrepareBinlog); err != nil {
		return err
	}
	logBin, err := r.writeBinlogIndex()
	if err != nil {
		return err
	}
	if err := syncpoint.At(ctx, syncpoint.PrepareJournal); err != nil {
		return err
	}
	// From here on the files are not the backup's any more.
	if err := r.staging.enter(preparing); err != nil {
		return err
	}
	if err := syncpoint.At(ctx, syncpoint.PrepareSpawn); err != nil {
		return err
	}
	if err := r.recover(ctx, t, logBin); err != nil {
		return err
	}
	if err := syncpoint.At(ctx, syncpoint.PrepareRecovered); err != nil {
		return err
	}
	t.Progress(r.whole())
	if err := r.dropServerFiles(); err != nil {
		return err
	}
	if err := syncpoint.At(ctx, syncpoint.PrepareDropped); err != nil {
		return err
	}
	if err := r.staging.owner.tree(r.staging.dir, dataName); err != nil {
		return fmt.Errorf("give the files to their owner: %w", err)
	}
	if err := syncpoint.At(ctx, syncpoint.PrepareOwned); err != nil {
		return err
	}
	if err := r.staging.sync(); err != nil {
		return err
	}
	if err := syncpoint.At(ctx, syncpoint.PrepareSynced); err != nil {
		return err
	}
	if err := r.staging.enter(prepared); err != nil {
		return err
	}
	return syncpoint.At(ctx, syncpoint.PrepareDone)
}

// whole is the last progress of a phase.
func (r *restore) whole() run.Progress {
	return run.Progress{Percent: new(100), LSN: r.manifest.LSN.End, TargetLSN: r.manifest.LSN.End}
}

func (r *restore) recover(ctx context.Context, t *run.Task, logBin string) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	log, err := r.staging.dir.OpenFile(logName, os.O_WRONLY|os.O_CREATE|os.O_TRUNC|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return fmt.Errorf("open the log of the recovery: %w", noSpace(err))
	}
	lines := &serverLog{to: bufio.NewWriter(log)}
	s, lsn := &r.manifest.Server, &r.manifest.LSN
	pool := r.cfg.BufferPool
	if pool == 0 {
		pool = mysqld.BufferPool(r.manifest.Totals.Plain)
	}
	done, err := mysqld.Recover(ctx, mysqld.RecoverOptions{
		Bin: r.bin, Args: r.cfg.MysqldArgs, DataDir: r.staging.dataPath(),
		StartLSN: lsn.Checkpoint, EndLSN: lsn.End,
		PageSize: s.PageSize, DataFilePath: r.system.dataFilePath, UndoDir: r.system.undoDir, LowerCaseTableNames: s.LowerCaseTableNames,
		BufferPool: pool, LogBin: logBin,
		OnProgress: func(p mysqld.Progress) {
			t.Progress(run.Progress{Percent: p.Percent, LSN: p.LSN, TargetLSN: p.TargetLSN, ETA: p.ETA})
			if err := syncpoint.At(ctx, syncpoint.PrepareProgress); err != nil {
				cancel(err)
			}
		},
		OnLine: lines.add,
	})
	if err != nil {
		_ = errors.Join(lines.to.Flush(), log.Close()) // what the server said is in err too
		if ctx.Err() != nil {
			return fmt.Errorf("%w: %w", context.Cause(ctx), err)
		}
		return code.Hint(code.Of(err), r.adviceOn(err), "%w", err)
	}
	for _, e := range done.Errors {
		t.Note("mysqld: %s", e)
	}
	if err := errors.Join(lines.to.Flush(), log.Close()); err != nil {
		t.Warn("keep the log of the recovery, which went well: %v", err)
	}
	return nil
}

// serverLog keeps what the recovering server says, up to a limit: one that meets a full
// disk says the same many times a second.
type serverLog struct {
	to   *bufio.Writer
	size int
}

const maxServerLog = 64 << 20 // bytes

func (l *serverLog) add(line string) {
	if l.size += len(line) + 1; l.size <= maxServerLog {
		_, _ = l.to.WriteString(line + "\n") // an error shows at the Flush
	}
}

// adviceOn says where a person looks when the server could not recover.
func (r *restore) adviceOn(err error) string {
	hint := "all that mysqld said is in " + filepath.Join(r.incomplete(), logName)
	if code.Of(err) == code.Unclassified {
		hint += "; if it may not open its files: AppArmor or SELinux can confine it to its usual directories"
	}
	return hint
}

// dropServerFiles removes what belongs to the server that recovered: its identity, so
// that the restored one makes its own, and its doublewrite files.
func (r *restore) dropServerFiles() error {
	names, err := r.staging.entries()
	if err != nil {
		return fmt.Errorf("read the data: %w", err)
	}
	for _, name := range names {
		if name == "#innodb_redo" || !left(name) {
			continue
		}
		if err := r.staging.dir.RemoveAll(dataName + "/" + name); err != nil {
			return fmt.Errorf("remove %s: %w", name, err)
		}
	}
	return nil
}

// changes remembers that from now on what lies in the target changes.
func (r *restore) changes(ctx context.Context, t *run.Task) error {
	if err := t.Destructive(ctx); err != nil {
		return fmt.Errorf("remember that the target changes: %w", err)
	}
	r.changing.Store(true)
	return at(ctx, syncpoint.PublishDestructive)
}

// publish makes the target a data directory.
func (r *restore) publish(ctx context.Context, t *run.Task) error {
	if err := at(ctx, syncpoint.PublishBefore); err != nil {
		return err
	}
	if err := r.staging.publish(ctx, func() error { return r.changes(ctx, t) }, t.Commit); err != nil {
		return err
	}
	_ = syncpoint.At(ctx, syncpoint.PublishDone) // nothing here can undo the restore
	if err := r.staging.remove(); err != nil {
		t.Warn("%v", err)
	}
	_ = syncpoint.At(ctx, syncpoint.PublishRemoved)
	r.tellSettings(t)
	if r.owner.root() {
		t.Note("the files belong to root, as %s does: give them to the server's user before it is started", r.place.path)
	}
	return nil
}
