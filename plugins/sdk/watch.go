package sdk

import (
	"os"
	"os/signal"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/remora-backup/remora/plugins/internal/wire"
)

// parentPoll is the second line behind the pipe: a host that gave none, or a copy of the
// pipe's write end that leaked into some other process.
const parentPoll = 500 * time.Millisecond

// watchHost calls gone once when the host has ended.
func watchHost(gone func()) {
	var once sync.Once
	if fd, err := strconv.Atoi(os.Getenv(wire.LivenessEnv)); err == nil && fd > 2 {
		syscall.CloseOnExec(fd)
		pipe := os.NewFile(uintptr(fd), "liveness")
		go func() {
			// The host never writes; whatever ends the read is the host's end.
			_, _ = pipe.Read(make([]byte, 1))
			once.Do(gone)
		}()
	}
	parent := os.Getppid()
	go func() {
		for range time.Tick(parentPoll) {
			if os.Getppid() != parent {
				once.Do(gone)
				return
			}
		}
	}()
}

// ignoreSignals leaves the end of the process to the host. SIGPIPE is among them because
// standard error ends with the host, and draining should not end with it. The signals
// are caught, not ignored, so that a child of the plugin does not inherit that.
func ignoreSignals() {
	ch := make(chan os.Signal, 1)
	signal.Notify(ch, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGPIPE)
	go func() {
		for range ch {
		}
	}()
}

// once runs something one time and gives every caller its result.
type once struct {
	o   sync.Once
	err error
}

func (c *once) do(f func() error) error {
	c.o.Do(func() { c.err = f() })
	return c.err
}
