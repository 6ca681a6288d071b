package restore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"

	"github.com/remora-backup/remora/core/repo"
	"github.com/remora-backup/remora/core/run"
	"github.com/remora-backup/remora/core/syncpoint"
)

// NewExport returns the plan that writes a backup as plain files, which are proven and not
// prepared. It is a restore without the preparation: it goes the same way through a staging
// directory, so a target is empty, or unfinished and resumable, or whole. Of cfg the fields
// for the server are not used.
func NewExport(cfg Config) (run.Plan, error) {
	r, err := newRestore(cfg)
	if err != nil {
		return run.Plan{}, err
	}
	r.raw = true
	return run.Plan{
		Operation: "export",
		ID:        cfg.ID,
		Phases: []run.Phase{
			{Name: PhaseInfo, Do: r.info},
			{Name: PhaseFetch, Do: r.fetch},
			{Name: PhasePublish, Do: r.publishRaw},
		},
		Cleanup: r.cleanup,
		Result:  r.result,
		Aborted: r.aborted,
		Left:    r.whatIsLeft,
	}, nil
}

// publishRaw adds what a restore does not need, and publishes. Each step may be repeated.
func (r *restore) publishRaw(ctx context.Context, t *run.Task) error {
	s := r.staging
	if s.state.Stage == fetching {
		if err := s.sync(); err != nil {
			return err
		}
		if err := at(ctx, syncpoint.ExportSynced); err != nil {
			return err
		}
		if err := s.enter(prepared); err != nil {
			return err
		}
		if err := at(ctx, syncpoint.ExportFetched); err != nil {
			return err
		}
	}
	if s.state.Stage == prepared {
		if err := r.finishRaw(ctx); err != nil {
			return fmt.Errorf("finish the export: %w", noSpace(err))
		}
	}
	return r.publish(ctx, t)
}

func (r *restore) finishRaw(ctx context.Context) error {
	s, made := r.staging, []string{repo.ExportName}
	if log := r.manifest.Binlog.File; log != "" {
		err := s.dir.Rename(r.tree.binlog, path.Join(dataName, log))
		if err != nil && !errors.Is(err, fs.ErrNotExist) { // an earlier run moved it
			return err
		}
		index := strings.TrimSuffix(log, path.Ext(log)) + ".index"
		if err := s.writeSynced(path.Join(dataName, index), []byte("./"+log+"\n")); err != nil {
			return err
		}
		made = append(made, index)
	}
	if err := at(ctx, syncpoint.ExportBinlog); err != nil {
		return err
	}
	text, err := repo.NewExport(r.manifest).Encode()
	if err != nil {
		return err
	}
	if err := s.writeSynced(path.Join(dataName, repo.ExportName), text); err != nil {
		return err
	}
	for _, name := range made {
		if err := s.owner.in(s.dir, path.Join(dataName, name)); err != nil {
			return err
		}
	}
	if err := s.sync(); err != nil {
		return err
	}
	return at(ctx, syncpoint.ExportDescribed)
}
