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
	"github.com/remora-backup/remora/core/mysqld/mysqldtest"
	"github.com/remora-backup/remora/core/needs"
	"github.com/remora-backup/remora/core/repo"
	"github.com/remora-backup/remora/core/restore"
	"github.com/remora-backup/remora/core/run"
	"github.com/remora-backup/remora/core/syncpoint"
)

// export runs an export; without a point it is not interrupted.
func export(t *testing.T, cfg restore.Config, until syncpoint.Point) error {
	t.Helper()
	plan, err := restore.NewExport(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	if until != "" {
		ctx = syncpoint.With(ctx, failAt(until))
	}
	return run.Do(ctx, plan, run.Options{})
}

// An exported directory is one that any server recovers, its own binary log included.
func TestExportIsARecoverableDataDirectory(t *testing.T) {
	needs.Server(t)
	f := sharedFixture(t)
	target := t.TempDir()
	if err := export(t, config(t, f.storage(), target), ""); err != nil {
		t.Fatal(err)
	}
	e, err := repo.ReadExport(target)
	if err != nil || e.Manifest.ID != f.manifest.ID {
		t.Fatalf("%s: got backup %q, %v, want %q", repo.ExportName, e.Manifest.ID, err, f.manifest.ID)
	}
	log := f.manifest.Binlog.File
	if b, err := os.ReadFile(filepath.Join(target, "binlog.index")); err != nil || string(b) != "./"+log+"\n" {
		t.Errorf("binlog.index: got %q, %v, want ./%s", b, err, log)
	}
	if info, err := os.Stat(filepath.Join(target, log)); err != nil || uint64(info.Size()) != f.manifest.Binlog.Position {
		t.Errorf("%s: got %v, %v, want %d bytes", log, info, err, f.manifest.Binlog.Position)
	}
	s := mysqldtest.StartDir(t, target)
	got, err := mysqldtest.Checksums(s.DB())
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range f.sums {
		if got[name] != want {
			t.Errorf("table %s: checksum %s, want %s", name, got[name], want)
		}
	}
	text, err := os.ReadFile(s.Log)
	if err != nil || !strings.Contains(string(text), "Starting crash recovery") {
		t.Errorf("the server's log has no crash recovery (%v): the export was prepared", err)
	}
	s.Kill()
}

// An interrupted export goes on, is no data directory before, and is not taken for a restore.
func TestExportResumes(t *testing.T) {
	needs.Server(t)
	f := sharedFixture(t)
	for _, p := range []syncpoint.Point{syncpoint.FetchExtent, syncpoint.FetchDone, syncpoint.PublishBefore, syncpoint.PublishEntry} {
		t.Run(string(p), func(t *testing.T) {
			target := t.TempDir()
			cfg := config(t, f.storage(), target)
			if err := export(t, cfg, p); !errors.Is(err, errPoint) {
				t.Fatalf("got %v, want %v", err, errPoint)
			}
			if _, err := os.Stat(filepath.Join(target, "mysql.ibd")); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("mysql.ibd after an interruption: got %v", err)
			}
			if _, err := do(t, t.Context(), cfg); code.Of(err) != code.Target {
				t.Errorf("restore into an unfinished export: got %v, want code %d", err, code.Target)
			}
			if err := export(t, cfg, ""); err != nil {
				t.Fatal(err)
			}
			for _, name := range []string{"mysql.ibd", "#innodb_redo/#ib_redo0", f.manifest.Binlog.File, repo.ExportName} {
				if _, err := os.Stat(filepath.Join(target, name)); err != nil {
					t.Error(err)
				}
			}
			if err := export(t, cfg, ""); code.Of(err) != code.Target {
				t.Errorf("export into an export: got %v, want code %d", err, code.Target)
			}
		})
	}
}

func TestExportNoticesDamage(t *testing.T) {
	needs.Server(t)
	f := sharedFixture(t)
	storage := f.storage()
	for name, b := range storage.All() { // all: the middle of one can be of a doublewrite file, which an export leaves out
		if strings.Contains(name, "/pack-") {
			b = append([]byte(nil), b...)
			b[len(b)/2] ^= 1
			storage.Set(name, b)
		}
	}
	if err := export(t, config(t, storage, t.TempDir()), ""); code.Of(err) != code.Integrity {
		t.Errorf("got %v, want code %d", err, code.Integrity)
	}
}

var errPoint = errors.New("stopped at a sync point")

// failAt fails a run each time it comes to the point.
type failAt syncpoint.Point

func (f failAt) At(_ context.Context, p syncpoint.Point) error {
	if p == syncpoint.Point(f) {
		return errPoint
	}
	return nil
}
