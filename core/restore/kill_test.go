package restore_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/remora-backup/remora/core/needs"
	"github.com/remora-backup/remora/core/plug/plugtest"
	"github.com/remora-backup/remora/core/repo"
	"github.com/remora-backup/remora/core/restore"
	"github.com/remora-backup/remora/core/run"
	"github.com/remora-backup/remora/core/syncpoint"
)

// The environment in which this test binary is a restore that kills itself.
const (
	killPoint   = "REMORA_TEST_KILL_POINT"
	killObjects = "REMORA_TEST_KILL_OBJECTS"
	killTarget  = "REMORA_TEST_KILL_TARGET"
	killMysqld  = "REMORA_TEST_KILL_MYSQLD"
)

func TestMain(m *testing.M) {
	if p := os.Getenv(killPoint); p != "" {
		restoreAndDie(syncpoint.Point(p))
	}
	os.Exit(m.Run())
}

// restoreAndDie ends the process the hard way at a point, the third time if it is one of
// many.
func restoreAndDie(at syncpoint.Point) {
	storage := new(plugtest.Memory)
	dir := os.Getenv(killObjects)
	err := filepath.Walk(dir, func(name string, info os.FileInfo, err error) error {
		if err != nil || info.IsDir() {
			return err
		}
		rel, _ := filepath.Rel(dir, name)
		b, err := os.ReadFile(name)
		storage.Set(rel, b)
		return err
	})
	if err != nil {
		panic(err)
	}
	met := 0
	ctx := syncpoint.With(context.Background(), controller(func(_ context.Context, p syncpoint.Point) error {
		if p != at {
			return nil
		}
		if met++; met == 3 || !strings.HasPrefix(string(p), "fetch.") {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {} // it ends now
		}
		return nil
	}))
	r, err := repo.Open(ctx, storage)
	if err != nil {
		panic(err)
	}
	plan, err := restore.New(restore.Config{ID: "r", Repo: r, BackupID: repo.Latest, Target: os.Getenv(killTarget), Mysqld: os.Getenv(killMysqld), Parallel: 1})
	if err != nil {
		panic(err)
	}
	if err := run.Do(ctx, plan, run.Options{}); err != nil {
		panic(err)
	}
}

// A restore that was killed leaves nothing that starts, no server, and no lock; run again
// it finishes.
func TestKilled(t *testing.T) {
	needs.Server(t)
	f := sharedFixture(t)
	objects := t.TempDir()
	for name, b := range f.objects.All() {
		path := filepath.Join(objects, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	target := filepath.Join(t.TempDir(), "new")
	cfg := config(t, f.storage(), target)
	for _, p := range []syncpoint.Point{syncpoint.FetchExtent, syncpoint.PrepareProgress, syncpoint.PublishEntry, syncpoint.PublishRename} {
		cmd := exec.CommandContext(t.Context(), os.Args[0])
		cmd.Env = append(os.Environ(), killPoint+"="+string(p), killObjects+"="+objects, killTarget+"="+target, killMysqld+"="+cfg.Mysqld)
		out, err := cmd.CombinedOutput()
		if status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || status.Signal() != syscall.SIGKILL {
			t.Fatalf("restore killed at %s: %v\n%s", p, err, out)
		}
		if p != syncpoint.PublishEntry { // as the next one
			unstartable(t, target)
		}
	}
	if _, err := do(t, t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	f.check(t, target)
}
