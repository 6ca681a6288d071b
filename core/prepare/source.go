package prepare

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/remora-backup/remora/core/code"
	"github.com/remora-backup/remora/core/innodb/redo"
	"github.com/remora-backup/remora/core/keyring"
	"github.com/remora-backup/remora/core/mysqld"
	"github.com/remora-backup/remora/core/repo"
	"github.com/remora-backup/remora/core/run"
	"github.com/remora-backup/remora/core/staging"
	"github.com/remora-backup/remora/core/syncpoint"
	"github.com/remora-backup/remora/core/version"
	"github.com/remora-backup/remora/core/xtrabackup"
)

// The kinds of directories.
const (
	kindExport     = "export"
	kindXtraBackup = "xtrabackup"
)

// source is what was found out about the directory.
type source struct {
	kind         string
	backup       string // id of an export
	server       version.Version
	log          redoLog
	dataFilePath string // innodb_data_file_path, all below the directory
	undoDir      string // innodb_undo_directory, relative; "" is the directory itself
	lowerCase    int    // lower_case_table_names
	binlog       xtrabackup.Position
	databases    []string // of an export
	markers      int
}

// creator is what the header of a made redo file says.
func (s *source) creator() string {
	return fmt.Sprintf("MySQL %d.%d.%d", s.server.Major, s.server.Minor, s.server.Patch)
}

// read finds out what the directory is and all that can be wrong, before any change.
func (w *work) read(ctx context.Context, t *run.Task) error {
	if err := at(ctx, syncpoint.ReadingStart); err != nil {
		return err
	}
	if err := w.open(); err != nil {
		return err
	}
	if err := w.openIncremental(); err != nil {
		return err
	}
	if done, err := w.earlier(t); done || err != nil {
		return err
	}
	list, err := listDir(w.root)
	if err != nil {
		return err
	}
	switch {
	case list.files[repo.ExportName]:
		err = w.readExport(list)
	case list.files[xtrabackup.CheckpointsName]:
		err = w.readXtraBackup(list)
	default:
		err = code.Hint(code.Target, "take it from the backup with its "+xtrabackup.CheckpointsName,
			"read %s: neither %s nor %s is in it, so it is no backup that can be prepared", w.path, repo.ExportName, xtrabackup.CheckpointsName)
	}
	if err != nil {
		return err
	}
	if w.already {
		t.Note("%s is prepared already, says %s: nothing is done", w.path, xtrabackup.CheckpointsName)
		return nil
	}
	if len(w.source.databases) > 0 {
		t.Databases(w.source.databases)
	}
	have := func(name string) bool { return list.files[name] || list.files[name+string(xtrabackup.New)] }
	if err := w.checkSystemFiles(have); err != nil {
		return err
	}
	if err := w.checkServer(ctx); err != nil {
		return err
	}
	t.Note("%s: %s of a server %v, redo from LSN %d to %d", w.path, w.source.kind, w.source.server, w.source.log.checkpoint, w.source.log.end)
	if w.journal != nil && w.journal.Stage == recovered {
		return nil // the redo has been used
	}
	w.source.log.open = func(e redo.Encryption) (*redo.Key, error) { return keyring.RedoKey(w.cfg.KeyringFile, w.path, e) }
	if err := w.source.log.check(ctx); err != nil {
		return err
	}
	if err := w.checkDDL(); err != nil {
		return err
	}
	return at(ctx, syncpoint.ReadingChecked)
}

func (w *work) open() error {
	abs, err := filepath.Abs(w.cfg.Dir)
	if err != nil {
		return fmt.Errorf("find the directory: %w", err)
	}
	if w.path, err = filepath.EvalSymlinks(abs); err != nil {
		return code.New(code.Usage, "find the directory: %w", err)
	}
	if strings.ContainsAny(w.path, "\n\r\x00") {
		return code.New(code.Usage, "find the directory: a line break in its name %q", w.path)
	}
	if w.root, err = os.OpenRoot(w.path); err != nil {
		return code.New(code.Usage, "open the directory: %w", err)
	}
	w.opened.Store(true)
	if pid := staging.InUse(w.path); pid != 0 {
		return code.New(code.Target, "open the directory: %s is in use by process %d, a running server", w.path, pid)
	}
	if _, err := w.root.Lstat(staging.Name); err == nil {
		return code.Hint(code.Target, "finish the restore or export first",
			"open the directory: %s holds %s, an unfinished restore or export", w.path, staging.Name)
	}
	return nil
}

// earlier looks for an earlier run; done is true if there is nothing left to do.
func (w *work) earlier(t *run.Task) (done bool, err error) {
	if w.journal, err = readJournal(w.root); err != nil || w.journal == nil {
		return false, err
	}
	switch w.journal.Stage {
	case prepared:
		w.already = true
		t.Note("%s is prepared already: nothing is done", w.path)
		return true, nil
	case recovering:
		if e, err := repo.ReadExport(w.path); err == nil {
			w.source.databases = e.Manifest.Databases
		}
		w.changing.Store(true)
		return false, code.Hint(code.Integrity, "take the directory from the backup again, then prepare it",
			"an earlier run was interrupted while a server recovered %s: the data may be corrupted, and there is no way back to the original files", w.path)
	}
	t.Note("going on with an interrupted prepare")
	return false, nil
}

// checkServer finds the mysqld, which must be able to open the data.
func (w *work) checkServer(ctx context.Context) (err error) {
	if w.bin, err = mysqld.Find(w.cfg.Mysqld); err != nil {
		return code.Default(code.Usage, err)
	}
	v, err := mysqld.Version(ctx, w.bin)
	if err != nil {
		return code.Default(code.Usage, err)
	}
	if err := v.CanOpen(w.source.server); err != nil {
		return code.Hint(code.Version, "name one of the same series, not older than the data: --mysqld PATH", "check the server %s: %w", w.bin, err)
	}
	return nil
}

// readExport takes what is to be known from the manifest of our own export.
func (w *work) readExport(list found) error {
	e, err := repo.ReadExport(w.path)
	if err != nil {
		return code.Default(code.Integrity, err)
	}
	m, s := &e.Manifest, &w.source
	if len(list.markers) > 0 && w.journal == nil {
		return code.New(code.Integrity, "read %s: an export has no marker files, but there is %s", w.path, list.markers[0].Path)
	}
	s.kind, s.backup = kindExport, m.ID
	if s.server, err = version.Parse(m.Server.Version, m.Server.VersionComment); err != nil {
		return code.New(code.Integrity, "read the backup's server version: %w", err)
	}
	s.databases = m.Databases
	s.lowerCase = m.Server.LowerCaseTableNames
	s.binlog = xtrabackup.Position{File: m.Binlog.File, Offset: m.Binlog.Position, GTIDs: m.GTIDExecuted}
	if s.dataFilePath, err = systemFiles(m.Server.DataFilePath, m.Server.DataHomeDir, list.files); err != nil {
		return err
	}
	if s.undoDir, err = undoDir(list.files); err != nil {
		return err
	}
	s.log = redoLog{name: redo.Dir, checkpoint: redo.LSN(m.LSN.Checkpoint), end: redo.LSN(m.LSN.End), page: m.Server.PageSize}
	if w.journal != nil && w.journal.Stage == recovered {
		return nil
	}
	return w.openExportLog()
}

// openExportLog opens the redo log as the export made it. If it is another one, a server
// has been here.
func (w *work) openExportLog() error {
	l := &w.source.log
	layout, err := redo.Layout(l.checkpoint, l.end, l.page, 0)
	if err != nil {
		return code.Default(code.Integrity, err)
	}
	for i, f := range layout {
		name := filepath.Join(redo.Dir, redo.Name(f.ID))
		file, err := w.root.Open(name)
		if err != nil {
			return code.New(code.Integrity, "open the redo log: %w", err)
		}
		l.parts = append(l.parts, part{file: file, start: f.Start, stop: f.End()})
		h, err := headerOf(file)
		if err != nil {
			return fmt.Errorf("read %s: %w", name, err)
		}
		l.info = h.Encryption
		if h.Start != f.Start || i == 0 && h.Checkpoint() != l.checkpoint {
			return code.Hint(code.Integrity, "export the backup again", "read %s: it begins at LSN %d with checkpoint %d, the backup at %d with %d: a server has changed this directory",
				name, h.Start, h.Checkpoint(), f.Start, l.checkpoint)
		}
	}
	return nil
}
