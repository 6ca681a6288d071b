package host

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/remora-backup/remora/core/plug"
)

func TestGrandchildDoesNotStall(t *testing.T) {
	opts := options(t)
	p, err := Start(t.Context(), oddSpec(t, map[string]any{"grandchild": true}), opts)
	if err != nil {
		t.Fatal(err)
	}
	o, err := p.Storage().Stat(t.Context(), "x")
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Close(t.Context()); err != nil {
		t.Errorf("close: %v", err)
	}
	select {
	case <-p.Exited():
	default:
		t.Error("closed, but not ended")
	}
	wantGone(t, int(o.Size))
}

// TestSignalsDoNotEndPlugins: Ctrl-C and a service manager's stop are the host's.
func TestSignalsDoNotEndPlugins(t *testing.T) {
	p := start(t, oddSpec(t, nil), options(t))
	group, err := syscall.Getpgid(p.Pid())
	if err != nil || group != p.Pid() {
		t.Errorf("process group: got %d, %v; want its own, %d", group, err, p.Pid())
	}
	for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP} {
		if err := syscall.Kill(-p.Pid(), sig); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := p.Storage().Stat(t.Context(), "x"); !errors.Is(err, plug.ErrNotExist) {
		t.Errorf("after the signals: got %v, want ErrNotExist", err)
	}
}

// playHost starts a plugin, tells its process id, and waits to be killed.
func playHost(dir string) {
	p, err := Start(context.Background(), Spec{Kind: Storage, Name: "odd"}, Options{
		Self:     os.Args[0],
		Builtins: map[string][]string{Storage: {"odd"}},
		Dir:      dir,
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(p.Pid())
	select {}
}

func TestKilledHostLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	host := exec.Command(os.Args[0], "host", dir)
	out, err := host.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := host.Start(); err != nil {
		t.Fatal(err)
	}
	var line [64]byte
	n, err := out.Read(line[:])
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(line[:n])))
	if err != nil {
		t.Fatalf("host said %q", line[:n])
	}
	if err := host.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = host.Wait()
	wantGone(t, pid)
	if left, _ := filepath.Glob(filepath.Join(dir, "*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestCloseTwice(t *testing.T) {
	p := start(t, oddSpec(t, nil), options(t))
	for range 2 {
		if err := p.Close(t.Context()); err != nil {
			t.Error(err)
		}
	}
}
