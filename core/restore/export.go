package restore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"

	"github.com/remora-backup/remora/core/code"
	"github.com/remora-backup/remora/core/repo"
	"github.com/remora-backup/remora/core/run"
	"github.com/remora-backup/remora/core/staging"
	"github.com/remora-backup/remora/core/syncpoint"
)

// NewExport returns the plan that writes a backup as plain files, which are proven and not
// prepared. It goes the way of a restore through a staging directory, so a target is empty,
// or unfinished and resumable, or whole. Of cfg the fields for the server are not used.
func NewExport(cfg Config) (run.Plan, error) {
	cfg, err := cfg.checked()
	if err != nil {
		return run.Plan{}, err
	}
	e := &export{cfg, &story{again: func(backup, target string) string {
		return fmt.Sprintf("remora export %s %s", backup, code.Word(target))
	}}}
	return run.Plan{
		Operation: "export",
		ID:        cfg.ID,
		Phases:    []run.Phase{{Name: PhaseInfo}, {Name: PhaseFetch}, {Name: PhasePublish}},
		Do:        e.do,
		Aborted:   e.story.aborted,
		Left:      e.story.undone,
	}, nil
}

type export struct {
	cfg   Config
	story *story
}

// do is an export.
func (e *export) do(rn *run.Run) (any, error) {
	from, err := run.Enter(rn, PhaseInfo, look{e.cfg, e.story}.export)
	if err != nil {
		return nil, err
	}
	dir, err := run.Enter(rn, PhaseFetch, fetch{
		from: from, story: e.story, parallel: e.cfg.Parallel, every: e.cfg.SyncEvery,
		past: "an earlier run has fetched the files",
	}.do)
	if err != nil {
		return nil, err
	}
	return run.Enter(rn, PhasePublish, func(ctx context.Context, t *run.Task) (Result, error) {
		ready, err := description{from, dir}.do(ctx)
		if err != nil {
			return Result{}, err
		}
		return publish{from, e.story, ready}.do(ctx, t)
	})
}

// description is what an export has that a restore has not. Each step may be repeated.
type description struct {
	from *source
	dir  *staging.Dir
}

func (d description) do(ctx context.Context) (ready, error) {
	if d.dir.Stage() == staging.Fetching {
		if err := d.dir.Sync(); err != nil {
			return ready{}, err
		}
		if err := syncpoint.Between(ctx, syncpoint.ExportSynced); err != nil {
			return ready{}, err
		}
		if err := d.dir.Complete(); err != nil {
			return ready{}, err
		}
		if err := syncpoint.Between(ctx, syncpoint.ExportFetched); err != nil {
			return ready{}, err
		}
	}
	if d.dir.Stage() == staging.Prepared {
		if err := d.write(ctx); err != nil {
			return ready{}, fmt.Errorf("finish the export: %w", code.Full(err))
		}
	}
	return ready{Dir: d.dir}, nil
}

func (d description) write(ctx context.Context) error {
	made := []string{repo.ExportName}
	if log := d.from.manifest.Binlog.File; log != "" {
		err := d.dir.Root().Rename(d.from.tree.binlog, path.Join(staging.Data, log))
		if err != nil && !errors.Is(err, fs.ErrNotExist) { // an earlier run moved it
			return err
		}
		index := strings.TrimSuffix(log, path.Ext(log)) + ".index"
		if err := d.dir.WriteFile(path.Join(staging.Data, index), []byte("./"+log+"\n")); err != nil {
			return err
		}
		made = append(made, index)
	}
	if err := syncpoint.Between(ctx, syncpoint.ExportBinlog); err != nil {
		return err
	}
	text, err := repo.NewExport(d.from.manifest).Encode()
	if err != nil {
		return err
	}
	if err := d.dir.WriteFile(path.Join(staging.Data, repo.ExportName), text); err != nil {
		return err
	}
	for _, name := range made {
		if err := d.dir.Owner().In(d.dir.Root(), path.Join(staging.Data, name)); err != nil {
			return err
		}
	}
	if err := d.dir.Sync(); err != nil {
		return err
	}
	return syncpoint.Between(ctx, syncpoint.ExportDescribed)
}
