package restore_test

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/remora-backup/remora/core/code"
	"github.com/remora-backup/remora/core/inert"
	"github.com/remora-backup/remora/core/mysqld/mysqldtest"
	"github.com/remora-backup/remora/core/needs"
	"github.com/remora-backup/remora/core/repo"
	"github.com/remora-backup/remora/core/restore"
	"github.com/remora-backup/remora/core/run"
	"github.com/remora-backup/remora/core/run/runtest"
	"github.com/remora-backup/remora/core/staging"
	"github.com/remora-backup/remora/core/syncpoint"
)

func TestRestore(t *testing.T) {
	needs.Server(t)
	f := sharedFixture(t)
	target := filepath.Join(t.TempDir(), "new")
	storage := f.storage()
	watch := controller(func(_ context.Context, p syncpoint.Point) error {
		if p == syncpoint.PrepareDone {
			checkBinlogUsed(t, filepath.Join(target, staging.Name, "binlog"))
		}
		return nil
	})
	seen, err := do(t, syncpoint.With(t.Context(), watch), config(t, storage, target))
	if err != nil {
		t.Fatal(err)
	}
	checkPhases(t, seen)
	checkProgress(t, seen)
	checkResult(t, f, seen.Last(), target)
	if got, want := storage.packed.Load(), f.manifest.Packs.Size; got > want {
		t.Errorf("bytes of packs read: got %d, want at most %d", got, want)
	}
	checkFiles(t, target)
	f.check(t, target)
}

// The restored server has the backup's GTIDs whatever its binary log is.
func TestGTIDsSurviveAnyBinlog(t *testing.T) {
	needs.Server(t)
	f := sharedFixture(t)
	for name, arg := range map[string]string{"other": "--log-bin=other", "none": "--skip-log-bin"} {
		t.Run(name, func(t *testing.T) {
			target := t.TempDir()
			if _, err := do(t, t.Context(), config(t, f.storage(), target)); err != nil {
				t.Fatal(err)
			}
			f.check(t, target, mysqldtest.Args(arg))
		})
	}
}

// checkBinlogUsed makes sure that the recovering server had the source's binary log: it
// has begun the next one.
func checkBinlogUsed(t *testing.T, dir string) {
	t.Helper()
	index, err := os.ReadFile(filepath.Join(dir, "restored.index"))
	if err != nil {
		t.Fatal(err)
	}
	if lines := strings.Fields(string(index)); len(lines) != 2 || !strings.HasSuffix(lines[0], "000002") || !strings.HasSuffix(lines[1], "000003") {
		t.Errorf("index of the binary log after recovery: got %q, want 000002 and 000003", lines)
	}
}

func checkPhases(t *testing.T, seen *runtest.Tape) {
	t.Helper()
	var got []string
	for _, e := range seen.Events(run.KindPhase) {
		got = append(got, e.Phase)
	}
	want := []string{restore.PhaseInfo, restore.PhaseFetch, restore.PhasePrepare, restore.PhasePublish, run.PhaseCompleted}
	if !slices.Equal(got, want) {
		t.Errorf("phases: got %v, want %v", got, want)
	}
}

// Each phase with progress begins without a percent; percents grow, none comes twice, and
// the last one is 100.
func checkProgress(t *testing.T, seen *runtest.Tape) {
	t.Helper()
	told := map[string][]*int{}
	for _, e := range seen.Events(run.KindProgress) {
		told[e.Phase] = append(told[e.Phase], e.Percent)
	}
	for _, phase := range []string{restore.PhaseFetch, restore.PhasePrepare} {
		list := told[phase]
		if len(list) < 2 || list[0] != nil {
			t.Errorf("progress of %s: %d events, want the first without percent and more", phase, len(list))
			continue
		}
		last := -1
		for _, p := range list[1:] {
			if p == nil || *p <= last {
				t.Fatalf("progress of %s: %v after %d", phase, p, last)
			}
			last = *p
		}
		if last != 100 {
			t.Errorf("progress of %s: ends at %d, want 100", phase, last)
		}
	}
}

func checkResult(t *testing.T, f *fixture, end run.Event, target string) {
	t.Helper()
	b, err := json.Marshal(end)
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		restore.Result
		State   run.State
		Message string
	}
	if err := json.Unmarshal(b, &got); err != nil {
		t.Fatal(err)
	}
	m := f.manifest
	want := restore.Result{Backup: m.ID, LockMS: 12.5, Bytes: m.Totals.Plain, BinlogFile: m.Binlog.File,
		BinlogPosition: m.Binlog.Position, GTIDExecuted: f.gtids, LSN: m.LSN.End, Target: target}
	if len(got.Set) == 0 || len(got.Lift) != len(got.Set) {
		t.Errorf("end event: got %s, want what was set and how it is lifted", b)
	}
	got.Set, got.Lift, want.As, want.PreparedXA, want.XA = nil, nil, inert.Inert, 1, []string{"X'78',X'',1"}
	if !reflect.DeepEqual(got.Result, want) || got.State != run.CompleteWithWarnings || got.Message != "Restore completed" {
		t.Errorf("end event: got %s, want %+v", b, want)
	}
}

// checkFiles looks at what is in the target before a server starts on it.
func checkFiles(t *testing.T, target string) {
	t.Helper()
	for _, name := range []string{"auto.cnf", staging.Name, "binlog.index", "#innodb_redo/captured"} {
		if _, err := os.Lstat(filepath.Join(target, name)); err == nil {
			t.Errorf("%s is in the target", name)
		}
	}
	if names, _ := filepath.Glob(filepath.Join(target, "*.dblwr")); len(names) > 0 {
		t.Errorf("doublewrite files are in the target: %v", names)
	}
	for name, want := range map[string]os.FileMode{"d": os.ModeDir | 0o750, "d/t.ibd": 0o640, "empty": os.ModeDir | 0o750} {
		info, err := os.Stat(filepath.Join(target, name))
		if err != nil {
			t.Error(err)
		} else if info.Mode() != want {
			t.Errorf("mode of %s: got %v, want %v", name, info.Mode(), want)
		}
	}
}

// Small pages, a redo log without checksums in several files, undo tablespaces in a
// directory of their own, raw extents, no binary log.
func TestRestoreUnusual(t *testing.T) {
	needs.Server(t)
	f, err := newFixture(t.Context(), []string{"--innodb-page-size=4096", "--innodb-undo-directory=undo"}, repo.None, "--innodb-log-checksums=OFF", "--skip-log-bin", "--gtid-mode=OFF")
	if err != nil {
		t.Fatal(err)
	}
	target := t.TempDir()
	cfg := config(t, f.storage(), target)
	cfg.RedoFileSize = 1 << 20
	if _, err := do(t, t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	f.check(t, target, mysqldtest.InitArgs("--innodb-page-size=4096", "--innodb-undo-directory=undo"), mysqldtest.Args("--skip-log-bin"))
}

// What belongs to the target's owner is given to the owner.
func TestOwner(t *testing.T) {
	needs.Server(t)
	if os.Geteuid() != 0 {
		needs.Missing(t, "only root can give files away")
	}
	f := sharedFixture(t)
	target := t.TempDir()
	const uid, gid = 12345, 12346
	if err := os.Chown(target, uid, gid); err != nil {
		t.Fatal(err)
	}
	if _, err := do(t, t.Context(), config(t, f.storage(), target)); err != nil {
		t.Fatal(err)
	}
	err := filepath.Walk(target, func(name string, info os.FileInfo, err error) error {
		if err != nil {
			return err
		}
		if st := info.Sys().(*syscall.Stat_t); st.Uid != uid || st.Gid != gid {
			t.Errorf("owner of %s: got %d:%d, want %d:%d", name, st.Uid, st.Gid, uid, gid)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func checkCode(t *testing.T, err error, want code.Code, text string) {
	t.Helper()
	if code.Of(err) != want || err == nil || !strings.Contains(err.Error(), text) {
		t.Errorf("error: got code %d, %v; want code %d and %q", code.Of(err), err, want, text)
	}
}
