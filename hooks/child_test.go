package hooks_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/remora-backup/remora/core/code"
	"github.com/remora-backup/remora/core/plug"
	"github.com/remora-backup/remora/core/run"
	"github.com/remora-backup/remora/core/run/runtest"
	"github.com/remora-backup/remora/hooks"
)

// The child has nothing of its host: no environment, no terminal's group; and when a
// call is cancelled nothing of it goes on.
func TestChildIsAlone(t *testing.T) {
	t.Setenv("SECRET", "x")
	looping := make(chan struct{})
	h, _ := with(t, hooks.Config{Timeout: time.Minute, Notify: func(context.Context, plug.Notice) error { close(looping); return nil }}, `
function on_phase(e) notify.send("looping") while true do end end`)
	pid := child(t)
	env, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
	if err != nil || strings.Contains(string(env), "SECRET") || strings.Contains(string(env), "PATH=") {
		t.Errorf("child has the environment %q (%v)", env, err)
	}
	if group, err := syscall.Getpgid(pid); err != nil || group != pid {
		t.Errorf("child is in process group %d (%v), want its own", group, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); h.Event(ctx, start("1")); h.Event(ctx, entered(2, "x")) }()
	<-looping
	cancel()
	<-done
	if err := syscall.Kill(pid, 0); err == nil {
		t.Errorf("child %d is still there", pid)
	}
}

// A child that somebody kills is replaced, and asked again what it was asked; once, as it
// may be the script that ends it.
func TestKilledChildIsReplaced(t *testing.T) {
	for _, kills := range []int32{1, 2} {
		var killed atomic.Int32
		h, j := with(t, hooks.Config{Notify: func(context.Context, plug.Notice) error {
			if killed.Add(1) <= kills {
				return syscall.Kill(child(t), syscall.SIGKILL)
			}
			return nil
		}}, `
function before_phase(e) notify.send("asked") end
function on_end(e) log.info("told") end`)
		plan := runtest.Plan("backup", "1", runtest.Phase("copying_tablespaces", nil))
		err := run.Do(t.Context(), plan, run.Options{Readers: []run.Reader{h}, Gate: h.Gate})
		if want := map[int32]code.Code{1: code.Done, 2: code.Veto}[kills]; code.Of(err) != want {
			t.Errorf("killed %d times: got %v, want code %d", kills, err, want)
		}
		h.Close(t.Context())
		mention(t, j, "told")
	}
}

// The end of the host is the end of the child's stdin, and that ends the child even
// while a script runs.
func TestChildEndsWithItsHost(t *testing.T) {
	argv := self(t)
	cmd := exec.CommandContext(t.Context(), argv[0], argv[1:]...)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{
		`{"load":{"scripts":[{"name":"s.lua","text":"function on_phase(e) log.info('looping') while true do end end"}],"memory":268435456,"timeout_ms":600000}}`,
		`{"call":{"function":"on_phase","event":{},"timeout_ms":600000}}`,
	} {
		if _, err := fmt.Fprintln(in, line); err != nil {
			t.Fatal(err)
		}
	}
	for lines := bufio.NewScanner(out); lines.Scan() && !strings.Contains(lines.Text(), "looping"); {
	}
	in.Close()
	if err := cmd.Wait(); err != nil {
		t.Errorf("child ended with %v", err)
	}
}

// child returns the process id of this process's only child.
func child(t *testing.T) int {
	t.Helper()
	tasks, err := filepath.Glob("/proc/self/task/*/children")
	if err != nil {
		t.Fatal(err)
	}
	for _, task := range tasks {
		text, err := os.ReadFile(task)
		var pid int
		if err != nil {
			continue
		}
		if _, err := fmt.Sscan(string(text), &pid); err == nil {
			return pid
		}
	}
	t.Fatal("no child process found")
	return 0
}

func TestNoScriptsNoProcess(t *testing.T) {
	h, err := hooks.Open(t.Context(), hooks.Config{Self: []string{"/nonexistent"}})
	if err != nil {
		t.Fatal(err)
	}
	h.Event(t.Context(), start("1"))
	if err := h.Gate(t.Context(), entered(1, "x")); err != nil {
		t.Error(err)
	}
	h.Close(t.Context())
	_, err = hooks.Open(t.Context(), hooks.Config{Self: []string{"/nonexistent"}, Scripts: []string{write(t, "s.lua", "function on_end() end")}})
	if err == nil {
		t.Error("a process that cannot be started was not noticed")
	}
}
