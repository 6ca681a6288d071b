package stop

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/remora-backup/remora/core/run"
	"github.com/remora-backup/remora/core/state"
	"github.com/remora-backup/remora/core/syncpoint"
)

// hangup takes the terminal away from a backup that runs in it, and sends the signal alone.
func hangup(t *testing.T, b *bench) {
	c := b.backupAt(t, syncpoint.CopyExtent)
	c.send(syscall.SIGHUP)
	if a := c.ends(129); a.end() == nil || a.end().State != run.Cancelled || a.end().InterruptedBy != "SIGHUP" {
		t.Errorf("got %s", a)
	}
	for _, at := range []syncpoint.Point{syncpoint.CopyExtent, syncpoint.LockHeld} {
		dir := filepath.Join(b.dir, fmt.Sprint("terminal", numbers.Add(1)))
		h, err := newHome(dir, b.server(t).Socket, filepath.Join(dir, "repo"), "")
		if err != nil {
			t.Fatal(err)
		}
		defer os.RemoveAll(dir)
		p, terminal := inTerminal(t, h, "backup")
		c := &check{t: t, b: b, home: h, p: p, o: one{"backup", at, "", 1000}}
		t.Cleanup(func() { _ = p.signal(syscall.SIGKILL); <-p.done })
		c.order("arm " + string(at) + " pause")
		c.order("go")
		if err := p.await(t.Context(), at); err != nil {
			t.Fatal(err)
		}
		c.before = children(p.pid())
		shown := make([]byte, 64<<10)
		_ = terminal.SetReadDeadline(time.Now().Add(patience))
		if n, err := terminal.Read(shown); err != nil || !strings.Contains(string(shown[:n]), "Starting backup") {
			t.Errorf("the terminal shows %q, %v", shown[:n], err)
		}
		if err := terminal.Close(); err != nil { // the kernel sends SIGHUP, and nothing can be written any more
			t.Fatal(err)
		}
		c.ends(129)
		all := c.operations()
		if len(all) != 2 || all[1].State != run.Cancelled || all[1].InterruptedBy != "SIGHUP" || all[1].Code != 129 {
			t.Errorf("at %s the history is %+v", at, all)
		}
		var progress []state.Progress
		c.remembered(func(s *state.Store) (err error) {
			_, progress, err = s.Show(t.Context(), all[len(all)-1].ID)
			return err
		})
		if n := len(progress); n == 0 || progress[n-1].Event != run.KindEnd {
			t.Errorf("at %s the progress has no end: %+v", at, progress)
		}
	}
}

// inTerminal starts remora in a session of its own whose terminal is the one returned.
func inTerminal(t *testing.T, h home, args ...string) (*process, *os.File) {
	t.Helper()
	terminal, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY|unix.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	var number int
	raw, err := terminal.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	cerr := raw.Control(func(fd uintptr) {
		if err = unix.IoctlSetPointerInt(int(fd), unix.TIOCSPTLCK, 0); err == nil {
			number, err = unix.IoctlGetInt(int(fd), unix.TIOCGPTN)
		}
	})
	if err != nil || cerr != nil {
		t.Fatal(err, cerr)
	}
	inner, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer inner.Close()
	p := &process{home: h, socket: h.path("sync"), out: new(buffer), err: new(buffer), done: make(chan struct{}), started: time.Now()}
	p.cmd = exec.Command(world.remora, append(args, "--debug-sync", p.socket, "--config", h.config())...)
	p.cmd.Stdin, p.cmd.Stdout, p.cmd.Stderr = inner, inner, inner
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true, Ctty: 0}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = p.cmd.Wait() // the exit code tells
		close(p.done)
	}()
	return p, terminal
}
