package cmd

import (
	"context"
	"errors"
	"os"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/remora-backup/remora/core/run"
)

// A run that was cancelled leaves no goroutine and no file descriptor behind: a daemon has
// many of them in its life.
func TestACancelledRunLeavesNothingOpen(t *testing.T) {
	script := t.TempDir() + "/h.lua"
	if err := os.WriteFile(script, []byte("function on_phase(e) end\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	h := newHome(t, "[[notify]]\nplugin = \"log\"\n[hooks]\nscripts = [\""+script+"\"]\n")
	cancelled := func() {
		t.Helper()
		err := h.operate(t, flags{}, func(ctx context.Context, _ *run.Task) error {
			h.signals <- syscall.SIGINT
			<-ctx.Done()
			return context.Cause(ctx)
		}, nil)
		var i *run.Interrupted
		if !errors.As(err, &i) {
			t.Fatalf("got %v, want an interruption", err)
		}
	}
	cancelled() // libraries keep a few of both for the life of the process
	goroutines, files := runtime.NumGoroutine(), openFiles(t)
	for range 3 {
		cancelled()
	}
	deadline := time.Now().Add(10 * time.Second)
	for runtime.NumGoroutine() > goroutines || openFiles(t) > files {
		if time.Now().After(deadline) {
			all := make([]byte, 1<<20)
			t.Fatalf("%d goroutines and %d files, before it were %d and %d\n%s", runtime.NumGoroutine(), openFiles(t), goroutines, files, all[:runtime.Stack(all, true)])
		}
		time.Sleep(10 * time.Millisecond) // what was told to end needs a moment to do so
	}
}

func openFiles(t *testing.T) int {
	t.Helper()
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}
