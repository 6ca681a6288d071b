package hooks

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// grace is what a call gets beyond its deadline before its process is killed: enough for
// the interpreter to notice by itself.
const grace = time.Second

var (
	errTimeout = errors.New("took too long; its process was killed")
	errMemory  = errors.New("took too much memory; its process ended")
)

// process is the child as the host sees it.
type process struct {
	cmd      *exec.Cmd
	in       *os.File
	messages chan message // closed when the process is gone
	stderr   *head
	err      error // how it ended; valid once messages is closed
}

// startProcess runs the child. It has no environment, a process group of its own, and
// ends when its stdin does.
func startProcess(argv []string) (*process, error) {
	if len(argv) == 0 {
		return nil, errors.New("start hook process: no command given")
	}
	childIn, in, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("start hook process: %w", err)
	}
	defer childIn.Close()
	p := &process{in: in, messages: make(chan message), stderr: &head{}}
	p.cmd = &exec.Cmd{
		Path: argv[0], Args: argv, Dir: "/", Env: []string{"GOTRACEBACK=none"},
		Stdin: childIn, Stderr: p.stderr, SysProcAttr: &syscall.SysProcAttr{Setpgid: true},
		WaitDelay: grace,
	}
	out, err := p.cmd.StdoutPipe()
	if err == nil {
		err = p.cmd.Start()
	}
	if err != nil {
		in.Close()
		return nil, fmt.Errorf("start hook process: %w", err)
	}
	go p.read(out)
	return p, nil
}

func (p *process) read(out io.Reader) {
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, maxLine)
	var broken error
	for lines.Scan() {
		var m message
		if broken = json.Unmarshal(lines.Bytes(), &m); broken != nil {
			break
		}
		p.messages <- m
	}
	if broken == nil {
		broken = lines.Err()
	}
	p.kill()
	p.err = p.cmd.Wait()
	if broken != nil {
		p.err = fmt.Errorf("hook process speaks no protocol: %w", broken)
	}
	close(p.messages)
}

func (p *process) kill() { _ = p.cmd.Process.Kill() }

// alive reports whether the idle process is still there.
func (p *process) alive() bool {
	select {
	case _, alive := <-p.messages:
		if !alive {
			p.in.Close()
		}
		return alive
	default:
		return true
	}
}

// end closes the child's stdin, which ends it; kills it if it stays; and waits.
func (p *process) end(ctx context.Context) {
	p.in.Close()
	polite := time.NewTimer(grace)
	defer polite.Stop()
	for {
		select {
		case _, alive := <-p.messages:
			if !alive {
				return
			}
		case <-polite.C:
			p.kill()
		case <-ctx.Done():
			p.kill()
			ctx = context.WithoutCancel(ctx)
		}
	}
}

func (p *process) send(r request) error {
	line, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("encode hook request: %w", err)
	}
	if err := p.in.SetWriteDeadline(time.Now().Add(grace)); err != nil {
		return fmt.Errorf("ask hook process: %w", err)
	}
	if _, err := p.in.Write(append(line, '\n')); err != nil {
		return fmt.Errorf("ask hook process: %w", err)
	}
	return nil
}

// ask sends one request and hands the effects on until its answer is there. After an
// error the process is gone. within bounds it all.
func (p *process) ask(ctx context.Context, r request, within time.Duration, effects effects) (*message, error) {
	deadline := time.NewTimer(within + grace)
	defer deadline.Stop()
	effectCtx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	replies := make(chan reply, maxEffects)
	if err := p.send(r); err != nil {
		return nil, p.gone(ctx, err)
	}
	for {
		select {
		case m, alive := <-p.messages:
			switch {
			case !alive:
				return nil, p.died()
			case m.Done != nil || m.Loaded != nil:
				return &m, nil
			case m.Notify != nil:
				go func() { replies <- replyOf(m.Notify.ID, effects.notify(effectCtx, *m.Notify)) }()
			default:
				effects.take(m)
			}
		case answer := <-replies:
			if err := p.send(request{Reply: &answer}); err != nil {
				return nil, p.gone(ctx, err)
			}
		case <-deadline.C:
			return nil, p.gone(ctx, errTimeout)
		case <-ctx.Done():
			return nil, p.gone(ctx, context.Cause(ctx))
		}
	}
}

// gone kills the process and returns why.
func (p *process) gone(ctx context.Context, why error) error {
	p.kill()
	p.end(context.WithoutCancel(ctx))
	if errors.Is(why, syscall.EPIPE) {
		return p.died()
	}
	return why
}

// died says how the process ended by itself.
func (p *process) died() error {
	p.in.Close()
	said := p.stderr.String()
	if outOfMemory(said) {
		return errMemory
	}
	first, _, _ := strings.Cut(said, "\n")
	return fmt.Errorf("%w: %w: %s", errEnded, p.err, cut(first, 200))
}

// errEnded: the process ended, and not for what the script did that we know of.
var errEnded = errors.New("hook process ended")

func replyOf(id int, err error) reply {
	if err != nil {
		return reply{ID: id, Error: err.Error()}
	}
	return reply{ID: id}
}

// head keeps the beginning of what is written: a crash says first what it is.
type head struct{ kept []byte }

func (h *head) Write(b []byte) (int, error) {
	if room := 4<<10 - len(h.kept); room > 0 {
		h.kept = append(h.kept, b[:min(room, len(b))]...)
	}
	return len(b), nil
}

// String must not be called before the process was waited for.
func (h *head) String() string { return string(h.kept) }
