package testscripts

import (
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"regexp"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/remora-backup/remora/core/client"
	"github.com/remora-backup/remora/core/control"
)

// served waits until the sidecar of the story answers and carries nothing out.
func served(ts *testscript.TestScript, _ bool, args []string) {
	want(ts, args)
	dir := ts.MkAbs("state")
	for began := time.Now(); time.Since(began) < patience; time.Sleep(20 * time.Millisecond) {
		c, err := client.Find(context.Background(), dir)
		ts.Check(err)
		if c == nil {
			continue
		}
		st, err := c.Status(context.Background())
		ts.Check(err)
		if st.Operation == "" {
			return
		}
	}
	ts.Fatalf("no sidecar answers")
}

// onAPI prints the answer of the sidecar to GET PATH.
func onAPI(ts *testscript.TestScript, _ bool, args []string) {
	want(ts, args, "PATH")
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return control.Dial(ctx, ts.MkAbs("state"), control.SocketName)
	}
	c := http.Client{Timeout: patience, Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true}}
	res, err := c.Get("http://localhost" + args[0])
	ts.Check(err)
	defer res.Body.Close()
	_, err = io.Copy(ts.Stdout(), res.Body)
	ts.Check(err)
}

// logged waits until a process that was started has written a line that matches.
func logged(ts *testscript.TestScript, _ bool, args []string) {
	want(ts, args, "NAME", "PATTERN")
	pattern, err := regexp.Compile(args[1])
	ts.Check(err)
	for began := time.Now(); time.Since(began) < patience; time.Sleep(20 * time.Millisecond) {
		text, err := os.ReadFile(ts.MkAbs(args[0] + ".stderr"))
		ts.Check(err)
		if pattern.Match(text) {
			return
		}
	}
	ts.Fatalf("%s did not log %s", args[0], args[1])
}
