package prepare

import (
	"context"

	"github.com/remora-backup/remora/core/code"
	"github.com/remora-backup/remora/core/innodb/redo"
	"github.com/remora-backup/remora/core/keyring"
	"github.com/remora-backup/remora/core/mysqld"
	"github.com/remora-backup/remora/core/repo"
	"github.com/remora-backup/remora/core/run"
	"github.com/remora-backup/remora/core/syncpoint"
	"github.com/remora-backup/remora/core/xtrabackup"
)

// readPhase finds out what the directory is and all that can be wrong, before any change.
type readPhase struct {
	cfg   Config
	words *lastWords
}

func (r readPhase) do(ctx context.Context, t *run.Task) (*site, error) {
	if err := syncpoint.Between(ctx, syncpoint.ReadingStart); err != nil {
		return nil, err
	}
	s := &site{description: &description{}}
	if err := r.open(t, s); err != nil {
		return nil, err
	}
	var inc *directory
	if r.cfg.Incremental != "" {
		var err error
		if inc, err = openIncremental(r.cfg.Incremental); err != nil {
			return nil, err
		}
		t.Cleanup(func(context.Context, *run.Task, error) error { return inc.root.Close() })
	}
	if done, err := r.earlier(t, s); done || err != nil {
		return s, err
	}
	if err := r.describe(s, inc); err != nil {
		return nil, err
	}
	if s.prepared && r.cfg.As != "" {
		return nil, code.Hint(code.Target, "take the directory from the backup again", "prepare %s --as %s: it is prepared already", s.path, r.cfg.As)
	}
	if s.prepared {
		t.Note("%s is prepared already, says %s: nothing is done", s.path, xtrabackup.CheckpointsName)
		return s, nil
	}
	if len(s.databases) > 0 {
		t.Databases(s.databases)
		r.words.databases.Store(&s.databases)
	}
	return s, r.check(ctx, t, s)
}

func (r readPhase) open(t *run.Task, s *site) (err error) {
	if s.directory, err = openDirectory(r.cfg.Dir); err != nil {
		return err
	}
	t.Cleanup(func(ctx context.Context, _ *run.Task, failed error) error { return s.giveBack(ctx, failed) })
	r.words.path.Store(&s.path)
	return s.checkUnused()
}

// giveBack closes what the site has open.
func (s *site) giveBack(ctx context.Context, failed error) error {
	defer s.root.Close()
	defer s.journal.close()
	s.log.close()
	if failed != nil && s.journal != nil {
		return syncpoint.At(ctx, syncpoint.CleanupDirectory)
	}
	return nil
}

// earlier looks for an earlier run; done is true if there is nothing left to do.
func (r readPhase) earlier(t *run.Task, s *site) (done bool, err error) {
	if s.journal, err = readJournal(s.root); err != nil || s.journal == nil {
		return false, err
	}
	switch s.journal.Stage {
	case prepared:
		s.prepared = true
		if err := r.sameRole(s); err != nil {
			return false, err
		}
		t.Note("%s is prepared already: nothing is done", s.path)
		return true, nil
	case recovering:
		if e, err := repo.ReadExport(s.path); err == nil {
			r.words.databases.Store(&e.Manifest.Databases)
		}
		r.words.changing.Store(true)
		return false, code.Hint(code.Integrity, "take the directory from the backup again, then prepare it",
			"an earlier run was interrupted while a server recovered %s: the data may be corrupted, and there is no way back to the original files", s.path)
	}
	t.Note("going on with an interrupted prepare")
	return false, r.sameRole(s)
}

// sameRole refuses to make of a directory something else than an earlier run began to.
func (r readPhase) sameRole(s *site) error {
	if r.cfg.As == "" || s.journal.As == r.cfg.As {
		return nil
	}
	was := "without --as"
	if s.journal.As != "" {
		was = "--as " + string(s.journal.As)
	}
	return code.Hint(code.Target, "take the directory from the backup again, then prepare it", "an earlier run has prepared %s %s, wholly or in part", s.path, was)
}

// describe finds the source of the directory and asks it.
func (r readPhase) describe(s *site, inc *directory) (err error) {
	switch {
	case s.has(repo.ExportName) && inc != nil:
		return code.Hint(code.Usage, "leave --incremental out", "read %s: it is an export, which no incremental backup belongs to", s.path)
	case s.has(repo.ExportName):
		s.source = exported{}
	case s.has(xtrabackup.CheckpointsName) && inc != nil:
		s.source = &increment{dir: inc}
	case s.has(xtrabackup.CheckpointsName):
		s.source = full{}
	default:
		return code.Hint(code.Target, "take it from the backup with its "+xtrabackup.CheckpointsName,
			"read %s: neither %s nor %s is in it, so it is no backup that can be prepared", s.path, repo.ExportName, xtrabackup.CheckpointsName)
	}
	d, err := s.source.describe(s.directory, s.journal.stage())
	if d != nil { // also with an error: what is open has to be closed
		s.description = d
	}
	return err
}

// check makes sure that a server can recover what is described, and to its end.
func (r readPhase) check(ctx context.Context, t *run.Task, s *site) error {
	have := func(name string) bool { return s.files[name] || s.files[name+string(xtrabackup.New)] }
	if err := checkSystemFiles(s.dataFilePath, have); err != nil {
		return err
	}
	if err := r.findServer(ctx, s); err != nil {
		return err
	}
	t.Note("%s: %s of a server %v, redo from LSN %d to %d", s.path, s.kind, s.server, s.log.checkpoint, s.log.end)
	if s.journal.stage() == recovered {
		return nil // the redo has been used
	}
	s.log.open = func(e redo.Encryption) (*redo.Key, error) { return keyring.RedoKey(r.cfg.KeyringFile, s.path, e) }
	if err := s.log.check(ctx); err != nil {
		return err
	}
	if s.unmarkedDDL {
		if err := s.log.checkDDL(); err != nil {
			return err
		}
	}
	return syncpoint.Between(ctx, syncpoint.ReadingChecked)
}

// findServer finds the mysqld, which must be able to open the data.
func (r readPhase) findServer(ctx context.Context, s *site) (err error) {
	if s.bin, err = mysqld.Find(r.cfg.Mysqld); err != nil {
		return code.Default(code.Usage, err)
	}
	v, err := mysqld.Version(ctx, s.bin)
	if err != nil {
		return code.Default(code.Usage, err)
	}
	if err := v.CanOpen(s.server); err != nil {
		return code.Hint(code.Version, "name one of the same series, not older than the data: --mysqld PATH", "check the server %s: %w", s.bin, err)
	}
	return nil
}
