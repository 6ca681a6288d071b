package testscripts

import (
	"net"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// listener stands for a server that others may log in to. It counts who comes.
type listener struct{ came atomic.Int64 }

func listen(ts *testscript.TestScript, _ bool, args []string) {
	want(ts, args, "NAME")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	ts.Defer(func() { _ = l.Close() }) // nobody writes to it
	who := new(listener)
	storyOf(ts).listeners[args[0]] = who
	ts.Setenv(strings.ToUpper(args[0])+"_PORT", strconv.Itoa(l.Addr().(*net.TCPAddr).Port))
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return // closed
			}
			who.came.Add(1)
			_ = c.Close()
		}
	}()
}

func heard(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) == 2 && args[1] == "none" {
		if n := storyOf(ts).listeners[args[0]].came.Load(); n > 0 {
			ts.Fatalf("%d connections came to %s", n, args[0])
		}
		return
	}
	want(ts, args, "NAME")
	who := storyOf(ts).listeners[args[0]]
	for began := time.Now(); who.came.Load() == 0; time.Sleep(20 * time.Millisecond) {
		if time.Since(began) > patience {
			ts.Fatalf("nobody came to %s", args[0])
		}
	}
}
