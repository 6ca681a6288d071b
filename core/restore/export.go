package restore

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/remora-backup/remora/core/repo"
	"github.com/remora-backup/remora/core/run"
	"github.com/remora-backup/remora/core/syncpoint"
)

// ExportName is the file that says what an exported directory is.
const ExportName = "remora-export.json"

// exportFormat is the version of that file, and of the directory's layout.
const exportFormat = 1

// Export is what ExportName says. The directory around it is laid out as a data directory
// whose server was killed at the backup's position:
//
//	ibdata1, undo_001, mysql.ibd, schema/...    as they were copied, while they changed
//	#innodb_redo/#ib_redo0 ...                  from the checkpoint to the end of the backup
//	binlog.000042, binlog.index                 the last binary log, cut at the position
type Export struct {
	Format   int           `json:"format"`
	Manifest repo.Manifest `json:"manifest"`
}

// ReadExport reads what an exported directory is. The error wraps fs.ErrNotExist if dir
// was not made by an export.
func ReadExport(dir string) (Export, error) {
	var e Export
	b, err := os.ReadFile(filepath.Join(dir, ExportName))
	if err != nil {
		return e, err
	}
	if err := json.Unmarshal(b, &e); err != nil {
		return e, fmt.Errorf("decode %s: %w", ExportName, err)
	}
	if e.Format != exportFormat {
		return e, fmt.Errorf("decode %s: format %d is not known here", ExportName, e.Format)
	}
	return e, nil
}

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
	s, made := r.staging, []string{ExportName}
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
	var text bytes.Buffer
	e := json.NewEncoder(&text)
	e.SetIndent("", "  ")
	if err := e.Encode(Export{Format: exportFormat, Manifest: r.manifest}); err != nil {
		return err
	}
	if err := s.writeSynced(path.Join(dataName, ExportName), text.Bytes()); err != nil {
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
