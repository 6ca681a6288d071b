package outside

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/remora-backup/remora/core/run"
)

// answer is what remora said.
type answer struct {
	code     int // exit code; -1 if it was killed
	out, err string
	end      struct {
		State        run.State `json:"state"`
		Error        string    `json:"error"`
		GTIDExecuted string    `json:"gtid_executed"`
	}
}

func (a answer) String() string { return a.said() + "\n" + a.err }

// said is what the events tell, progress left out.
func (a answer) said() string {
	var text strings.Builder
	for line := range strings.Lines(a.out) {
		if !strings.Contains(line, `"event":"progress"`) {
			text.WriteString(line)
		}
	}
	return text.String()
}

// numbers differ from draw to draw, and so do names of files.
var numbers = regexp.MustCompile(`/tmp/[^ :"']*|[0-9]+(\.[0-9]+)?`)

// why is the error of the end, so that the same from two draws is the same.
func (a answer) why() string {
	return numbers.ReplaceAllString(firstLine(a.end.Error+"\n"+a.err), "*")
}

// buffer may be written by several.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

// process is a remora that runs.
type process struct {
	cmd      *exec.Cmd
	out, err buffer
	done     chan struct{}
}

func (w *world) start(args ...string) (*process, error) {
	p := &process{done: make(chan struct{})}
	p.cmd = exec.Command(w.program, append(args, "--json", "--config", w.config)...)
	p.cmd.Stdout, p.cmd.Stderr = &p.out, &p.err
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	p.cmd.WaitDelay = 5 * time.Second
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start remora: %w", err)
	}
	go func() {
		_ = p.cmd.Wait() // the answer has it
		close(p.done)
	}()
	return p, nil
}

// signal sends it to remora and its plugins.
func (p *process) signal(s syscall.Signal) { _ = syscall.Kill(-p.cmd.Process.Pid, s) }

// wait returns the answer. What does not end in time is killed, and fails the test.
func (w *world) wait(ctx context.Context, p *process) (a answer) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	select {
	case <-p.done:
	case <-ctx.Done():
		_ = p.cmd.Process.Signal(syscall.SIGQUIT) // its goroutines are worth reading
		select {
		case <-p.done:
		case <-time.After(10 * time.Second):
			p.signal(syscall.SIGKILL)
			<-p.done
		}
		w.t.Errorf("remora did not end within %v\n%s\n%s", patience, p.out.b.String(), p.err.b.String())
	}
	a.code, a.out, a.err = p.cmd.ProcessState.ExitCode(), p.out.b.String(), p.err.b.String()
	last := strings.TrimSpace(a.out)
	last = last[strings.LastIndexByte(last, '\n')+1:]
	if err := json.Unmarshal([]byte(last), &a.end); err != nil && last != "" {
		w.t.Errorf("remora's last line is no event: %v\n%s", err, a.out)
	}
	if done := a.code == 0; done != (a.end.State == run.Complete || a.end.State == run.CompleteWithWarnings) {
		w.t.Errorf("exit code %d and state %q", a.code, a.end.State)
	}
	return a
}

// remora runs a command to its end.
func (w *world) remora(ctx context.Context, args ...string) answer {
	p, err := w.start(args...)
	if err != nil {
		w.t.Fatal(errors.Join(err, ctx.Err()))
	}
	return w.wait(ctx, p)
}
