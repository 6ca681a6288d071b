package stop

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/remora-backup/remora/core/control"
	"github.com/remora-backup/remora/core/run"
	"github.com/remora-backup/remora/core/syncpoint"
	"github.com/remora-backup/remora/core/syncpoint/debug"
)

// process is one remora that runs an operation.
type process struct {
	home     home
	cmd      *exec.Cmd
	socket   string
	out, err *buffer
	done     chan struct{}
	started  time.Time
}

// buffer may be read while it is written.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// answer is how an operation ended.
type answer struct {
	code   int // exit code; -9 after SIGKILL
	events []run.Event
	out    string
	err    string
}

func (a answer) String() string { return a.out + "\n" + a.err }

func (a answer) end() *run.Event {
	if len(a.events) == 0 || a.events[len(a.events)-1].Kind != run.KindEnd {
		return nil
	}
	return &a.events[len(a.events)-1]
}

// begin starts remora with --json, and with --debug-sync if hold is called on it.
func begin(h home, args ...string) *process {
	return start(h, append(args, "--json")...)
}

// held starts remora so that it waits for the client to say go.
func held(h home, args ...string) *process {
	socket := h.path("sync")
	_ = os.Remove(socket)
	p := start(h, append(args, "--json", "--debug-sync", socket)...)
	p.socket = socket
	return p
}

func start(h home, args ...string) *process {
	p := &process{home: h, out: new(buffer), err: new(buffer), done: make(chan struct{}), started: time.Now()}
	p.cmd = exec.Command(world.remora, append(args, "--config", h.config())...)
	p.cmd.Stdout, p.cmd.Stderr = p.out, p.err
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	p.cmd.WaitDelay = 5 * time.Second
	if err := p.cmd.Start(); err != nil {
		fmt.Fprintln(p.err, err)
		close(p.done)
		return p
	}
	go func() {
		_ = p.cmd.Wait() // the answer tells
		close(p.done)
	}()
	return p
}

func (p *process) pid() int { return p.cmd.Process.Pid }

func (p *process) signal(s syscall.Signal) error { return syscall.Kill(p.pid(), s) }

func (p *process) exited() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// sync gives an order for sync points.
func (p *process) sync(ctx context.Context, words ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	ended := context.AfterFunc(ctx, func() {})
	defer ended()
	go func() {
		select {
		case <-p.done:
			cancel() // nobody will answer
		case <-ctx.Done():
		}
	}()
	return debug.Do(ctx, p.socket, words...)
}

// await holds the process at the point.
func (p *process) await(ctx context.Context, point syncpoint.Point) error {
	if _, err := p.sync(ctx, "wait", string(point), "timeout="+patience.String()); err != nil {
		return fmt.Errorf("hold the process at %s: %w", point, err)
	}
	return nil
}

// wait returns the answer.
func (p *process) wait(ctx context.Context) (answer, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	select {
	case <-p.done:
	case <-ctx.Done():
		_ = p.signal(syscall.SIGQUIT) // its goroutines are worth reading
		<-p.done
		return answer{}, fmt.Errorf("it did not end: %s\n%s", p.out, p.err)
	}
	a := answer{code: p.cmd.ProcessState.ExitCode(), out: p.out.String(), err: p.err.String()}
	if w, ok := p.cmd.ProcessState.Sys().(syscall.WaitStatus); ok && w.Signaled() {
		a.code = -int(w.Signal())
	}
	for line := range strings.Lines(a.out) {
		var e run.Event
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			if a.code == -int(syscall.SIGKILL) && !strings.HasSuffix(line, "\n") {
				break // it was killed while it wrote
			}
			return a, fmt.Errorf("line %q is no event: %w", line, err)
		}
		a.events = append(a.events, e)
	}
	return a, nil
}

// interrupted returns when the process knows that it is interrupted.
func (p *process) interrupted(ctx context.Context) error {
	for until := time.Now().Add(patience); time.Now().Before(until); time.Sleep(5 * time.Millisecond) {
		if p.exited() {
			return nil
		}
		st, err := control.Ask(ctx, p.home.state(), control.SocketName)
		if err == nil && st.InterruptedBy != "" || errors.Is(err, control.ErrNotRunning) {
			return nil
		}
	}
	return errors.New("it did not notice the interruption")
}

// child is a process that remora started. start tells it from a later one of its number.
type child struct {
	pid   int
	name  string // as ps shows it
	start string
}

// children returns what runs below pid, and below that.
func children(pid int) (all []child) {
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, stat := range stats {
		c, parent, ok := readStat(stat)
		if ok && parent == pid {
			all = append(append(all, c), children(c.pid)...)
		}
	}
	return all
}

func readStat(path string) (c child, parent int, ok bool) {
	text, err := os.ReadFile(path)
	open, end := bytes.IndexByte(text, '('), bytes.LastIndexByte(text, ')')
	if err != nil || open < 0 || end < open {
		return c, 0, false
	}
	f := strings.Fields(string(text[end+1:]))
	if len(f) < 20 || f[0] == "Z" || f[0] == "X" {
		return c, 0, false
	}
	c.pid, _ = strconv.Atoi(strings.TrimSpace(string(text[:open])))
	c.name, c.start = string(text[open+1:end]), f[19]
	parent, _ = strconv.Atoi(f[1])
	return c, parent, true
}

func (c child) alive() bool {
	now, _, ok := readStat(fmt.Sprintf("/proc/%d/stat", c.pid))
	return ok && now.start == c.start
}

// plugin returns remora's plugin of that kind; "hook" is the process of the hooks, which is
// known by its command line.
func (p *process) plugin(kind string) (child, bool) {
	for _, c := range children(p.pid()) {
		words, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", c.pid)) // it may be gone
		if c.name == "remora-"+kind || kind == "hook" && bytes.Contains(words, []byte("\x00hook-host\x00")) {
			return c, true
		}
	}
	return child{}, false
}

// remora runs another command to its end.
func remora(h home, args ...string) (string, error) {
	cmd := exec.Command(world.remora, append(args, "--config", h.config())...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return string(out), fmt.Errorf("remora %s: %w: %s", strings.Join(args, " "), err, &stderr)
	}
	return string(out), nil
}
