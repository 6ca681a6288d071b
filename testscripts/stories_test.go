package testscripts

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	_ "github.com/remora-backup/remora/cmd" // so that a changed program is tested again
	"github.com/remora-backup/remora/core/mysqld/mysqldtest"
)

// world is what all stories share.
type world struct {
	bin    string // the directory of the built remora
	mysqld string
	source func() (*server, error)
	turns  chan struct{} // one element per story that may run now

	building sync.Mutex
}

// atOnce bounds the stories that run at the same time: each has a server or two.
const atOnce = 3

var theWorld world

func TestMain(m *testing.M) {
	os.Exit(tell(m))
}

func tell(m *testing.M) (status int) {
	syscall.Umask(0o022) // plugins that others could have written are refused
	bin, err := os.MkdirTemp("", "remora-stories-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(bin)
	theWorld.bin, theWorld.turns = bin, make(chan struct{}, atOnce)
	started := false
	theWorld.source = sync.OnceValues(func() (*server, error) { started = true; return startSource(context.Background()) })
	defer func() {
		if !started {
			return
		}
		if s, err := theWorld.source(); err == nil {
			if err := s.Remove(); err != nil {
				fmt.Fprintln(os.Stderr, err)
				status = 1
			}
		}
	}()
	if err := goBuild("./cmd/remora", filepath.Join(bin, "remora")); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

// goBuild builds a program as it is installed, but with the race detector if this test
// has it.
func goBuild(pkg, to string) error {
	args, env := []string{"build", "-trimpath"}, append(os.Environ(), "CGO_ENABLED=0")
	if raceDetector {
		args, env = append(args, "-race"), os.Environ()
	}
	cmd := exec.Command("go", append(args, "-o", to, pkg)...)
	cmd.Dir, cmd.Env = "..", env
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build %s: %w\n%s", pkg, err, out)
	}
	return nil
}

func TestStories(t *testing.T) {
	if !testing.Short() {
		theWorld.mysqld = mysqldtest.Binary(t)
	}
	testscript.Run(t, testscript.Params{
		Dir:                 ".",
		Setup:               setup,
		Cmds:                commands(),
		Condition:           condition,
		RequireUniqueNames:  true,
		RequireExplicitExec: true,
	})
}

type command = func(ts *testscript.TestScript, neg bool, args []string)

func commands() map[string]command {
	c := map[string]command{
		"source": source, "mysqld": startServer, "listen": listen, "heard": heard, "stopmysqld": stopServer, "keyring": withKeyring, "imported": importTable, "divider": divide, "sql": runSQL, "await": await, "writers": startWriters,
		"stopwriters": stopWriters, "same": same, "config": configure,
		"exits": exits, "start": startProcess, "ended": ended, "signal": signalProcess, "killplugin": killPlugin, "sync": syncPoint,
		"tty": onTerminal, "gobuild": buildProgram, "durable": holdDurable,
		"fields": fields, "keys": keys, "sqlite": onSQLite, "capture": capture, "climbs": climbs, "count": count, "flip": flip, "webhook": startWebhook, "served": served, "api": onAPI, "logged": logged,
	}
	for name, do := range c {
		c[name] = func(ts *testscript.TestScript, neg bool, args []string) {
			if neg {
				ts.Fatalf("%s cannot be negated", name)
			}
			do(ts, neg, args)
		}
	}
	return c
}

// story is what one story has; its commands find it with storyOf.
type story struct {
	t         testscript.T
	mysqld    string // of the servers it starts, "" for the one that all have
	servers   map[string]*server
	processes map[string]*process
	listeners map[string]*listener
}

type storyKey struct{}

func storyOf(ts *testscript.TestScript) *story { return ts.Value(storyKey{}).(*story) }

func setup(env *testscript.Env) error {
	theWorld.turns <- struct{}{}
	env.Defer(func() { <-theWorld.turns })
	env.Values[storyKey{}] = &story{t: env.T(), servers: map[string]*server{}, processes: map[string]*process{}, listeners: map[string]*listener{}}
	// Paths of sockets are short, and those of stories need not be.
	short, err := os.MkdirTemp("/tmp", "story-")
	if err != nil {
		return err
	}
	env.Defer(func() { os.RemoveAll(short) })
	env.Setenv("PATH", theWorld.bin+":"+env.Getenv("PATH"))
	env.Setenv("TMPDIR", short)
	env.Setenv("SYNC", filepath.Join(short, "sync"))
	env.Setenv("MYSQLD", theWorld.mysqld)
	root, err := filepath.Abs("..")
	if err != nil {
		return err
	}
	env.Setenv("ROOT", root)
	env.Setenv("REMORA_CONFIG", filepath.Join(env.WorkDir, "remora.toml"))
	return nil
}

// condition knows [mounts]: a process can have mounts of its own; [grpcio]: Debian's Python
// can import what the example plugin needs; [strace]: system calls can be traced. With
// REMORA_CI set all must hold.
func condition(name string) (bool, error) {
	tries := map[string][]string{
		"mounts": {"unshare", "-Urm", "mount", "-t", "tmpfs", "tmpfs", "/mnt"},
		"grpcio": {"/usr/bin/python3", "-c", "import grpc"},
		"strace": {"strace", "-o", "/dev/null", "true"},
	}
	try, ok := tries[name]
	if !ok {
		return false, fmt.Errorf("unknown condition %q", name)
	}
	out, err := exec.Command(try[0], try[1:]...).CombinedOutput()
	if err != nil && os.Getenv("REMORA_CI") != "" {
		return false, fmt.Errorf("%v: %w: %s", try, err, out)
	}
	return err == nil, nil
}
