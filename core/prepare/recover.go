package prepare

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/remora-backup/remora/core/code"
	"github.com/remora-backup/remora/core/innodb/redo"
	"github.com/remora-backup/remora/core/mysqld"
	"github.com/remora-backup/remora/core/run"
	"github.com/remora-backup/remora/core/syncpoint"
	"github.com/remora-backup/remora/core/xtrabackup"
)

// LogName is what the recovering server said; it stays if the recovery failed.
const LogName = "remora-prepare.log"

// recover lets a mysqld recover the directory. See restore.prepare for what the binary log
// is for.
func (w *work) recover(ctx context.Context, t *run.Task) error {
	end := uint64(w.source.log.end)
	t.Progress(run.Progress{TargetLSN: end})
	whole := run.Progress{Percent: new(100), LSN: end, TargetLSN: end}
	if w.journal.Stage == recovered {
		t.Progress(whole)
		return w.destroys(ctx, t)
	}
	if err := at(ctx, syncpoint.PrepareBinlog); err != nil {
		return err
	}
	logBin, err := w.copyBinlog()
	if err != nil {
		return err
	}
	if err := at(ctx, syncpoint.PrepareJournal); err != nil {
		return err
	}
	if err := w.destroys(ctx, t); err != nil {
		return err
	}
	if err := at(ctx, syncpoint.PrepareDestructive); err != nil {
		return err
	}
	if err := w.journal.enter(w.root, recovering); err != nil {
		return err
	}
	if err := at(ctx, syncpoint.PrepareSpawn); err != nil {
		return err
	}
	if err := w.runServer(ctx, t, logBin); err != nil {
		return err
	}
	if err := at(ctx, syncpoint.PrepareRecovered); err != nil {
		return err
	}
	t.Progress(whole)
	if err := w.journal.enter(w.root, recovered); err != nil {
		return err
	}
	return at(ctx, syncpoint.PrepareKept)
}

// destroys remembers that the files are not the backup's any more: the history knows it
// before it is so.
func (w *work) destroys(ctx context.Context, t *run.Task) error {
	if err := t.Destructive(ctx); err != nil {
		return fmt.Errorf("remember that the directory changes: %w", err)
	}
	w.changing.Store(true)
	return nil
}

func (w *work) runServer(ctx context.Context, t *run.Task, logBin string) error {
	log, err := w.root.OpenFile(LogName, os.O_WRONLY|os.O_CREATE|os.O_TRUNC|unix.O_NOFOLLOW, fileMode)
	if err != nil {
		return fmt.Errorf("open the log of the recovery: %w", err)
	}
	lines := bufio.NewWriter(log)
	s, pool := &w.source, w.cfg.BufferPool
	if pool == 0 {
		pool = mysqld.BufferPool(w.dataBytes())
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	done, err := mysqld.Recover(ctx, mysqld.RecoverOptions{
		Bin: w.bin, Args: w.cfg.MysqldArgs, DataDir: w.path,
		StartLSN: uint64(s.log.checkpoint), EndLSN: uint64(s.log.end),
		PageSize: s.log.page, DataFilePath: s.dataFilePath, UndoDir: s.undoDir, LowerCaseTableNames: s.lowerCase,
		BufferPool: pool, LogBin: logBin,
		OnProgress: func(p mysqld.Progress) {
			t.Progress(run.Progress{Percent: p.Percent, LSN: p.LSN, TargetLSN: p.TargetLSN, ETA: p.ETA})
			if err := syncpoint.At(ctx, syncpoint.PrepareProgress); err != nil {
				cancel(err)
			}
		},
		OnLine: func(line string) {
			_, _ = lines.WriteString(line + "\n") // an error shows at the Flush
			if missing.MatchString(line) {
				t.Warn("the data dictionary names a tablespace that no file holds; mysqld: %s", line)
			}
		},
	})
	if err != nil {
		_ = errors.Join(lines.Flush(), log.Close()) // what the server said is in err too
		if cause := context.Cause(ctx); cause != nil {
			return cause
		}
		return err
	}
	for _, e := range done.Errors {
		t.Note("mysqld: %s", e)
	}
	return errors.Join(lines.Flush(), log.Close())
}

// missing is what a server says that has no file for some tablespaces of the dictionary:
// which, and how many.
var missing = regexp.MustCompile(`Found \d+ missing|Tablespace \d+, name .* is missing!`)

var binlogNumber = regexp.MustCompile(`^\.[0-9]{6,10}$`)

// copyBinlog puts a copy of the binary log, cut at the position, where only the recovering
// server finds it: that server begins another file, and changes the index.
func (w *work) copyBinlog() (logBin string, err error) {
	if err := w.root.RemoveAll(homeName); err != nil {
		return "", fmt.Errorf("remove the remains of an earlier run: %w", err)
	}
	p := w.source.binlog
	if p.File == "" {
		return "", nil
	}
	if !binlogNumber.MatchString(path.Ext(p.File)) {
		return "", code.New(code.Integrity, "copy the binary log: %q is no name of one", p.File)
	}
	from, err := w.root.Open(p.File)
	if err != nil {
		return "", code.New(code.Integrity, "copy the binary log of the backup's position: %w", err)
	}
	defer from.Close()
	if err := w.root.Mkdir(homeName, 0o700); err != nil {
		return "", fmt.Errorf("copy the binary log: %w", noSpace(err))
	}
	name := path.Join(homeName, "binlog"+path.Ext(p.File))
	to, err := w.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, fileMode)
	if err != nil {
		return "", fmt.Errorf("copy the binary log: %w", noSpace(err))
	}
	_, err = io.CopyN(to, from, int64(p.Offset))
	if errors.Is(err, io.EOF) {
		err = code.New(code.Integrity, "%s ends before the backup's position %d", p.File, p.Offset)
	}
	if err := errors.Join(err, to.Close()); err != nil {
		return "", fmt.Errorf("copy the binary log: %w", noSpace(err))
	}
	index := path.Join(homeName, "binlog.index")
	if err := writeFile(w.root, index, []byte(filepath.Join(w.path, name)+"\n")); err != nil {
		return "", fmt.Errorf("copy the binary log: %w", noSpace(err))
	}
	return filepath.Join(w.path, homeName, "binlog"), nil
}

// dataBytes is about how much data there is.
func (w *work) dataBytes() (n int64) {
	_ = fs.WalkDir(w.root.FS(), ".", func(_ string, d fs.DirEntry, err error) error {
		if err != nil {
			return nil // it is an estimate
		}
		if info, err := d.Info(); err == nil && info.Mode().IsRegular() {
			n += info.Size()
		}
		return nil
	})
	return n
}

// finish removes what belongs to the server that recovered and tells other tools. Each
// step may be repeated.
func (w *work) finish(ctx context.Context, t *run.Task) error {
	if err := w.removeServerFiles(); err != nil {
		return fmt.Errorf("remove what the recovery left: %w", err)
	}
	if err := at(ctx, syncpoint.PrepareDropped); err != nil {
		return err
	}
	if w.source.kind == kindXtraBackup {
		if err := w.tellXtraBackup(); err != nil {
			return fmt.Errorf("mark the backup as prepared: %w", noSpace(err))
		}
	}
	if err := w.giveToOwner(); err != nil {
		return fmt.Errorf("give the files to their owner: %w", err)
	}
	if err := at(ctx, syncpoint.PrepareOwned); err != nil {
		return err
	}
	w.journal.Groups, w.journal.Done = nil, 0
	if err := w.journal.enter(w.root, prepared); err != nil {
		return err
	}
	t.Commit()
	_ = syncpoint.At(ctx, syncpoint.PrepareDone) // nothing here can undo it
	return nil
}

// removeServerFiles removes the identity of the server that recovered, its doublewrite
// files, and what was made for it.
func (w *work) removeServerFiles() error {
	entries, err := fs.ReadDir(w.root.FS(), ".")
	if err != nil {
		return err
	}
	for _, e := range entries {
		name := e.Name()
		ext := path.Ext(name)
		if name == "auto.cnf" || name == homeName || name == LogName || ext == ".dblwr" || ext == ".bdblwr" {
			if err := w.root.RemoveAll(name); err != nil {
				return err
			}
		}
	}
	return nil
}

// tellXtraBackup leaves xtrabackup_checkpoints and xtrabackup_logfile as XtraBackup does:
// it reads of them that nothing is left to do. The redo log stays where the server has it.
func (w *work) tellXtraBackup() error {
	if err := w.blankCreator(); err != nil {
		return err
	}
	b, err := w.described().ReadFile(xtrabackup.CheckpointsName)
	if err != nil {
		return err
	}
	const temp = xtrabackup.CheckpointsName + ".tmp"
	if err := writeFile(w.root, temp, xtrabackup.MarkPrepared(b)); err != nil {
		return err
	}
	return w.root.Rename(temp, xtrabackup.CheckpointsName)
}

func (w *work) blankCreator() error {
	f, err := w.root.OpenFile(xtrabackup.LogName, os.O_RDWR|unix.O_NOFOLLOW, 0)
	if errors.Is(err, fs.ErrNotExist) && w.inc != nil {
		return nil // its log is read where it is
	}
	if err != nil {
		return err
	}
	defer f.Close()
	h, err := headerOf(f)
	if err != nil {
		return err
	}
	h.Creator = xtrabackup.BlankCreator
	if _, err := f.WriteAt(h.Header.Append(nil)[:redo.BlockSize], 0); err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// giveToOwner gives what we and the server made to the owner of the directory. Only root
// can give files away.
func (w *work) giveToOwner() error {
	if os.Geteuid() != 0 {
		return nil
	}
	top, err := w.root.Stat(".")
	if err != nil {
		return err
	}
	own, ok := top.Sys().(*syscall.Stat_t)
	if !ok {
		return errors.New("the directory has none")
	}
	return fs.WalkDir(w.root.FS(), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if st, ok := info.Sys().(*syscall.Stat_t); ok && st.Uid == own.Uid && st.Gid == own.Gid {
			return nil
		}
		return w.root.Lchown(name, int(own.Uid), int(own.Gid))
	})
}
