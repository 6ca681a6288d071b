package debug_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/remora-backup/remora/core/syncpoint"
	"github.com/remora-backup/remora/core/syncpoint/debug"
)

// The test binary is also the process that is debugged: it passes two points and says so.
func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == "victim" {
		if err := victim(os.Args[2]); err != nil {
			fmt.Println(err)
			os.Exit(3)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func victim(socket string) error {
	s, err := debug.Listen(context.Background(), socket)
	if err != nil {
		return err
	}
	defer s.Close()
	ctx := syncpoint.With(context.Background(), s)
	if err := syncpoint.At(ctx, syncpoint.BackupStart); err != nil {
		return err
	}
	fmt.Println("started")
	return syncpoint.At(ctx, syncpoint.CopyExtent)
}

// serve returns a context whose points are held through the socket.
func serve(t *testing.T) (context.Context, *debug.Server, string) {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "s")
	s, err := debug.Listen(t.Context(), socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return syncpoint.With(t.Context(), s), s, socket
}

// do gives commands, one string each, and returns the last answer.
func do(t *testing.T, socket string, commands ...string) string {
	t.Helper()
	answer := ""
	for _, c := range commands {
		var err error
		if answer, err = debug.Do(t.Context(), socket, strings.Fields(c)...); err != nil {
			t.Fatal(err)
		}
	}
	return answer
}

// pass sends goroutines to the point and returns what each got.
func pass(ctx context.Context, n int, p syncpoint.Point) (results chan error, all *sync.WaitGroup) {
	results, all = make(chan error, n), new(sync.WaitGroup)
	for range n {
		all.Go(func() { results <- syncpoint.At(ctx, p) })
	}
	return results, all
}

func TestNobodyPassesBeforeGo(t *testing.T) {
	ctx, _, socket := serve(t)
	results, _ := pass(ctx, 1, syncpoint.BackupStart)
	do(t, socket, "arm backup.start") // in time, whenever the goroutine comes
	select {
	case err := <-results:
		t.Fatalf("passed before go: %v", err)
	default:
	}
	do(t, socket, "go", "wait backup.start", "resume backup.start")
	if err := <-results; err != nil {
		t.Error(err)
	}
}

func TestPauseSeveralPointsAndGoroutines(t *testing.T) {
	ctx, _, socket := serve(t)
	do(t, socket, "go", "arm copy.extent every", "arm redo.block")
	extents, _ := pass(ctx, 3, syncpoint.CopyExtent)
	blocks, _ := pass(ctx, 1, syncpoint.RedoBlock)
	do(t, socket, "wait copy.extent n=3", "wait redo.block")
	if err := <-func() chan error { c, _ := pass(ctx, 1, syncpoint.RedoBlock); return c }(); err != nil {
		t.Errorf("a point armed once held a second goroutine: %v", err)
	}
	if got := do(t, socket, "hits"); got != "redo.block 2\ncopy.extent 3\n" {
		t.Errorf("hits are %q", got)
	}
	if got := do(t, socket, "list"); !strings.Contains(got, "copy.extent hits=3 held=3 armed=pause nth=1 every\n") || !strings.Contains(got, "redo.block hits=2 held=1\n") {
		t.Errorf("list is\n%s", got)
	}
	if got := do(t, socket, "resume copy.extent"); got != "3\n" {
		t.Errorf("resumed %q, want 3", got)
	}
	for range 3 {
		if err := <-extents; err != nil {
			t.Error(err)
		}
	}
	select {
	case <-blocks:
		t.Error("resuming one point released another")
	default:
	}
	do(t, socket, "resume redo.block")
	<-blocks
}

func TestNth(t *testing.T) {
	ctx, _, socket := serve(t)
	do(t, socket, "go", "arm copy.extent fail nth=3")
	for i := 1; i <= 4; i++ {
		err := syncpoint.At(ctx, syncpoint.CopyExtent)
		if errors.Is(err, debug.ErrInjected) != (i == 3) {
			t.Errorf("goroutine %d got %v", i, err)
		}
	}
	do(t, socket, "arm copy.extent fail every", "disarm copy.extent")
	if err := syncpoint.At(ctx, syncpoint.CopyExtent); err != nil {
		t.Errorf("disarmed point says %v", err)
	}
}

// Whoever is held is let go when the context ends, and finds out by itself.
func TestInterruptionReleases(t *testing.T) {
	ctx, _, socket := serve(t)
	do(t, socket, "go", "arm lock.held")
	ctx, cancel := context.WithCancel(ctx)
	results, _ := pass(ctx, 1, syncpoint.LockHeld)
	do(t, socket, "wait lock.held")
	cancel()
	if err := <-results; err != nil {
		t.Errorf("interrupted goroutine got %v, want nil", err)
	}
	if got := do(t, socket, "resume lock.held"); got != "0\n" {
		t.Errorf("resumed %q afterwards, want 0", got)
	}
}

func TestCloseReleasesEverybody(t *testing.T) {
	ctx, s, socket := serve(t)
	do(t, socket, "go", "arm copy.extent every")
	_, all := pass(ctx, 2, syncpoint.CopyExtent)
	do(t, socket, "wait copy.extent n=2")
	waiter, err := debug.Dial(t.Context(), socket)
	if err != nil {
		t.Fatal(err)
	}
	defer waiter.Close()
	s.Close()
	all.Wait()
	if _, err := waiter.Do(t.Context(), "list"); !errors.Is(err, debug.ErrEnded) {
		t.Errorf("a connection after Close says %v, want ErrEnded", err)
	}
	if err := syncpoint.At(ctx, syncpoint.CopyExtent); err != nil {
		t.Errorf("a point after Close says %v", err)
	}
}

func TestAttachedClientReleasesWhenItGoes(t *testing.T) {
	ctx, _, socket := serve(t)
	c, err := debug.Dial(t.Context(), socket)
	if err != nil {
		t.Fatal(err)
	}
	for _, command := range []string{"attach", "go", "arm copy.extent every"} {
		if _, err := c.Do(t.Context(), command); err != nil {
			t.Fatal(err)
		}
	}
	_, all := pass(ctx, 2, syncpoint.CopyExtent)
	do(t, socket, "wait copy.extent n=2")
	c.Close()
	all.Wait()
}

func TestWrongCommands(t *testing.T) {
	_, _, socket := serve(t)
	for command, want := range map[string]string{
		"arm copy.extnet":              "is copy.extent meant?",
		"wait nonsense":                "list shows all",
		"arm":                          "arm needs a sync point",
		"arm copy.extent explode":      `no option "explode"`,
		"arm copy.extent nth=0":        "nth is 1 or more",
		"wait copy.extent timeout=x":   "timeout=x",
		"wait copy.extent timeout=1ms": "0 of 1 held at copy.extent",
		"resume copy.extent now":       "no more",
		"list all":                     "takes no arguments",
		"stop":                         `no command "stop"`,
	} {
		_, err := debug.Do(t.Context(), socket, strings.Fields(command)...)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", command, err, want)
		}
	}
}

func TestSocketIsPrivate(t *testing.T) {
	_, _, socket := serve(t)
	info, err := os.Stat(socket)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("socket has mode %v (%v), want 0600", info.Mode(), err)
	}
	if _, err := debug.Listen(t.Context(), socket); err == nil {
		t.Error("a second process took the socket")
	}
}

// run starts the victim, gives the commands and returns its output and end.
func run(t *testing.T, commands ...string) (string, *os.ProcessState) {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "s")
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	cmd := exec.CommandContext(t.Context(), self, "victim", socket)
	cmd.Stdout = &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for _, c := range commands {
		if _, err := debug.Do(ctx, socket, strings.Fields(c)...); err != nil {
			t.Error(err)
		}
	}
	_ = cmd.Wait()
	return out.String(), cmd.ProcessState
}

func TestEndsTheProcess(t *testing.T) {
	tests := []struct {
		how    string
		output string
		ended  func(*os.ProcessState) bool
	}{
		{"kill", "started\n", func(p *os.ProcessState) bool { return p.Sys().(syscall.WaitStatus).Signal() == syscall.SIGKILL }},
		{"exit", "started\n", func(p *os.ProcessState) bool { return p.ExitCode() == 1 }},
		{"fail", "started\ninjected failure at copy.extent\n", func(p *os.ProcessState) bool { return p.ExitCode() == 3 }},
		{"pause nth=2", "started\n", func(p *os.ProcessState) bool { return p.ExitCode() == 0 }},
	}
	for _, tt := range tests {
		t.Run(tt.how, func(t *testing.T) {
			out, state := run(t, "arm copy.extent "+tt.how, "go")
			if out != tt.output || !tt.ended(state) {
				t.Errorf("process said %q and ended with %v", out, state)
			}
		})
	}
}

func TestWaitNoticesTheEndOfTheProcess(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "s")
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self, "victim", socket)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if _, err := debug.Do(ctx, socket, "arm", "copy.extent", "kill"); err != nil {
		t.Fatal(err)
	}
	waiter, err := debug.Dial(ctx, socket)
	if err != nil {
		t.Fatal(err)
	}
	defer waiter.Close()
	if _, err := waiter.Do(ctx, "go"); err != nil {
		t.Fatal(err)
	}
	if _, err := waiter.Do(ctx, "wait", "lock.held"); !errors.Is(err, debug.ErrEnded) {
		t.Errorf("got %v, want ErrEnded", err)
	}
}
