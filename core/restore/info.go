package restore

import (
	"cmp"
	"context"
	"fmt"
	"strings"

	"github.com/remora-backup/remora/core/code"
	"github.com/remora-backup/remora/core/mysqld"
	"github.com/remora-backup/remora/core/run"
	"github.com/remora-backup/remora/core/syncpoint"
	"github.com/remora-backup/remora/core/version"
)

// info finds out all that can be wrong before anything is written: an unknown backup, a
// server that cannot open it, a target that is not free, too little space, objects that
// are missing or cut.
func (r *restore) info(ctx context.Context, t *run.Task) (err error) {
	if err := syncpoint.At(ctx, syncpoint.RestoreStart); err != nil {
		return err
	}
	if r.manifest, err = r.cfg.Repo.Manifest(ctx, r.cfg.BackupID); err != nil {
		return err
	}
	m := &r.manifest
	if err := syncpoint.At(ctx, syncpoint.RestoreManifest); err != nil {
		return err
	}
	t.Databases(m.Databases)
	verb := "Restoring"
	if r.raw {
		verb = "Exporting"
	}
	t.Note("%s database(s) %s (%d) from backup %s to %s", verb, run.Quoted(m.Databases), len(m.Databases), m.ID, r.cfg.Target)
	data, err := r.checkVersion(ctx)
	if err != nil {
		return err
	}
	if err := syncpoint.At(ctx, syncpoint.RestoreVersion); err != nil {
		return err
	}
	if n := m.Server.LowerCaseTableNames; n < 0 || n > 2 {
		return code.New(code.Integrity, "check the settings of the backup's server: lower_case_table_names is %d", n)
	}
	if err := r.checkTarget(ctx); err != nil {
		return err
	}
	if err := syncpoint.At(ctx, syncpoint.RestoreTarget); err != nil {
		return err
	}
	if err := r.plan(ctx, data); err != nil {
		return err
	}
	if err := syncpoint.At(ctx, syncpoint.RestorePlanned); err != nil {
		return err
	}
	if r.recovered() {
		return nil // nothing will be fetched
	}
	if err := r.checkSpace(); err != nil {
		return err
	}
	if err := r.reader.Check(ctx); err != nil {
		return err
	}
	return syncpoint.At(ctx, syncpoint.RestoreChecked)
}

// plan reads which files the backup has and says where each will lie.
func (r *restore) plan(ctx context.Context, data version.Version) (err error) {
	m := &r.manifest
	if r.reader, err = r.cfg.Repo.OpenBackup(ctx, m.ID); err != nil {
		return err
	}
	if r.tree, err = planTree(m, r.reader.Files()); err != nil {
		return err
	}
	if r.tree.log, err = planRedo(m, data, r.tree.redo, r.cfg.RedoFileSize); err != nil {
		return err
	}
	r.system, err = findSystem(&m.Server, r.tree)
	return err
}

// recovered reports whether an earlier run got so far that only moving is left.
func (r *restore) recovered() bool {
	left := r.place.left
	return left != nil && (left.Stage == prepared || left.Stage == publishing)
}

// checkVersion finds the mysqld that will prepare, which must be able to open the data.
func (r *restore) checkVersion(ctx context.Context) (data version.Version, err error) {
	const hint = "name one of the same series, not older than the data, in the configuration: [mysql] mysqld = \"/path/to/mysqld\""
	s := &r.manifest.Server
	if data, err = version.Parse(s.Version, s.VersionComment); err != nil {
		return data, code.New(code.Integrity, "read the backup's server version: %w", err)
	}
	if r.raw {
		return data, nil // no server runs
	}
	if r.bin, err = mysqld.Find(r.cfg.Mysqld); err != nil {
		return data, code.Default(code.Usage, err)
	}
	v, err := mysqld.Version(ctx, r.bin)
	if err != nil {
		return data, code.Default(code.Usage, err)
	}
	if err := v.CanOpen(data); err != nil {
		return data, code.Hint(code.Version, hint, "check the server %s: %w", r.bin, err)
	}
	return data, nil
}

func (r *restore) checkTarget(ctx context.Context) (err error) {
	if r.place, err = inspect(r.cfg.Target); err != nil {
		return err
	}
	if strings.ContainsAny(r.place.path, "\n\r\x00") {
		return code.New(code.Usage, "check the target: a line break in its name %q", r.place.path)
	}
	if err := r.place.accept(r.wanted()); err != nil {
		return err
	}
	if err := cmp.Or(r.place.outside(), r.place.writable()); err != nil {
		return err
	}
	if r.place.left != nil {
		r.changing.Store(r.place.left.Stage == publishing)
		r.staged.Store(true)
	}
	if err := r.place.released(ctx); err != nil {
		return err
	}
	r.owner, err = ownerFor(r.place)
	return err
}

// wanted is the state in which a restore of this backup begins.
func (r *restore) wanted() state {
	return state{Format: stageFormat, Repository: r.manifest.Repository, Backup: r.manifest.ID, Stage: fetching, Raw: r.raw}
}

// serverSpace is what the recovering server writes of its own, bytes: a redo log of its
// default size, and temporary files.
const serverSpace = 128 << 20

// checkSpace asks for a tenth more than the files need, and for what a server needs.
func (r *restore) checkSpace() error {
	free, err := r.place.freeBytes()
	if err != nil {
		return err
	}
	need := r.tree.space() + r.tree.space()/10
	if !r.raw {
		need += serverSpace
	}
	if r.place.left != nil {
		free += r.place.usedBytes()
	}
	if free < need {
		return code.New(code.NoSpace, "check the space for %s: %s are free, %s are needed", r.place.path, mib(free), mib(need))
	}
	return nil
}

func mib(n int64) string { return fmt.Sprintf("%d MiB", (n+1<<20-1)>>20) }
