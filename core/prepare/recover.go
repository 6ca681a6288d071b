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

	"golang.org/x/sys/unix"

	"github.com/remora-backup/remora/core/code"
	"github.com/remora-backup/remora/core/mysqld"
	"github.com/remora-backup/remora/core/run"
	"github.com/remora-backup/remora/core/syncpoint"
)

// LogName is what the recovering server said; it stays if the recovery failed.
const LogName = "remora-prepare.log"

// recoverPhase lets a mysqld recover the directory to exactly the end of the backup.
type recoverPhase struct {
	*site
	args  []string // for it, before ours
	pool  int64    // of buffers, bytes; 0 chooses by the free memory
	words *lastWords
}

func (w recoverPhase) do(ctx context.Context, t *run.Task) error {
	end := uint64(w.log.end)
	t.Progress(run.Progress{TargetLSN: end})
	whole := run.Progress{Percent: new(100), LSN: end, TargetLSN: end}
	if w.journal.Stage == recovered {
		t.Progress(whole)
		return w.destroys(ctx, t)
	}
	if err := syncpoint.Between(ctx, syncpoint.PrepareBinlog); err != nil {
		return err
	}
	logBin, err := w.copyBinlog()
	if err != nil {
		return err
	}
	if err := syncpoint.Between(ctx, syncpoint.PrepareJournal); err != nil {
		return err
	}
	if err := w.destroys(ctx, t); err != nil {
		return err
	}
	if err := syncpoint.Between(ctx, syncpoint.PrepareDestructive); err != nil {
		return err
	}
	if err := w.journal.enter(w.root, recovering); err != nil {
		return err
	}
	if err := syncpoint.Between(ctx, syncpoint.PrepareSpawn); err != nil {
		return err
	}
	if err := w.runServer(ctx, t, logBin); err != nil {
		return err
	}
	if err := syncpoint.Between(ctx, syncpoint.PrepareRecovered); err != nil {
		return err
	}
	t.Progress(whole)
	if err := w.journal.enter(w.root, recovered); err != nil {
		return err
	}
	return syncpoint.Between(ctx, syncpoint.PrepareKept)
}

// destroys remembers that the files are not the backup's any more: the history knows it
// before it is so.
func (w recoverPhase) destroys(ctx context.Context, t *run.Task) error {
	if err := t.Destructive(ctx); err != nil {
		return fmt.Errorf("remember that the directory changes: %w", err)
	}
	w.words.changing.Store(true)
	return nil
}

func (w recoverPhase) runServer(ctx context.Context, t *run.Task, logBin string) error {
	log, err := w.root.OpenFile(LogName, os.O_WRONLY|os.O_CREATE|os.O_TRUNC|unix.O_NOFOLLOW, fileMode)
	if err != nil {
		return fmt.Errorf("open the log of the recovery: %w", err)
	}
	lines := bufio.NewWriter(log)
	pool := w.pool
	if pool == 0 {
		pool = mysqld.BufferPool(dataBytes(w.root))
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	done, err := mysqld.Recover(ctx, mysqld.RecoverOptions{
		Bin: w.bin, Args: w.args, DataDir: w.path, Home: filepath.Join(w.path, homeName, "server"),
		StartLSN: uint64(w.log.checkpoint), EndLSN: uint64(w.log.end),
		PageSize: w.log.page, DataFilePath: w.dataFilePath, UndoDir: w.undoDir, LowerCaseTableNames: w.lowerCase,
		BufferPool: pool, LogBin: logBin, Statements: w.journal.As.AtRecovery(),
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
	if err := errors.Join(lines.Flush(), log.Close()); err != nil {
		return err
	}
	return w.seen(done)
}

// missing is what a server says that has no file for some tablespaces of the dictionary:
// which, and how many.
var missing = regexp.MustCompile(`Found \d+ missing|Tablespace \d+, name .* is missing!`)

var binlogNumber = regexp.MustCompile(`^\.[0-9]{6,10}$`)

// copyBinlog puts a copy of the binary log, cut at the position, where only the recovering
// server finds it: that server begins another file, and changes the index.
func (w recoverPhase) copyBinlog() (logBin string, err error) {
	if err := w.root.RemoveAll(homeName); err != nil {
		return "", fmt.Errorf("remove the remains of an earlier run: %w", err)
	}
	p := w.binlog
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
		return "", fmt.Errorf("copy the binary log: %w", code.Full(err))
	}
	name := path.Join(homeName, "binlog"+path.Ext(p.File))
	to, err := w.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, fileMode)
	if err != nil {
		return "", fmt.Errorf("copy the binary log: %w", code.Full(err))
	}
	_, err = io.CopyN(to, from, int64(p.Offset))
	if errors.Is(err, io.EOF) {
		err = code.New(code.Integrity, "%s ends before the backup's position %d", p.File, p.Offset)
	}
	if err := errors.Join(err, to.Close()); err != nil {
		return "", fmt.Errorf("copy the binary log: %w", code.Full(err))
	}
	index := path.Join(homeName, "binlog.index")
	if err := writeFile(w.root, index, []byte(filepath.Join(w.path, name)+"\n")); err != nil {
		return "", fmt.Errorf("copy the binary log: %w", code.Full(err))
	}
	return filepath.Join(w.path, homeName, "binlog"), nil
}

// dataBytes is about how much data there is.
func dataBytes(root *os.Root) (n int64) {
	_ = fs.WalkDir(root.FS(), ".", func(_ string, d fs.DirEntry, err error) error {
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
