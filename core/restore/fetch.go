package restore

import (
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/remora-backup/remora/core/code"
	"github.com/remora-backup/remora/core/mysqld"
	"github.com/remora-backup/remora/core/repo"
	"github.com/remora-backup/remora/core/run"
	"github.com/remora-backup/remora/core/staging"
	"github.com/remora-backup/remora/core/syncpoint"
)

// fetch is the phase restoring_basebackup: it writes the files of the backup. Each pack is
// read once; its extents are proven before they are written. It gives the directory in which
// they lie, which the run closes at its end.
type fetch struct {
	from     *source
	story    *story
	parallel int           // packs read at once
	every    time.Duration // between two syncs
	past     string        // what is told if an earlier run has left nothing to do
	server   []string      // program and arguments of the one that recovers: it is tried first; nil without one
}

func (f fetch) do(ctx context.Context, t *run.Task) (*staging.Dir, error) {
	dir, err := staging.Open(f.from.target, f.from.begin, f.from.owner)
	if err != nil {
		return nil, err
	}
	w := &writing{fetch: f, dir: dir}
	t.Cleanup(w.giveBack)
	f.story.stages()
	if err := syncpoint.At(ctx, syncpoint.RestoreTargetReady); err != nil {
		return nil, err
	}
	if dir.Stage().Past() {
		whole, err := f.still(dir, t)
		if whole || err != nil {
			return dir, err
		}
	}
	if err := f.try(ctx, dir); err != nil {
		return nil, err
	}
	if dir.Stage() == staging.Preparing {
		t.Warn("an earlier run was interrupted while it prepared the files: they are fetched anew")
		if err := dir.Forget(); err != nil {
			return nil, err
		}
	}
	return dir, w.do(ctx, t)
}

// still reports whether what an earlier run left as whole still looks so. Else it is fetched
// anew, unless part of it is in the target already.
func (f fetch) still(dir *staging.Dir, t *run.Task) (bool, error) {
	name, err := dir.Differs()
	switch {
	case err != nil:
		return false, fmt.Errorf("look at what an earlier run left: %w", err)
	case name == "":
		t.Note("%s", f.past)
		return true, nil
	case dir.Stage() == staging.Publishing:
		return false, code.Hint(code.Target, "empty the target, and restore again",
			"look at what an earlier run left: %s in %s is not as it was left", name, f.from.target.Path)
	}
	t.Warn("an earlier run was interrupted, and %s is not as it was left: all is fetched anew", name)
	return false, dir.Forget()
}

// try lets the server that will recover show that it can, before anything is fetched for it.
func (f fetch) try(ctx context.Context, dir *staging.Dir) error {
	if f.server == nil {
		return nil
	}
	info, err := os.Stat(f.server[0])
	if err != nil {
		return code.New(code.Usage, "try mysqld: %w", err)
	}
	key := fmt.Sprintf("%x", sha256.Sum256(fmt.Appendf(nil, "%q %d", f.server, info.ModTime().UnixNano())))
	keys, err := sealedKeys(&f.from.manifest, f.from.tree)
	if err != nil {
		return err
	}
	if dir.Tried() == key && len(keys) == 0 { // a keyring can be another one since
		return nil
	}
	s := &f.from.manifest.Server
	err = mysqld.Try(ctx, mysqld.TryOptions{
		Bin: f.server[0], Args: f.server[1:], Dir: filepath.Join(dir.Path(), "trial"), Own: dir.Owner().Path,
		PageSize: s.PageSize, LowerCaseTableNames: s.LowerCaseTableNames, Keys: keys,
	})
	if err != nil {
		return err
	}
	return dir.SetTried(key)
}

// writing is the files being written.
type writing struct {
	fetch
	dir   *staging.Dir
	packs *staging.Packs // what need not be read again; nil before it is known
}

func (w *writing) do(ctx context.Context, t *run.Task) (err error) {
	if w.packs, err = staging.OpenPacks(w.dir, w.every); err != nil {
		return err
	}
	if err := syncpoint.At(ctx, syncpoint.FetchJournal); err != nil {
		return err
	}
	if err := w.create(t); err != nil {
		return err
	}
	if err := syncpoint.At(ctx, syncpoint.FetchCreated); err != nil {
		return err
	}
	tree, total := w.from.tree, w.from.tree.bytes()
	t.Total(total)
	if there := w.packs.Bytes(); there > 0 {
		t.Note("going on with an interrupted restore: %s of %s are there", mib(there), mib(total))
		t.Advance(there)
	}
	err = w.from.reader.Fetch(ctx, repo.FetchOptions{
		Parallel: w.parallel,
		Want:     func(f repo.File) bool { _, ok := tree.files[f.ID]; return ok },
		Skip:     w.packs.Has,
		Again:    func(err error) { t.Warn("%v: they were right when they were read again; is the storage sound?", err) },
		Done: func(ctx context.Context, group int) error {
			if err := syncpoint.At(ctx, syncpoint.FetchPackDone); err != nil {
				return err
			}
			return w.packs.Wrote(group)
		},
	}, func(ctx context.Context, f repo.File, e repo.Extent, data []byte) error {
		return w.extent(ctx, t, f, e, data)
	})
	if err != nil {
		return err
	}
	t.Progress(run.Progress{Percent: new(100)})
	return syncpoint.At(ctx, syncpoint.FetchDone)
}

// create makes the files. The first pack was remembered after a sync, so all of them are
// there if there is one; else somebody took some away, and what is remembered of their bytes
// is not true.
func (w *writing) create(t *run.Task) (err error) {
	root, own := w.dir.Root(), w.dir.Owner()
	all, err := w.from.tree.create(root, own)
	if err != nil || all || w.packs.Empty() {
		return err
	}
	t.Warn("files of the interrupted restore are missing or have another size: all are fetched anew")
	if err := w.dir.Forget(); err != nil {
		return err
	}
	if w.packs, err = staging.OpenPacks(w.dir, w.every); err != nil {
		return err
	}
	_, err = w.from.tree.create(root, own)
	return err
}

// extent writes one extent. Files are created with their final size, so zeros are there
// already.
func (w *writing) extent(ctx context.Context, t *run.Task, f repo.File, e repo.Extent, data []byte) error {
	if err := syncpoint.At(ctx, syncpoint.FetchExtent); err != nil {
		return err
	}
	if !e.Zero {
		if err := w.write(f, e.Offset, data); err != nil {
			return fmt.Errorf("write %s: %w", f.Path, code.Full(err))
		}
	}
	w.packs.Add(int64(e.Length))
	t.Advance(int64(e.Length))
	return syncpoint.At(ctx, syncpoint.FetchWritten)
}

func (w *writing) write(f repo.File, off int64, data []byte) error {
	file, err := w.from.tree.open(w.dir.Root(), w.from.tree.files[f.ID])
	if err != nil {
		return err
	}
	if _, err := file.WriteAt(data, off); err != nil {
		_ = file.Close() // the write's error tells more
		return err
	}
	return file.Close()
}

// giveBack keeps what a later run can use.
func (w *writing) giveBack(ctx context.Context, t *run.Task, failed error) error {
	defer w.dir.Close()
	if failed == nil {
		return nil
	}
	t.Fail(syncpoint.At(ctx, syncpoint.CleanupKept))
	if w.packs == nil || w.dir.Stage() != staging.Fetching {
		return nil
	}
	t.Fail(syncpoint.At(ctx, syncpoint.CleanupJournal))
	return within(ctx, w.packs.Flush)
}

// within bounds a call that cannot be cancelled, as a sync: when ctx ends it goes on alone.
func within(ctx context.Context, f func() error) error {
	done := make(chan error, 1)
	go func() { done <- f() }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return fmt.Errorf("sync the target: %w", context.Cause(ctx))
	}
}
