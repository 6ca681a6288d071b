package kit

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/remora-backup/remora/core/plug"
	"github.com/remora-backup/remora/core/plug/plugtest"
	"github.com/remora-backup/remora/plugins/host"
)

func quiet(t plugtest.T, s *subject) {
	if n := s.p.Dropped(); n > 0 {
		t.Errorf("it logged %d lines more than the 50 a second that are taken: what is important drowns", n)
	}
}

func noSocket(t plugtest.T, s *subject) {
	names, err := s.p.Sockets()
	if err != nil || len(names) > s.sockets {
		t.Errorf("no transfer is under way, and its directory has the sockets %v (%v), %d at first: unlink each when its one connection is there",
			names, err, s.sockets)
	}
}

// spareFiles is how many files a runtime may open for itself.
const spareFiles = 20

func noOpenFile(t plugtest.T, s *subject) {
	if n := len(openFiles(s.p.Pid())); n > s.files+spareFiles {
		t.Errorf("no call is under way, and it has %d descriptors open, %d at first: something is not closed", n, s.files)
	}
}

// openFiles returns what a process has open: descriptor to name.
func openFiles(pid int) map[string]string {
	open := map[string]string{}
	fds, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid)) // the pattern is right
	for _, fd := range fds {
		if name, err := os.Readlink(fd); err == nil {
			open[fd] = name
		}
	}
	return open
}

// written returns the files that a process has open to write.
func written(pid int) map[string]bool {
	names := map[string]bool{}
	for fd, name := range openFiles(pid) {
		info, err := os.Lstat(name)
		if !strings.HasPrefix(name, "/") || err != nil || !info.Mode().IsRegular() {
			continue
		}
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/fdinfo/%s", pid, filepath.Base(fd)))
		_, flags, ok := strings.Cut(string(text), "flags:")
		if err != nil || !ok {
			continue
		}
		mode, err := strconv.ParseInt(strings.Fields(flags)[0], 8, 64)
		if err == nil && mode&syscall.O_ACCMODE != syscall.O_RDONLY {
			names[name] = true
		}
	}
	return names
}

// works asks for something that every plugin of the kind can do.
func (s *subject) works(t plugtest.T, p *host.Plugin) error {
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	switch s.kit.Spec.Kind {
	case host.Storage:
		if _, err := p.Storage().Stat(ctx, "plugtest/nothing"); !errors.Is(err, plug.ErrNotExist) {
			return fmt.Errorf("stat of no object: got %w, want NOT_FOUND", err)
		}
		return nil
	case host.Lock:
		h, err := p.Lock().Acquire(ctx, plug.Ask{Scope: plug.ScopeBackup, Wait: 10 * time.Second})
		if err != nil {
			return err
		}
		_, err = h.Release(ctx)
		return err
	}
	return p.Notify().Send(ctx, plug.Notice{Time: time.Now(), Severity: "info", Text: "test of the plugin: it works"})
}

// signals: terminals and service managers send them to everybody, while the host still needs
// the plugin to clean up.
func signals(t plugtest.T, s *subject) {
	p := s.start(t)
	defer closeQuietly(t, p)
	for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP} {
		if err := syscall.Kill(-p.Pid(), sig); err != nil {
			t.Fatalf("send %v: %v", sig, err)
		}
		time.Sleep(100 * time.Millisecond) // to take effect, if it has one
		if err := s.works(t, p); err != nil {
			t.Fatalf("after %v: %v; ignore SIGINT, SIGTERM and SIGHUP, the host ends the plugin", sig, err)
		}
	}
}

// endsWithHost: with a lock held, which must be given back first.
func endsWithHost(t plugtest.T, s *subject) {
	p := s.start(t)
	defer closeQuietly(t, p)
	if s.kit.Spec.Kind == host.Lock {
		if _, err := p.Lock().Acquire(t.Context(), plug.Ask{Scope: plug.ScopeBackup, Wait: 10 * time.Second}); err != nil {
			t.Fatalf("acquire: %v", err)
		}
	}
	if !p.Abandon() {
		t.Errorf("the descriptor $REMORA_PLUGIN_LIVENESS_FD has reached its end, and it still runs: read it from the start, and exit within 2 seconds of its end")
		return
	}
	if s.kit.Spec.Kind != host.Lock {
		return
	}
	next := s.start(t)
	defer closeQuietly(t, next)
	if err := s.works(t, next); err != nil {
		t.Errorf("it ended with a lock held, which then could not be taken: %v", err)
	}
}

func endsWhenDrained(t plugtest.T, s *subject) {
	p := s.start(t)
	if err := p.Close(t.Context()); err != nil {
		t.Errorf("drain and end: %v", err)
	}
	if p.Killed() {
		t.Errorf("it was drained, and did not exit within 2 seconds of the end of $REMORA_PLUGIN_LIVENESS_FD")
	}
}
