package restore

import (
	"context"
	"fmt"
	"path"
	"path/filepath"

	"github.com/remora-backup/remora/core/repo"
	"github.com/remora-backup/remora/core/run"
	"github.com/remora-backup/remora/core/staging"
	"github.com/remora-backup/remora/core/syncpoint"
)

// fetch writes the files of the backup. Each pack is read once; its extents are proven
// before they are written.
func (r *restore) fetch(ctx context.Context, t *run.Task) (err error) {
	s, err := openStaging(r.place, r.wanted(), r.owner)
	if err != nil {
		return err
	}
	r.staging = s
	r.staged.Store(true)
	if err := syncpoint.At(ctx, syncpoint.RestoreTargetReady); err != nil {
		return err
	}
	switch s.state.Stage {
	case prepared, publishing:
		if r.raw {
			t.Note("an earlier run has fetched the files")
		} else {
			t.Note("an earlier run has fetched and prepared the files")
		}
		return nil
	case preparing:
		t.Warn("an earlier run was interrupted while it prepared the files: they are fetched anew")
		if err := s.forget(); err != nil {
			return err
		}
	}
	if r.journal, err = openJournal(s, r.cfg.SyncEvery); err != nil {
		return err
	}
	if err := syncpoint.At(ctx, syncpoint.FetchJournal); err != nil {
		return err
	}
	if err := r.createFiles(t); err != nil {
		return err
	}
	if err := syncpoint.At(ctx, syncpoint.FetchCreated); err != nil {
		return err
	}
	total := r.tree.bytes()
	t.Total(total)
	if there := r.journal.bytes(); there > 0 {
		t.Note("going on with an interrupted restore: %s of %s are there", mib(there), mib(total))
		t.Advance(there)
	}
	err = r.reader.Fetch(ctx, repo.FetchOptions{
		Parallel: r.cfg.Parallel,
		Want:     func(f repo.File) bool { _, ok := r.tree.files[f.ID]; return ok },
		Skip:     r.journal.has,
		Again:    func(err error) { t.Warn("%v: they were right when they were read again; is the storage sound?", err) },
		Done: func(ctx context.Context, group int) error {
			if err := syncpoint.At(ctx, syncpoint.FetchPackDone); err != nil {
				return err
			}
			return r.journal.wrote(ctx, group)
		},
	}, func(ctx context.Context, f repo.File, e repo.Extent, data []byte) error {
		return r.extent(ctx, t, f, e, data)
	})
	if err != nil {
		return err
	}
	t.Progress(run.Progress{Percent: new(100)})
	return syncpoint.At(ctx, syncpoint.FetchDone)
}

// createFiles makes the files. The first entry of the journal came after a sync, so all of
// them are there if there is one; else somebody took some away, and what the journal says of
// their bytes is not true.
func (r *restore) createFiles(t *run.Task) (err error) {
	s := r.staging
	all, err := r.tree.create(s.dir, s.owner)
	if err != nil || all || r.journal.empty() {
		return err
	}
	t.Warn("files of the interrupted restore are missing or have another size: all are fetched anew")
	if err := s.forget(); err != nil {
		return err
	}
	if r.journal, err = openJournal(s, r.cfg.SyncEvery); err != nil {
		return err
	}
	_, err = r.tree.create(s.dir, s.owner)
	return err
}

// extent writes one extent. Files are created with their final size, so zeros are there
// already.
func (r *restore) extent(ctx context.Context, t *run.Task, f repo.File, e repo.Extent, data []byte) error {
	if err := syncpoint.At(ctx, syncpoint.FetchExtent); err != nil {
		return err
	}
	if !e.Zero {
		if err := r.write(f, e.Offset, data); err != nil {
			return fmt.Errorf("write %s: %w", f.Path, noSpace(err))
		}
	}
	r.journal.written.Add(int64(e.Length))
	t.Advance(int64(e.Length))
	return syncpoint.At(ctx, syncpoint.FetchWritten)
}

func (r *restore) write(f repo.File, off int64, data []byte) error {
	w, err := r.tree.open(r.staging.dir, r.tree.files[f.ID])
	if err != nil {
		return err
	}
	if _, err := w.WriteAt(data, off); err != nil {
		_ = w.Close() // the write's error tells more
		return err
	}
	return w.Close()
}

// writeBinlogIndex names the binary log to the recovering server, which takes the last
// line for the one that was written when the server ended.
func (r *restore) writeBinlogIndex() (logBin string, err error) {
	if r.tree.binlog == "" {
		return "", nil
	}
	dir := filepath.Join(r.staging.path, staging.Name)
	line := filepath.Join(dir, r.tree.binlog) + "\n"
	if err := r.staging.writeSynced(path.Join(binlogDir, binlogBase+".index"), []byte(line)); err != nil {
		return "", fmt.Errorf("write the index of the binary log: %w", noSpace(err))
	}
	return filepath.Join(dir, binlogDir, binlogBase), nil
}
