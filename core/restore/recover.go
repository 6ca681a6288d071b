package restore

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/remora-backup/remora/core/code"
	"github.com/remora-backup/remora/core/inert"
	"github.com/remora-backup/remora/core/innodb/redo"
	"github.com/remora-backup/remora/core/mysqld"
	"github.com/remora-backup/remora/core/run"
	"github.com/remora-backup/remora/core/staging"
	"github.com/remora-backup/remora/core/syncpoint"
)

// recovery is the phase preparing_backup: a mysqld recovers the files.
//
// Transactions that were prepared at the backup's position are committed if the binary
// log has them. When the server shuts down it has saved the GTIDs of that log in
// mysql.gtid_executed, so the log is not needed any more: the restored server begins a
// binary log of its own, of whatever name, and its gtid_executed is the backup's. (Seen
// on 9.7.4 with the same log_bin, another one, and none.)
type recovery struct {
	from *source
	dir  *staging.Dir
	args []string // for the server, before ours
	pool int64    // innodb_buffer_pool_size, bytes; 0 chooses by the free memory
	as   inert.Role
}

func (r recovery) do(ctx context.Context, t *run.Task) (ready, error) {
	end := r.from.manifest.LSN.End
	whole := run.Progress{Percent: new(100), LSN: end, TargetLSN: end}
	t.Progress(run.Progress{TargetLSN: end})
	if r.dir.Stage().Past() {
		t.Progress(whole)
		was, err := r.recorded()
		return ready{r.dir, was}, err
	}
	if err := syncpoint.At(ctx, syncpoint.PrepareBinlog); err != nil {
		return ready{}, err
	}
	logBin, err := r.writeBinlogIndex()
	if err != nil {
		return ready{}, err
	}
	if err := syncpoint.At(ctx, syncpoint.PrepareJournal); err != nil {
		return ready{}, err
	}
	// From here on the files are not the backup's any more.
	if err := r.dir.Enter(staging.Preparing); err != nil {
		return ready{}, err
	}
	if err := syncpoint.At(ctx, syncpoint.PrepareSpawn); err != nil {
		return ready{}, err
	}
	done, err := r.server(ctx, t, logBin)
	if err != nil {
		return ready{}, err
	}
	if err := syncpoint.At(ctx, syncpoint.PrepareRecovered); err != nil {
		return ready{}, err
	}
	t.Progress(whole)
	record, err := r.finish(ctx, done)
	return ready{r.dir, record}, err
}

// finish makes of what the server left what the target is to hold.
func (r recovery) finish(ctx context.Context, done mysqld.RecoverResult) (inert.Record, error) {
	if err := r.dropServerFiles(); err != nil {
		return inert.Record{}, err
	}
	record, err := r.quiet(done)
	if err != nil {
		return inert.Record{}, err
	}
	if err := syncpoint.At(ctx, syncpoint.PrepareDropped); err != nil {
		return inert.Record{}, err
	}
	return record, r.settle(ctx)
}

// settle gives the files to their owner and makes them durable.
func (r recovery) settle(ctx context.Context) error {
	if err := r.dir.Owner().Tree(r.dir.Root(), staging.Data); err != nil {
		return fmt.Errorf("give the files to their owner: %w", err)
	}
	if err := syncpoint.At(ctx, syncpoint.PrepareOwned); err != nil {
		return err
	}
	if err := r.dir.Sync(); err != nil {
		return err
	}
	if err := syncpoint.At(ctx, syncpoint.PrepareSynced); err != nil {
		return err
	}
	if err := r.dir.Complete(); err != nil {
		return err
	}
	return syncpoint.At(ctx, syncpoint.PrepareDone)
}

// writeBinlogIndex names the binary log to the recovering server, which takes the last
// line for the one that was written when the server ended.
func (r recovery) writeBinlogIndex() (logBin string, err error) {
	log := r.from.tree.binlog
	if log == "" {
		return "", nil
	}
	line := filepath.Join(r.dir.Path(), log) + "\n"
	if err := r.dir.WriteFile(path.Join(staging.Binlog, binlogBase+".index"), []byte(line)); err != nil {
		return "", fmt.Errorf("write the index of the binary log: %w", code.Full(err))
	}
	return filepath.Join(r.dir.Path(), staging.Binlog, binlogBase), nil
}

// server runs the server until it has ended.
func (r recovery) server(ctx context.Context, t *run.Task, logBin string) (mysqld.RecoverResult, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	log, err := r.dir.Root().OpenFile(staging.Log, os.O_WRONLY|os.O_CREATE|os.O_TRUNC|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return mysqld.RecoverResult{}, fmt.Errorf("open the log of the recovery: %w", code.Full(err))
	}
	lines := &serverLog{to: bufio.NewWriter(log)}
	s, lsn := &r.from.manifest.Server, &r.from.manifest.LSN
	pool := r.pool
	if pool == 0 {
		pool = mysqld.BufferPool(r.from.manifest.Totals.Plain)
	}
	done, err := mysqld.Recover(ctx, mysqld.RecoverOptions{
		Bin: r.from.mysqld, Args: r.args, DataDir: r.dir.DataPath(), Home: filepath.Join(r.dir.Path(), "server"), Own: r.dir.Owner().Path,
		StartLSN: lsn.Checkpoint, EndLSN: lsn.End,
		PageSize: s.PageSize, DataFilePath: r.from.system.dataFilePath, UndoDir: r.from.system.undoDir, LowerCaseTableNames: s.LowerCaseTableNames,
		BufferPool: pool, LogBin: logBin, Statements: r.as.AtRecovery(),
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
			return done, fmt.Errorf("%w: %w", context.Cause(ctx), err)
		}
		return done, code.Hint(code.Of(err), r.adviceOn(err), "%w", err)
	}
	if err := seen(&r.from.manifest, r.from.tree, done.Answers); err != nil {
		_ = errors.Join(lines.to.Flush(), log.Close())
		return done, code.Hint(code.Of(err), r.adviceOn(err), "%w", err)
	}
	for _, e := range done.Errors {
		t.Note("mysqld: %s", e)
	}
	if err := errors.Join(lines.to.Flush(), log.Close()); err != nil {
		t.Warn("keep the log of the recovery, which went well: %v", err)
	}
	return done, nil
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
func (r recovery) adviceOn(err error) string {
	hint := "all that mysqld said is in " + filepath.Join(r.dir.Path(), staging.Log)
	if code.Of(err) == code.Unclassified {
		hint += "; if it may not open its files: AppArmor or SELinux can confine it to its usual directories"
	}
	return hint
}

// dropServerFiles removes what belongs to the server that recovered: its identity, so
// that the restored one makes its own, and its doublewrite files.
func (r recovery) dropServerFiles() error {
	names, err := r.dir.Entries()
	if err != nil {
		return fmt.Errorf("read the data: %w", err)
	}
	for _, name := range names {
		if name == redo.Dir || !madeAnew(name) && name != tempDir || r.from.tree.covers(name) {
			continue
		}
		if err := r.dir.Root().RemoveAll(staging.Data + "/" + name); err != nil {
			return fmt.Errorf("remove %s: %w", name, err)
		}
	}
	return nil
}
