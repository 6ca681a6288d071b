package cmd

import (
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// supervisor tells systemd how the sidecar is. Without one it tells nobody. Source: sd_notify(3).
type supervisor struct {
	socket string        // "" is none
	beat   time.Duration // how often the watchdog is to be fed; 0: no watchdog

	mu   sync.Mutex
	last string // the status told last
}

func newSupervisor(getenv func(string) string) *supervisor {
	s := &supervisor{socket: getenv("NOTIFY_SOCKET")}
	if n, err := strconv.ParseInt(getenv("WATCHDOG_USEC"), 10, 64); err == nil && n > 0 {
		s.beat = min(time.Duration(n)*time.Microsecond/3, 5*time.Second)
	}
	return s
}

// send is one datagram; whether somebody reads it is no business of the sidecar's.
func (s *supervisor) send(text string) {
	if s.socket == "" {
		return
	}
	address := s.socket
	if strings.HasPrefix(address, "@") {
		address = "\x00" + address[1:]
	}
	c, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: address, Net: "unixgram"})
	if err != nil {
		return
	}
	defer c.Close()
	_ = c.SetWriteDeadline(time.Now().Add(time.Second))
	_, _ = c.Write([]byte(text))
}

func (s *supervisor) Ready()    { s.send("READY=1") }
func (s *supervisor) Stopping() { s.send("STOPPING=1") }
func (s *supervisor) Alive()    { s.send("WATCHDOG=1") }

func (s *supervisor) Reloading() {
	var now unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &now) // the clock is always there
	s.send(fmt.Sprintf("RELOADING=1\nMONOTONIC_USEC=%d", now.Nano()/1000))
}

func (s *supervisor) Status(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if text != s.last {
		s.last = text
		s.send("STATUS=" + printable(strings.ReplaceAll(text, "\n", " ")))
	}
}
