package prepare

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/remora-backup/remora/core/code"
	"github.com/remora-backup/remora/core/innodb/redo"
	"github.com/remora-backup/remora/core/version"
	"github.com/remora-backup/remora/core/xtrabackup"
)

// openIncremental opens the incremental backup, if there is one.
func (w *work) openIncremental() (err error) {
	if w.cfg.Incremental == "" {
		return nil
	}
	if w.incPath, err = filepath.Abs(w.cfg.Incremental); err != nil {
		return fmt.Errorf("find the incremental backup: %w", err)
	}
	if w.inc, err = os.OpenRoot(w.incPath); err != nil {
		return code.New(code.Usage, "open the incremental backup: %w", err)
	}
	return nil
}

// described is the directory with the files that describe the state to recover.
func (w *work) described() *os.Root {
	if w.inc != nil {
		return w.inc
	}
	return w.root
}

// readXtraBackup reads what XtraBackup wrote beside the data.
func (w *work) readXtraBackup(list found) error {
	points, err := w.readTypes()
	if err != nil || w.already {
		return err
	}
	base := list
	if w.inc != nil {
		if list, err = listDir(w.inc); err != nil {
			return err
		}
	}
	for _, f := range []found{base, list} {
		for name := range f.files {
			if tool := xtrabackup.Packed(name); tool != "" {
				return code.Hint(code.Target, tool, "read %s: %s is packed; unpack the backup first", w.path, name)
			}
		}
	}
	info, err := readWith(w.described(), xtrabackup.InfoName, xtrabackup.ParseInfo)
	if err != nil {
		return err
	}
	w.lockDDL = info.LockDDL
	settings, err := readWith(w.described(), xtrabackup.SettingsName, xtrabackup.ParseSettings)
	if err != nil {
		return err
	}
	s := &w.source
	s.kind = kindXtraBackup
	if s.server, err = version.Parse(info.ServerVersion, info.ServerFlavor); err != nil {
		return code.New(code.Integrity, "read %s: %w", xtrabackup.InfoName, err)
	}
	if list.files[xtrabackup.BinlogInfoName] {
		if s.binlog, err = readWith(w.described(), xtrabackup.BinlogInfoName, xtrabackup.ParseBinlogInfo); err != nil {
			return err
		}
	}
	if err := w.planXtraBackup(base, list, info); err != nil {
		return err
	}
	s.dataFilePath = flat(settings.DataFilePath)
	if s.lowerCase, err = w.readLowerCase(); err != nil {
		return err
	}
	s.log = redoLog{name: xtrabackup.LogName, end: redo.LSN(points.Last), page: settings.PageSize}
	if !settings.LogChecksums {
		s.log.sums = redo.AllowNone
	}
	if w.resuming() {
		return nil
	}
	return w.openXtraBackupLog()
}

// resuming reports whether an earlier run has recovered the directory.
func (w *work) resuming() bool { return w.journal != nil && w.journal.Stage == recovered }

// readTypes reads which LSNs to recover, and accepts a full backup that was not prepared,
// or an incremental one with its base.
func (w *work) readTypes() (xtrabackup.Checkpoints, error) {
	points, err := readWith(w.root, xtrabackup.CheckpointsName, xtrabackup.ParseCheckpoints)
	if err != nil || w.inc == nil {
		if err == nil && !w.resuming() {
			err = w.checkType(points)
		}
		return points, err
	}
	inc, err := readWith(w.inc, xtrabackup.CheckpointsName, xtrabackup.ParseCheckpoints)
	switch {
	case err != nil || w.resuming():
		return inc, err
	case inc.Type != xtrabackup.Incremental:
		return inc, code.New(code.Target, "read %s: it is %s, no incremental backup", w.incPath, inc.Type)
	case points.Type != xtrabackup.LogApplied:
		return inc, code.Hint(code.Target, "xtrabackup --prepare --apply-log-only --target-dir=DIR",
			"read %s: it is %s; the base of an incremental backup must be prepared with --apply-log-only first, which only XtraBackup can: a server would roll back what the increment goes on with", w.path, points.Type)
	case points.To != inc.From:
		return inc, code.New(code.Integrity, "read %s: the incremental backup goes on from LSN %d, its base ends at %d: they do not belong together", w.incPath, inc.From, points.To)
	case inc.To > inc.Last:
		return inc, code.New(code.Integrity, "read %s: to_lsn %d is after last_lsn %d", xtrabackup.CheckpointsName, inc.To, inc.Last)
	}
	return inc, nil
}

// checkType accepts a full backup that was not prepared.
func (w *work) checkType(points xtrabackup.Checkpoints) error {
	switch points.Type {
	case xtrabackup.FullPrepared:
		w.already = true
		return nil
	case xtrabackup.LogApplied:
		return code.Hint(code.Target, "finish it with XtraBackup: xtrabackup --prepare --target-dir=DIR",
			"read %s: it is log-applied, prepared in part by XtraBackup for incremental backups to follow", w.path)
	case xtrabackup.Incremental:
		return code.Hint(code.Target, "remora prepare BASE --incremental DIR",
			"read %s: it is an incremental backup, which no server can recover without its base", w.path)
	}
	if points.To > points.Last {
		return code.New(code.Integrity, "read %s: to_lsn %d is after last_lsn %d", xtrabackup.CheckpointsName, points.To, points.Last)
	}
	return nil
}

// planXtraBackup plans the markers, unless an earlier run did.
func (w *work) planXtraBackup(base, list found, info xtrabackup.Info) error {
	if len(list.markers) > 0 && info.LockDDL != "REDUCED" {
		return code.New(code.Integrity, "read %s: there is a marker file %s, but the backup was taken with --lock-ddl=%s", w.path, list.markers[0].Path, info.LockDDL)
	}
	if w.inc != nil {
		if err := list.readRenames(w.inc); err != nil {
			return err
		}
		return w.planIncremental(base, list)
	}
	if w.journal != nil {
		w.source.markers = -1
		return nil
	}
	for name := range list.files {
		if xtrabackup.IsIncremental(name) {
			return code.New(code.Integrity, "read %s: %s belongs to an incremental backup, this is a full one", w.path, name)
		}
	}
	if list.dirs[redo.Dir] {
		return code.New(code.Integrity, "read %s: %s is there already, as if a server had run here", w.path, redo.Dir)
	}
	if err := list.readMarkers(w.root); err != nil {
		return err
	}
	var err error
	w.groups, err = planMarkers(list)
	w.source.markers = len(list.markers)
	return err
}

// openXtraBackupLog opens xtrabackup_logfile and reads where it begins.
func (w *work) openXtraBackupLog() error {
	l := &w.source.log
	file, err := w.described().Open(l.name)
	if errors.Is(err, fs.ErrNotExist) {
		return code.New(code.Integrity, "open the redo log: %s has no %s", w.path, l.name)
	}
	if err != nil {
		return fmt.Errorf("open the redo log: %w", err)
	}
	l.parts = []part{{file: file}}
	h, err := headerOf(file)
	if err != nil {
		return fmt.Errorf("read %s: %w", l.name, err)
	}
	if !strings.HasPrefix(h.Creator, xtrabackup.CreatorPrefix) {
		return code.Hint(code.Target, "take the directory from the backup again",
			"read %s: its creator is %q: it was used already to prepare this directory", l.name, h.Creator)
	}
	size, err := file.Stat()
	if err != nil {
		return fmt.Errorf("read %s: %w", l.name, err)
	}
	l.checkpoint, l.info = h.Checkpoint(), h.Encryption
	start := l.checkpoint.BlockStart()
	blocks := (size.Size() - redo.HeaderSize) / redo.BlockSize
	l.parts[0].start, l.parts[0].stop = start, start+redo.LSN(blocks*redo.BlockSize)
	return nil
}

// readWith reads one of the files that describe a backup.
func readWith[T any](root *os.Root, name string, parse func([]byte) (T, error)) (T, error) {
	b, err := root.ReadFile(name)
	if err != nil {
		var zero T
		return zero, code.New(code.Integrity, "read the backup's description: %w", err)
	}
	v, err := parse(b)
	return v, code.Default(code.Integrity, err)
}
