package testscripts

import (
	"context"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/remora-backup/remora/core/client"
)

// served waits until the sidecar of the story answers.
func served(ts *testscript.TestScript, _ bool, args []string) {
	want(ts, args)
	dir := ts.MkAbs("state")
	for began := time.Now(); time.Since(began) < patience; time.Sleep(20 * time.Millisecond) {
		c, err := client.Find(context.Background(), dir)
		ts.Check(err)
		if c != nil {
			return
		}
	}
	ts.Fatalf("no sidecar answers")
}
