package testscripts

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/remora-backup/remora/core/syncpoint/debug"
)

// exits runs a program and compares its exit code; a signal that ended it is a code below 0.
func exits(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) < 2 {
		ts.Fatalf("usage: exits CODE PROGRAM [ARGUMENT...]")
	}
	checkCode(ts, args[0], ts.Exec(args[1], args[2:]...))
}

func checkCode(ts *testscript.TestScript, want string, err error) {
	got := 0
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		got = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if strconv.Itoa(got) != want {
		ts.Fatalf("exit code %d, want %s (%v)", got, want, err)
	}
}

// process is a program in the background.
type process struct {
	cmd  *exec.Cmd
	done chan struct{}
	err  error // valid when done is closed
}

func startProcess(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) < 2 {
		ts.Fatalf("usage: start NAME PROGRAM [ARGUMENT...]")
	}
	name := args[0]
	cmd := exec.Command(lookPath(ts, args[1]), args[2:]...)
	cmd.Dir, cmd.Env = ts.MkAbs("."), environment(ts)
	for _, stream := range []string{"stdout", "stderr"} {
		f, err := os.Create(ts.MkAbs(name + "." + stream))
		ts.Check(err)
		defer f.Close()
		if stream == "stdout" {
			cmd.Stdout = f
		} else {
			cmd.Stderr = f
		}
	}
	ts.Check(cmd.Start())
	p := &process{cmd: cmd, done: make(chan struct{})}
	go func() { p.err = cmd.Wait(); close(p.done) }()
	storyOf(ts).processes[name] = p
	ts.Defer(func() {
		_ = cmd.Process.Kill() // most often it has ended
		<-p.done
	})
}

func lookPath(ts *testscript.TestScript, program string) string {
	if strings.Contains(program, "/") {
		return program
	}
	for _, dir := range filepath.SplitList(ts.Getenv("PATH")) {
		path := filepath.Join(dir, program)
		if info, err := os.Stat(path); err == nil && info.Mode()&0o111 != 0 && !info.IsDir() {
			return path
		}
	}
	ts.Fatalf("no program %s in PATH", program)
	return ""
}

// environment is what a story's programs see of it. testscript keeps the whole for
// itself; its own variables and those of these commands are enough.
func environment(ts *testscript.TestScript) []string {
	var env []string
	for _, name := range []string{"PATH", "HOME", "TMPDIR", "WORK", "SYNC", "REMORA_CONFIG", "GORACE", "GOCOVERDIR", "GOTRACEBACK"} {
		if v := ts.Getenv(name); v != "" {
			env = append(env, name+"="+v)
		}
	}
	return env
}

func processOf(ts *testscript.TestScript, name string) *process {
	p := storyOf(ts).processes[name]
	if p == nil {
		ts.Fatalf("no program %s was started", name)
	}
	return p
}

// ended waits for the end. The streams are the command's own then, as after exits.
func ended(ts *testscript.TestScript, _ bool, args []string) {
	want(ts, args, "NAME", "CODE")
	p := processOf(ts, args[0])
	select {
	case <-p.done:
	case <-time.After(patience):
		_ = p.cmd.Process.Signal(syscall.SIGQUIT) // so that it says what it was doing
		<-p.done
		ts.Logf("[stderr]\n%s", ts.ReadFile(args[0]+".stderr"))
		ts.Fatalf("%s did not end", args[0])
	}
	fmt.Fprint(ts.Stdout(), ts.ReadFile(args[0]+".stdout"))
	fmt.Fprint(ts.Stderr(), ts.ReadFile(args[0]+".stderr"))
	checkCode(ts, args[1], p.err)
}

func signalProcess(ts *testscript.TestScript, _ bool, args []string) {
	want(ts, args, "NAME", "SIGNAL")
	known := map[string]syscall.Signal{"INT": syscall.SIGINT, "TERM": syscall.SIGTERM, "HUP": syscall.SIGHUP, "KILL": syscall.SIGKILL}
	sig, ok := known[args[1]]
	if !ok {
		ts.Fatalf("unknown signal %s", args[1])
	}
	ts.Check(processOf(ts, args[0]).cmd.Process.Signal(sig))
}

// killPlugin finds the plugin among the children of a program by the name it gives itself.
func killPlugin(ts *testscript.TestScript, _ bool, args []string) {
	want(ts, args, "NAME", "KIND")
	parent := strconv.Itoa(processOf(ts, args[0]).cmd.Process.Pid)
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	ts.Check(err)
	killed := 0
	for _, path := range stats {
		text, err := os.ReadFile(path)
		if err != nil {
			continue // it has ended meanwhile
		}
		pid, rest, _ := strings.Cut(string(text), " (")
		comm, rest, _ := strings.Cut(rest, ") ")
		if f := strings.Fields(rest); len(f) < 2 || f[1] != parent || comm != "remora-"+args[1] {
			continue
		}
		n, err := strconv.Atoi(pid)
		ts.Check(err)
		ts.Check(syscall.Kill(n, syscall.SIGKILL))
		killed++
	}
	if killed != 1 {
		ts.Fatalf("%s has %d plugins of kind %s", args[0], killed, args[1])
	}
}

func syncPoint(ts *testscript.TestScript, _ bool, args []string) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	answer, err := debug.Do(ctx, ts.Getenv("SYNC"), args...)
	fmt.Fprint(ts.Stdout(), answer)
	ts.Check(err)
}

func buildProgram(ts *testscript.TestScript, _ bool, args []string) {
	want(ts, args, "PACKAGE", "NAME")
	sources, err := filepath.Glob(filepath.Join("..", args[0], "*.go"))
	ts.Check(err)
	for _, path := range sources {
		_, err := os.Stat(path) // go test remembers, and tests again when it has changed
		ts.Check(err)
	}
	theWorld.building.Lock()
	defer theWorld.building.Unlock()
	ts.Check(goBuild(args[0], ts.MkAbs(args[1])))
}
