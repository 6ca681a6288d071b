package restore_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/remora-backup/remora/core/code"
	"github.com/remora-backup/remora/core/needs"
	"github.com/remora-backup/remora/core/run"
	"github.com/remora-backup/remora/core/staging"
	"github.com/remora-backup/remora/core/syncpoint"
)

// A restore is interrupted at each point, and run again each time; the last run finishes.
func TestInterruptEverywhere(t *testing.T) {
	needs.Server(t)
	f := sharedFixture(t)
	target := filepath.Join(t.TempDir(), "new")
	storage := f.storage()
	for _, p := range syncpoint.Restore.Phases() {
		if p == syncpoint.PublishRenamed {
			break
		}
		switch p {
		case syncpoint.FetchPack, syncpoint.FetchExtent, syncpoint.FetchWritten, syncpoint.FetchPackDone,
			syncpoint.PrepareDropped, syncpoint.PrepareOwned, syncpoint.PrepareSynced, syncpoint.PrepareDone:
			target = filepath.Join(t.TempDir(), "new") // where the step before is not done yet
		}
		seen, err := doUntil(t, config(t, storage, target), p)
		var i *run.Interrupted
		if !errors.As(err, &i) || code.Of(err) != code.SIGINT || seen.Last().State != run.Cancelled {
			t.Fatalf("interrupted at %s: got %v, state %s", p, err, seen.Last().State)
		}
		switch p {
		case syncpoint.FetchDone, syncpoint.PrepareProgress, syncpoint.PrepareDone, syncpoint.PublishRename:
			unstartable(t, target)
		}
		if _, err := os.Lstat(filepath.Join(target, "mysql.ibd")); !errors.Is(err, fs.ErrNotExist) {
			t.Fatalf("mysql.ibd after an interruption at %s: got %v", p, err)
		}
	}
	// After the last rename nothing can be interrupted any more.
	seen, err := doUntil(t, config(t, storage, target), syncpoint.PublishRenamed)
	if err != nil || seen.Last().State != run.CompleteWithWarnings { // of the prepared XA transaction
		t.Fatalf("interrupted after the end: got %v, state %s", err, seen.Last().State)
	}
	checkFiles(t, target)
	f.check(t, target)
}

// Packs that were written by an interrupted run are not fetched again.
func TestResumeFetch(t *testing.T) {
	needs.Server(t)
	f := sharedFixture(t)
	cfg := config(t, f.storage(), t.TempDir())
	if _, err := doUntil(t, cfg, syncpoint.FetchDone); err == nil {
		t.Fatal("interrupted restore: got no error")
	}
	storage := f.storage()
	seen, err := do(t, t.Context(), config(t, storage, cfg.Target))
	if err != nil {
		t.Fatal(err)
	}
	if n := storage.packed.Load(); n != 0 {
		t.Errorf("bytes fetched again: got %d, want 0", n)
	}
	checkProgress(t, seen)
}

// What the journal of packs does not name, or not in a whole line, is fetched again.
func TestResumeTrustsOnlyTheJournal(t *testing.T) {
	needs.Server(t)
	f := sharedFixture(t)
	cfg := config(t, f.storage(), t.TempDir())
	if _, err := doUntil(t, cfg, syncpoint.FetchDone); err == nil {
		t.Fatal("interrupted restore: got no error")
	}
	dir := filepath.Join(cfg.Target, staging.Name)
	if err := os.WriteFile(filepath.Join(dir, "packs"), []byte("0 100\n1 1"), 0o600); err != nil {
		t.Fatal(err)
	}
	// Bytes that never reached the disk, of files that lie behind the first pack.
	for _, name := range []string{"undo_002", "#innodb_redo/#ib_redo0"} {
		path := filepath.Join(dir, "data", name)
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(os.Truncate(path, 0), os.Truncate(path, info.Size())); err != nil {
			t.Fatal(err)
		}
	}
	storage := f.storage()
	if _, err := do(t, t.Context(), config(t, storage, cfg.Target)); err != nil {
		t.Fatal(err)
	}
	if got, all := storage.packed.Load(), f.manifest.Packs.Size; got == 0 || got >= all {
		t.Errorf("bytes fetched again: got %d, want some of %d", got, all)
	}
	f.check(t, cfg.Target)
}

// Somebody makes room by removing, or cutting, a file of the unfinished restore.
func TestResumeNoticesMissingFiles(t *testing.T) {
	needs.Server(t)
	f := sharedFixture(t)
	for name, lose := range map[string]func(string) error{
		"removed": os.Remove,
		"cut":     func(path string) error { return os.Truncate(path, 1<<20) },
	} {
		cfg := config(t, f.storage(), t.TempDir())
		if _, err := doUntil(t, cfg, syncpoint.FetchDone); err == nil {
			t.Fatal("interrupted restore: got no error")
		}
		if err := lose(filepath.Join(cfg.Target, staging.Name, "data", "undo_002")); err != nil {
			t.Fatal(err)
		}
		storage := f.storage()
		seen, err := do(t, t.Context(), config(t, storage, cfg.Target))
		if err != nil {
			t.Fatal(err)
		}
		if got, all := storage.packed.Load(), f.manifest.Packs.Size; got < all/2 || seen.Last().State != run.CompleteWithWarnings {
			t.Errorf("%s: fetched again %d of %d bytes, state %s", name, got, all, seen.Last().State)
		}
	}
}

// A prepare that was interrupted begins again from fetched files, and says so.
func TestPrepareInterrupted(t *testing.T) {
	needs.Server(t)
	f := sharedFixture(t)
	cfg := config(t, f.storage(), t.TempDir())
	for _, p := range []syncpoint.Point{syncpoint.FetchDone, syncpoint.PrepareProgress} {
		if _, err := doUntil(t, cfg, p); err == nil {
			t.Fatal("interrupted restore: got no error")
		}
	}
	storage := f.storage()
	seen, err := do(t, t.Context(), config(t, storage, cfg.Target))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := storage.packed.Load(), f.manifest.Packs.Size; got < want/2 {
		t.Errorf("bytes fetched again: got %d of %d", got, want)
	}
	warned := false
	for _, e := range seen.Events() {
		warned = warned || e.Kind == run.KindWarning && strings.Contains(e.Message, "fetched anew")
	}
	if !warned || seen.Last().State != run.CompleteWithWarnings {
		t.Errorf("warning of the second fetch: got %v, state %s", warned, seen.Last().State)
	}
}

// Redo that does not reach the end of the backup fails the restore with the server's words.
func TestDamagedRedo(t *testing.T) {
	needs.Server(t)
	f := sharedFixture(t)
	cfg := config(t, f.storage(), t.TempDir())
	damage := controller(func(_ context.Context, p syncpoint.Point) error {
		if p != syncpoint.PrepareSpawn {
			return nil
		}
		name := filepath.Join(cfg.Target, staging.Name, "data", "#innodb_redo", "#ib_redo0")
		b, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		blocks := int(f.manifest.LSN.End-f.manifest.LSN.Start) / 512
		b[2048+512*(blocks/2)+100] ^= 1
		return os.WriteFile(name, b, 0o600)
	})
	_, err := do(t, syncpoint.With(t.Context(), damage), cfg)
	checkCode(t, err, code.Integrity, "MY-012545")
	unstartable(t, cfg.Target)
}

// What was prepared and then changed by somebody is not published: it is fetched anew.
func TestResumeLooksAtWhatWasPrepared(t *testing.T) {
	needs.Server(t)
	f := sharedFixture(t)
	cfg := config(t, f.storage(), t.TempDir())
	var stopped *run.Interrupted
	if _, err := doUntil(t, cfg, syncpoint.PrepareDone); !errors.As(err, &stopped) {
		t.Fatalf("interrupted restore: got %v", err)
	}
	name := filepath.Join(cfg.Target, staging.Name, "data", "d", "t.ibd")
	info, err := os.Stat(name)
	if err != nil {
		t.Fatal(err)
	}
	file, err := os.OpenFile(name, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, err = file.WriteAt(make([]byte, 4096), 5*16<<10)
	// Not even its time tells.
	if err := errors.Join(err, file.Close(), os.Chtimes(name, info.ModTime(), info.ModTime())); err != nil {
		t.Fatal(err)
	}
	storage := f.storage()
	seen, err := do(t, t.Context(), config(t, storage, cfg.Target))
	if err != nil {
		t.Fatal(err)
	}
	if got, all := storage.packed.Load(), f.manifest.Packs.Size; got < all/2 || seen.Last().State != run.CompleteWithWarnings {
		t.Errorf("fetched %d of %d bytes, state %s", got, all, seen.Last().State)
	}
	f.check(t, cfg.Target)
}
