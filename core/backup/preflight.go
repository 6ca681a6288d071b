package backup

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/remora-backup/remora/core/code"
	"github.com/remora-backup/remora/core/innodb/redo"
	"github.com/remora-backup/remora/core/innodb/tablespace"
	"github.com/remora-backup/remora/core/plug"
	"github.com/remora-backup/remora/core/repo"
	"github.com/remora-backup/remora/core/run"
	"github.com/remora-backup/remora/core/server"
	"github.com/remora-backup/remora/core/syncpoint"
)

// preflight finds out whether the backup can work, before anything is touched.
func (e *engine) preflight(ctx context.Context, t *run.Task) error {
	facts, err := e.cfg.Server.Preflight(ctx)
	if err != nil {
		return err
	}
	e.facts = facts
	databases, err := e.cfg.Server.Databases(ctx)
	if err != nil {
		return err
	}
	t.Databases(databases)
	e.manifest.Databases = databases
	if e.dir, err = newDirectory(facts); err != nil {
		return err
	}
	for _, check := range []func(context.Context) error{e.checkRedo, e.checkFiles, e.checkSpace} {
		if err := check(ctx); err != nil {
			return err
		}
	}
	if e.backup, err = e.repo.NewBackup(ctx, e.id, repo.Options{Compression: e.cfg.Compression}); err != nil {
		return err
	}
	e.copier = &copier{dir: e.dir, tracker: e.track, backup: e.backup}
	e.others = &others{root: facts.DataDir, backup: e.backup, buf: make([]byte, extentSize)}
	return syncpoint.At(ctx, syncpoint.BackupPreflighted)
}

func newDirectory(f server.Facts) (*directory, error) {
	system, err := tablespace.ParseDataFiles(f.DataFilePath)
	if err != nil {
		return nil, fmt.Errorf("read innodb_data_file_path: %w", err)
	}
	temp, err := tablespace.ParseDataFiles(f.TempDataFilePath)
	if err != nil {
		return nil, fmt.Errorf("read innodb_temp_data_file_path: %w", err)
	}
	d := &directory{root: f.DataDir, page: f.PageSize, known: map[string]entry{}}
	for _, file := range system {
		if file.Raw {
			return nil, code.New(code.Version, "innodb_data_file_path names the raw device %s; raw devices are not supported", file.Path)
		}
		d.names.System = append(d.names.System, file.Path)
	}
	for _, file := range temp {
		d.names.Temp = append(d.names.Temp, file.Path)
	}
	return d, nil
}

// checkRedo makes sure that the redo log can be read and is in use.
func (e *engine) checkRedo(context.Context) error {
	flags, err := redoFlags(e.facts.RedoDir())
	if err != nil {
		return unreadable(err)
	}
	if flags&(redo.NoLogging|redo.CrashUnsafe) != 0 {
		return code.Hint(code.Version, "ALTER INSTANCE ENABLE INNODB REDO_LOG", "redo logging is disabled; a hot backup needs it")
	}
	if e.facts.RedoEncrypt {
		return code.Hint(code.Version, "SET GLOBAL innodb_redo_log_encrypt = OFF", "the redo log is encrypted; this version cannot read encrypted redo")
	}
	return nil
}

// checkFiles makes sure that this is the server's data directory, that it can be read, and
// that nothing of the server lies elsewhere.
func (e *engine) checkFiles(ctx context.Context) error {
	id, err := os.ReadFile(filepath.Join(e.facts.DataDir, "auto.cnf"))
	if err == nil && !strings.Contains(string(id), e.facts.UUID) {
		return code.New(code.ServerGone, "the data directory %s is not that of server %s: its auto.cnf names another", e.facts.DataDir, e.facts.UUID)
	}
	if err != nil && !os.IsNotExist(err) {
		return unreadable(err)
	}
	files, err := e.cfg.Server.TablespaceFiles(ctx)
	if err != nil {
		return err
	}
	for id, paths := range files {
		for _, p := range paths {
			if rel, err := e.dir.relative(p); err != nil {
				return code.New(code.Version, "tablespace file %s (space id %d) lies outside the data directory %s; this version backs up the data directory only", p, id, e.facts.DataDir)
			} else if _, err := os.Stat(filepath.Join(e.dir.root, rel)); err != nil && !os.IsNotExist(err) {
				return unreadable(err)
			}
		}
	}
	return nil
}

// relative returns a path of the server's relative to the data directory.
func (d *directory) relative(p string) (string, error) {
	if filepath.IsAbs(p) {
		rel, err := filepath.Rel(d.root, p)
		if err != nil {
			return "", err
		}
		p = rel
	}
	if p = filepath.Clean(p); !filepath.IsLocal(p) {
		return "", fmt.Errorf("%s is not below %s", p, d.root)
	}
	return p, nil
}

func unreadable(err error) error {
	return code.Hint(code.Privilege, "run remora as the user that mysqld runs as, or as a member of its group with read access to the data directory",
		"read the server's files: %w", err)
}

// checkSpace makes sure that the backup fits, if the storage can tell. Without knowing how
// well the data compresses only the certain case is refused.
func (e *engine) checkSpace(ctx context.Context) error {
	s, ok := e.cfg.Storage.(plug.FreeSpace)
	if !ok {
		return nil
	}
	free, err := s.Free(ctx)
	if err != nil {
		return code.Default(code.Storage, fmt.Errorf("ask the storage for free space: %w", err))
	}
	now, err := e.dir.look(ctx, nil)
	if err != nil {
		return unreadable(err)
	}
	need := e.sizes(now.spaces)
	if e.cfg.Compression != repo.None {
		need /= 20 // no data compresses better than that as a whole
	}
	if free >= 0 && free < need {
		return code.New(code.NoSpace, "the storage has %d MiB free, the backup needs at least %d MiB", free>>20, need>>20)
	}
	return nil
}
