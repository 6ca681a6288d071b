package host

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin/runner"
	"golang.org/x/sys/unix"

	"github.com/remora-backup/remora/core/code"
	"github.com/remora-backup/remora/plugins/internal/wire"
)

// process is the plugin's process group. It is go-plugin's runner too, because that
// library's own waits for grandchildren, reads standard error for ever, and cannot say
// how a process ended.
type process struct {
	cmd    *exec.Cmd
	logs   *logs
	exited chan struct{} // closed when the end is known and its last words are read

	liveness  *os.File // our end; closing it tells the plugin that we are gone
	stdout    *io.PipeReader
	stderr    io.ReadCloser
	socketDir string

	mu      sync.Mutex
	started bool
	reaped  bool
	line    string // first one on standard output
	why     string // we killed it
	how     string // it ended
}

func newProcess(cmd *exec.Cmd, logs *logs) *process {
	return &process{cmd: cmd, logs: logs, exited: make(chan struct{}), stderr: io.NopCloser(strings.NewReader(""))}
}

// runner gives go-plugin its runner. The command it hands over is empty but for the
// environment it wants.
func (p *process) runner(_ hclog.Logger, cmd *exec.Cmd, socketDir string) (runner.Runner, error) {
	p.cmd.Env = append(p.cmd.Env, cmd.Env...)
	p.socketDir = socketDir
	return p, nil
}

// Start is runner.Runner's.
func (p *process) Start(context.Context) error {
	var ours, theirs [3]*os.File // liveness, standard output, standard error
	var err error
	if theirs[0], ours[0], err = os.Pipe(); err != nil {
		return fmt.Errorf("make a pipe: %w", err)
	}
	for i := 1; i < 3 && err == nil; i++ {
		ours[i], theirs[i], err = os.Pipe()
	}
	defer closeAll(theirs[:])
	if err != nil {
		closeAll(ours[:])
		return fmt.Errorf("make a pipe: %w", err)
	}
	p.cmd.ExtraFiles[0], p.cmd.Stdout, p.cmd.Stderr = theirs[0], theirs[1], theirs[2]
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.why != "" {
		closeAll(ours[:])
		return errors.New(p.why)
	}
	if err := p.cmd.Start(); err != nil {
		closeAll(ours[:])
		return notExecuted(p.cmd.Path, err)
	}
	p.started, p.liveness = true, ours[0]
	out, in := io.Pipe()
	p.stdout = out
	var readers sync.WaitGroup
	readers.Go(func() { p.readStdout(ours[1], in) })
	readers.Go(func() { p.logs.read(ours[2]) })
	go p.reap(&readers, ours[1], ours[2])
	return nil
}

// notExecuted says what the system's refusal to execute a file means.
func notExecuted(path string, err error) error {
	hint := ""
	switch _, missing := os.Stat(path); {
	case errors.Is(err, syscall.ENOEXEC):
		hint = `a script needs its interpreter in the first line, such as #!/usr/bin/python3`
	case errors.Is(err, syscall.EACCES):
		hint = "chmod +x " + path
	case errors.Is(err, syscall.ENOENT) && missing == nil:
		hint = "its first line names an interpreter, or it was built for a loader, that is not there"
	}
	return code.Hint(code.Plugin, hint, "execute: %w", err)
}

func closeAll(files []*os.File) {
	for _, f := range files {
		if f != nil {
			_ = f.Close() // pipes of a process that runs by now, or never will
		}
	}
}

// readStdout passes the first line on as the handshake, and logs what comes after.
func (p *process) readStdout(from *os.File, handshake *io.PipeWriter) {
	const longest = 16 << 10 // a certificate is below 2 KiB
	r := bufio.NewReaderSize(from, longest)
	line, _ := r.ReadSlice('\n') // a line without end, or too long, is no handshake either
	p.mu.Lock()
	p.line = string(line)
	p.mu.Unlock()
	if len(line) > 0 {
		_, _ = fmt.Fprintf(handshake, "%s\n", strings.TrimRight(string(line), "\n")) // fails if nobody listens
	}
	p.logs.read(r)
	_ = handshake.Close()
}

// reap waits for the end. The group is killed before its leader is reaped: until then its
// number cannot belong to anybody else.
func (p *process) reap(readers *sync.WaitGroup, pipes ...*os.File) {
	pid := p.cmd.Process.Pid
	for {
		err := unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	p.mu.Lock()
	_ = syscall.Kill(-pid, syscall.SIGKILL) // most often there is nobody left
	err := p.cmd.Wait()
	p.reaped = true
	p.how = describe(p.cmd.ProcessState, err)
	p.mu.Unlock()
	// A grandchild that left the group may hold the pipes open.
	for _, f := range pipes {
		_ = f.SetReadDeadline(time.Now().Add(500 * time.Millisecond))
	}
	readers.Wait()
	closeAll(pipes)
	p.logs.flush()
	close(p.exited)
}

func describe(state *os.ProcessState, err error) string {
	if state == nil {
		return fmt.Sprintf("exited: %v", err)
	}
	if w, ok := state.Sys().(syscall.WaitStatus); ok && w.Signaled() {
		return fmt.Sprintf("exited: signal %d", w.Signal())
	}
	return fmt.Sprintf("exited: status %d", state.ExitCode())
}

// kill ends the whole group; why is part of the message that says so.
func (p *process) kill(why string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.why == "" && !p.reaped {
		p.why = why
	}
	if p.started && !p.reaped {
		_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL) // it may have ended by itself
	}
}

// letGo tells the plugin that it is alone.
func (p *process) letGo() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.liveness != nil {
		_ = p.liveness.Close()
		p.liveness = nil
	}
}

func (p *process) pid() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.started {
		return 0
	}
	return p.cmd.Process.Pid
}

// gone says whether the process has ended or never was.
func (p *process) gone() bool { return p.goneWithin(0) }

// goneSoon gives the end of a process whose connection broke the time to be noticed.
func (p *process) goneSoon() bool { return p.goneWithin(time.Second) }

func (p *process) goneWithin(d time.Duration) bool {
	p.mu.Lock()
	started := p.started
	p.mu.Unlock()
	if !started {
		return true
	}
	select {
	case <-p.exited:
		return true
	default:
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-p.exited:
		return true
	case <-t.C:
		return false
	}
}

// diedByItself says whether the process ended without our doing.
func (p *process) diedByItself() bool {
	gone := p.goneSoon()
	p.mu.Lock()
	defer p.mu.Unlock()
	return gone && p.why == "" && p.how != ""
}

// end says how the process ended, with its last words.
func (p *process) end() string {
	p.mu.Lock()
	how := p.how
	if p.why != "" {
		how = "killed: " + p.why
	}
	p.mu.Unlock()
	if how == "" {
		how = "did not run"
	}
	return how + p.logs.lastWords()
}

// notAHandshake returns the first line of standard output if that is no handshake.
func (p *process) notAHandshake() (string, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	prefix := fmt.Sprintf("1|%d|unix|", wire.ProtocolVersion)
	if p.line == "" || strings.HasPrefix(p.line, prefix) {
		return "", false
	}
	line := strings.TrimRight(p.line, "\n")
	if len(line) > 100 {
		line = line[:100]
	}
	return line, true
}

// The rest of runner.Runner.

// Wait waits for the end.
func (p *process) Wait(context.Context) error {
	<-p.exited
	return nil
}

// Kill ends the group when a start went wrong. A process that is just ending by itself
// may do so: how it ends is what went wrong.
func (p *process) Kill(context.Context) error {
	if !p.goneWithin(200 * time.Millisecond) {
		p.kill("its handshake is wrong")
	}
	return nil
}

// Stdout gives the handshake.
func (p *process) Stdout() io.ReadCloser { return p.stdout }

// Stderr gives nothing: logs reads it.
func (p *process) Stderr() io.ReadCloser { return p.stderr }

// Name is for messages.
func (p *process) Name() string { return p.cmd.Path }

// ID is the process id.
func (p *process) ID() string { return strconv.Itoa(p.pid()) }

// Diagnose has nothing to add to end.
func (p *process) Diagnose(context.Context) string { return "" }

// PluginToHost accepts no socket but one in the private directory.
func (p *process) PluginToHost(network, address string) (string, string, error) {
	if network != "unix" || !strings.HasPrefix(address, p.socketDir+"/") {
		return "", "", fmt.Errorf("its socket %s:%s is not in %s", network, address, p.socketDir)
	}
	return network, address, nil
}

// HostToPlugin changes nothing.
func (p *process) HostToPlugin(network, address string) (string, string, error) {
	return network, address, nil
}
