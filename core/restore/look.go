package restore

import (
	"cmp"
	"context"
	"fmt"
	"strings"

	"github.com/remora-backup/remora/core/code"
	"github.com/remora-backup/remora/core/mysqld"
	"github.com/remora-backup/remora/core/repo"
	"github.com/remora-backup/remora/core/run"
	"github.com/remora-backup/remora/core/staging"
	"github.com/remora-backup/remora/core/syncpoint"
	"github.com/remora-backup/remora/core/version"
)

// source is what is restored, and where to. Once it was found out it never changes.
type source struct {
	manifest repo.Manifest
	version  version.Version // of the server that was backed up
	reader   *repo.Reader
	tree     *tree
	system   system
	target   staging.Target
	begin    staging.State // of the target's staging directory
	owner    staging.Owner
	mysqld   string // the program that prepares; "" in an export
}

// look is the phase getting_backup_info. It finds out all that can be wrong before anything
// is written: an unknown backup, a server that cannot open it, a target that is not free,
// too little space, objects that are missing or cut.
type look struct {
	cfg   Config
	story *story
}

func (l look) restore(ctx context.Context, t *run.Task) (*source, error) {
	s, err := l.backup(ctx, t, "Restoring")
	if err != nil {
		return nil, err
	}
	if s.mysqld, err = findServer(ctx, l.cfg.Mysqld, s.version); err != nil {
		return nil, err
	}
	s.begin = staging.NewState(s.manifest.Repository, s.manifest.ID, false)
	if err := l.rest(ctx, s, serverSpace); err != nil || l.cfg.IgnoreLeftovers {
		return s, err
	}
	return s, checkLeftovers(t, s.manifest.Server.Paths)
}

func (l look) export(ctx context.Context, t *run.Task) (*source, error) {
	s, err := l.backup(ctx, t, "Exporting")
	if err != nil {
		return nil, err
	}
	s.begin = staging.NewState(s.manifest.Repository, s.manifest.ID, true)
	return s, l.rest(ctx, s, 0)
}

// backup finds the backup.
func (l look) backup(ctx context.Context, t *run.Task, verb string) (s *source, err error) {
	if err := syncpoint.At(ctx, syncpoint.RestoreStart); err != nil {
		return nil, err
	}
	s = new(source)
	m := &s.manifest
	if *m, err = l.cfg.Repo.Manifest(ctx, l.cfg.BackupID); err != nil {
		return nil, err
	}
	l.story.concerns(m)
	if err := syncpoint.At(ctx, syncpoint.RestoreManifest); err != nil {
		return nil, err
	}
	t.Databases(m.Databases)
	t.Note("%s database(s) %s (%d) from backup %s to %s", verb, run.Quoted(m.Databases), len(m.Databases), m.ID, l.cfg.Target)
	for _, e := range m.Engines {
		if e.Excluded {
			t.Warn("%s", e.Unheld())
		} else {
			t.Note("%s", e.Unheld())
		}
	}
	if s.version, err = version.Parse(m.Server.Version, m.Server.VersionComment); err != nil {
		return nil, code.New(code.Integrity, "read the backup's server version: %w", err)
	}
	return s, nil
}

// findServer finds the mysqld that will prepare, which must be able to open the data.
func findServer(ctx context.Context, program string, data version.Version) (bin string, err error) {
	const hint = "name one of the same series, not older than the data, in the configuration: [mysql] mysqld = \"/path/to/mysqld\""
	if bin, err = mysqld.Find(program); err != nil {
		return "", code.Default(code.Usage, err)
	}
	v, err := mysqld.Version(ctx, bin)
	if err != nil {
		return "", code.Default(code.Usage, err)
	}
	if err := v.CanOpen(data); err != nil {
		return "", code.Hint(code.Version, hint, "check the server %s: %w", bin, err)
	}
	return bin, nil
}

// rest looks at the target, and at what would be written there; more is what a server writes
// besides, bytes.
func (l look) rest(ctx context.Context, s *source, more int64) (err error) {
	if err := syncpoint.At(ctx, syncpoint.RestoreVersion); err != nil {
		return err
	}
	if n := s.manifest.Server.LowerCaseTableNames; n < 0 || n > 2 {
		return code.New(code.Integrity, "check the settings of the backup's server: lower_case_table_names is %d", n)
	}
	if s.target, err = l.findTarget(ctx, s.begin); err != nil {
		return err
	}
	if s.owner, err = staging.OwnerFor(s.target); err != nil {
		return err
	}
	if err := syncpoint.At(ctx, syncpoint.RestoreTarget); err != nil {
		return err
	}
	if err := l.plan(ctx, s); err != nil {
		return err
	}
	if err := syncpoint.At(ctx, syncpoint.RestorePlanned); err != nil {
		return err
	}
	if err := checkSpace(s.target, s.tree.space(), more); err != nil {
		return err
	}
	if err := s.reader.Check(ctx); err != nil {
		return err
	}
	return syncpoint.At(ctx, syncpoint.RestoreChecked)
}

func (l look) findTarget(ctx context.Context, begin staging.State) (staging.Target, error) {
	at, err := staging.Look(l.cfg.Target)
	if err != nil {
		return at, err
	}
	l.story.goesTo(at.Path)
	if strings.ContainsAny(at.Path, "\n\r\x00") {
		return at, code.New(code.Usage, "check the target: a line break in its name %q", at.Path)
	}
	if err := at.Accept(begin); err != nil {
		return at, err
	}
	if err := cmp.Or(at.Outside(), at.Writable()); err != nil {
		return at, err
	}
	switch {
	case at.Unfinished == nil:
	case at.Unfinished.Stage == staging.Publishing:
		l.story.changes()
	default:
		l.story.stages()
	}
	return at, at.Released(ctx)
}

// plan reads which files the backup has and says where each will lie.
func (l look) plan(ctx context.Context, s *source) (err error) {
	if s.reader, err = l.cfg.Repo.OpenBackup(ctx, s.manifest.ID); err != nil {
		return err
	}
	if s.tree, err = planTree(&s.manifest, s.reader.Files()); err != nil {
		return err
	}
	if s.tree.log, err = planRedo(&s.manifest, s.version, s.tree.redo, l.cfg.RedoFileSize); err != nil {
		return err
	}
	s.system, err = findSystem(&s.manifest.Server, s.tree)
	return err
}

// serverSpace is what the recovering server writes of its own, bytes: a redo log of its
// default size, and temporary files.
const serverSpace = 128 << 20

// checkSpace asks for a tenth more than the files need, and for more.
func checkSpace(at staging.Target, files, more int64) error {
	free, err := at.FreeBytes()
	if err != nil {
		return err
	}
	need := files + files/10 + more
	if at.Unfinished != nil {
		free += at.UsedBytes()
	}
	if free < need {
		return code.New(code.NoSpace, "check the space for %s: %s are free, %s are needed", at.Path, mib(free), mib(need))
	}
	return nil
}

func mib(n int64) string { return fmt.Sprintf("%d MiB", (n+1<<20-1)>>20) }
