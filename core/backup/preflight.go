package backup

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/remora-backup/remora/core/code"
	"github.com/remora-backup/remora/core/innodb/redo"
	"github.com/remora-backup/remora/core/plug"
	"github.com/remora-backup/remora/core/repo"
	"github.com/remora-backup/remora/core/run"
	"github.com/remora-backup/remora/core/syncpoint"
)

// preflight finds out whether the backup can work, before anything is touched.
func (e *engine) preflight(ctx context.Context, t *run.Task) error {
	facts, err := e.cfg.Server.Preflight(ctx)
	if err != nil {
		return err
	}
	e.facts = facts
	if err := syncpoint.At(ctx, syncpoint.BackupFacts); err != nil {
		return err
	}
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
	if err := syncpoint.At(ctx, syncpoint.BackupChecked); err != nil {
		return err
	}
	e.stores.Store(true)
	if e.backup, err = e.repo.NewBackup(ctx, e.id, repo.Options{Compression: e.cfg.Compression}); err != nil {
		return err
	}
	e.copier = &copier{dir: e.dir, backup: e.backup}
	e.others = &others{root: facts.DataDir, backup: e.backup, buf: make([]byte, extentSize)}
	return syncpoint.At(ctx, syncpoint.BackupPreflighted)
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
	return e.checkRedoKey()
}

// checkFiles makes sure that this is the server's data directory and that it can be read.
func (e *engine) checkFiles(ctx context.Context) error {
	id, err := os.ReadFile(filepath.Join(e.facts.DataDir, "auto.cnf"))
	if err == nil && !strings.Contains(string(id), e.facts.UUID) {
		return code.New(code.ServerGone, "the data directory %s is not that of server %s: its auto.cnf names another", e.facts.DataDir, e.facts.UUID)
	}
	if err != nil && !os.IsNotExist(err) {
		return unreadable(err)
	}
	for _, p := range e.dir.system {
		if _, err := e.dir.find(p); errors.Is(err, errAway) {
			return code.New(code.ServerGone, "%s, which every server has, is not in the data directory %s of the server: %w", p.path, e.dir.root, err)
		} else if err != nil {
			return err
		}
	}
	e.altered, err = e.cfg.Server.Altered(ctx)
	return err
}

// unreadable explains why a file of the server cannot be read, if that is for want of rights.
func unreadable(err error) error {
	if !errors.Is(err, fs.ErrPermission) {
		return err
	}
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
	now, err := e.look(ctx, false)
	if err != nil {
		return err
	}
	need := bytesOf(now.spaces)
	if e.cfg.Compression != repo.None {
		need /= 20 // no data compresses better than that as a whole
	}
	if free >= 0 && free < need {
		return code.New(code.NoSpace, "the storage has %d MiB free, the backup needs at least %d MiB", free>>20, need>>20)
	}
	return nil
}
