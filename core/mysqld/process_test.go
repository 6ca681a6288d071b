package mysqld_test

import (
	"bufio"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/remora-backup/remora/core/mysqld"
	"github.com/remora-backup/remora/core/mysqld/mysqldtest"
	"github.com/remora-backup/remora/core/needs"
)

func TestFind(t *testing.T) {
	dir := t.TempDir()
	program, text := filepath.Join(dir, "mysqld"), filepath.Join(dir, "text")
	write(t, program, "#!/bin/sh\n", 0o755)
	write(t, text, "", 0o644)
	t.Setenv("PATH", dir)
	for _, c := range []struct{ path, want string }{{program, program}, {"", program}, {text, ""}, {dir, ""}, {dir + "/none", ""}} {
		got, err := mysqld.Find(c.path)
		if got != c.want || (err == nil) != (c.want != "") {
			t.Errorf("Find(%q): got %q, %v, want %q", c.path, got, err, c.want)
		}
	}
}

func TestVersion(t *testing.T) {
	needs.Server(t)
	v, err := mysqld.Version(t.Context(), mysqldtest.Binary(t))
	if err != nil || !v.AtLeast(8, 0, 30) {
		t.Errorf("version of the private MySQL: got %v, %v", v, err)
	}
	odd := filepath.Join(t.TempDir(), "odd")
	write(t, odd, "#!/bin/sh\necho nonsense\n", 0o755)
	if v, err := mysqld.Version(t.Context(), odd); err == nil {
		t.Errorf("version of a program that is no mysqld: got %v", v)
	}
}

func TestLinesAndExit(t *testing.T) {
	long := strings.Repeat("x", 70_000)
	var got []string
	p := start(t, t.Context(), "echo one; echo two >&2; echo "+long+"; printf last; exit 3", func(line string) { got = append(got, line) })
	var exit *exec.ExitError
	if err := p.Wait(); !errors.As(err, &exit) || exit.ExitCode() != 3 {
		t.Errorf("exit: got %v, want 3", err)
	}
	if want := []string{"one", "two", long[:64<<10], "last"}; !slices.Equal(got, want) {
		t.Errorf("lines: got %d of %.80q", len(got), got)
	}
}

func TestStop(t *testing.T) {
	ready := make(chan struct{})
	p := start(t, t.Context(), "trap 'exit 0' TERM; echo ready; while :; do sleep 0.05; done", func(string) { close(ready) })
	<-ready
	if err := p.Stop(t.Context()); err != nil || p.Wait() != nil {
		t.Errorf("stop: got %v, %v", err, p.Wait())
	}
	if err := p.Stop(t.Context()); err != nil {
		t.Errorf("stop again: got %v", err)
	}
}

func TestStopKillsInTheEnd(t *testing.T) {
	ready := make(chan struct{})
	p := start(t, t.Context(), "trap '' TERM; echo ready; while :; do sleep 0.05; done", func(string) { close(ready) })
	<-ready
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := p.Stop(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("stop one that does not want to: got %v, want %v", err, context.DeadlineExceeded)
	}
	<-p.Done()
}

func TestContextKills(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	p := start(t, ctx, "echo ready; exec sleep 1000", func(string) { cancel() })
	if err := p.Wait(); err == nil {
		t.Error("wait after the context ended: got no error")
	}
}

// A configured mysqld may be a script that starts the server without exec.
func TestContextKillsWhatAScriptStarted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	server := make(chan int, 1)
	p := start(t, ctx, "sleep 1000 & echo $!; wait", func(line string) {
		pid, _ := strconv.Atoi(line)
		server <- pid
		cancel()
	})
	pid := <-server
	select {
	case <-p.Done():
	case <-time.After(10 * time.Second):
		t.Errorf("no end 10 s after the context ended")
	}
	waitDead(t, pid)
}

// waitDead fails if a process that was killed goes on.
func waitDead(t *testing.T, pid int) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); alive(pid); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			_ = syscall.Kill(pid, syscall.SIGKILL)
			t.Fatalf("process %d goes on", pid)
		}
	}
}

// A restore that is killed leaves no server behind. The test runs itself as the process that is killed.
func TestDiesWithItsParent(t *testing.T) {
	if os.Getenv("REMORA_TEST_PARENT") != "" {
		p := start(t, t.Context(), "exec sleep 1000", nil)
		os.Stdout.WriteString("child " + strconv.Itoa(p.Pid()) + "\n")
		<-p.Done()
		return
	}
	parent := exec.Command(os.Args[0], "-test.run=^TestDiesWithItsParent$")
	parent.Env = append(os.Environ(), "REMORA_TEST_PARENT=1")
	out, err := parent.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := parent.Start(); err != nil {
		t.Fatal(err)
	}
	var pid int
	for lines := bufio.NewScanner(out); pid == 0 && lines.Scan(); {
		if s, ok := strings.CutPrefix(lines.Text(), "child "); ok {
			pid, _ = strconv.Atoi(s)
		}
	}
	if pid == 0 || syscall.Kill(pid, 0) != nil {
		t.Fatalf("child %d does not run", pid)
	}
	parent.Process.Kill()
	_ = parent.Wait()
	waitDead(t, pid)
}

// alive reports whether a process runs; one that nobody has waited for does not.
func alive(pid int) bool {
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return false
	}
	_, state, _ := strings.Cut(string(stat), ") ")
	return !strings.HasPrefix(state, "Z")
}

func start(t *testing.T, ctx context.Context, script string, onLine func(string)) *mysqld.Process {
	t.Helper()
	p, err := mysqld.Start(ctx, mysqld.Options{Bin: "/bin/bash", Args: []string{"-c", script}, OnLine: onLine})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Kill)
	return p
}

func write(t *testing.T, path, text string, mode os.FileMode) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
}
