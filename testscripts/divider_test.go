package testscripts

import (
	"context"
	"io"
	"net"
	"strconv"

	"github.com/rogpeppe/go-internal/testscript"
)

// divide listens on a port for several servers and leads each new connection to the next one of them.
func divide(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) < 3 {
		ts.Fatalf("usage: divider VARIABLE NAME...")
	}
	var ports []int
	for _, name := range args[1:] {
		ports = append(ports, serverOf(ts, name).Port)
	}
	l, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", "127.0.0.1:0")
	ts.Check(err)
	ts.Defer(func() { l.Close() })
	ts.Setenv(args[0], strconv.Itoa(l.Addr().(*net.TCPAddr).Port))
	go func() {
		for n := 0; ; n++ {
			from, err := l.Accept()
			if err != nil {
				return
			}
			go lead(from, ports[n%len(ports)])
		}
	}()
}

// lead carries bytes both ways until one side ends.
func lead(from net.Conn, port int) {
	defer from.Close()
	to, err := (&net.Dialer{}).DialContext(context.Background(), "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil {
		return
	}
	defer to.Close()
	go func() {
		_, _ = io.Copy(to, from)
		_ = to.(*net.TCPConn).CloseWrite()
	}()
	_, _ = io.Copy(from, to)
}
