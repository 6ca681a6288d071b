package testscripts

import (
	"os"
	"path"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/remora-backup/remora/core/durable"
)

// holdDurable is "durable DIR CMD...": it runs the command, which has to succeed, and holds its
// system calls against the law of package durable, for all below DIR. A manifest there is a
// promise about everything else; what has a '+' in its name is on its way and may be lost.
func holdDurable(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) < 2 {
		ts.Fatalf("usage: durable dir command...")
	}
	trace := ts.MkAbs("trace")
	ts.Check(ts.Exec("strace", append([]string{"-f", "-y", "-qq", "-s", "64", "-o", trace, "-e", durable.Calls}, args[1:]...)...))
	f, err := os.Open(trace)
	ts.Check(err)
	defer f.Close()
	law := durable.Law{
		Root:    ts.MkAbs(args[0]),
		Crown:   func(p string) bool { return path.Base(p) == "manifest.json" },
		Passing: func(p string) bool { return strings.Contains(path.Base(p), "+") },
	}
	broken, promises, err := law.Broken(f)
	ts.Check(err)
	if len(broken) > 0 {
		ts.Fatalf("not durable:\n%s", strings.Join(broken, "\n"))
	}
	if promises < 2 {
		ts.Fatalf("the trace has %d promises: no manifest was seen", promises)
	}
}
