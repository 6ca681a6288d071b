package mysqld

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Options say how Start runs a mysqld.
type Options struct {
	Bin  string   // see Find
	Args []string // complete; the server's stdin is empty

	// OnLine receives each line of the server's output, which is its error log unless Args say otherwise. It
	// runs on one goroutine; while it is busy the server stops at its next log line once the pipe is full
	// (64 KiB), so a slow one slows the server and loses nothing. nil: the output goes to LogFile.
	OnLine func(line string)

	// LogFile is appended to when OnLine is nil. The server holds it itself, so it may outlive us. "" drops it.
	LogFile string

	// Outlive lets the server run on when this process ends. Otherwise the kernel kills it then.
	Outlive bool
}

// Process is a running mysqld. It is in a process group of its own, so that the terminal's Ctrl-C reaches us
// only and we decide how the server ends.
type Process struct {
	cmd  *exec.Cmd
	done chan struct{}
	err  error // valid when done is closed
}

// Start runs mysqld. It returns when the program runs, which says nothing about the server inside. When ctx
// ends the server is killed: to let it shut down call Stop before. The caller must call Wait, Stop or Kill.
func Start(ctx context.Context, o Options) (*Process, error) {
	cmd := exec.CommandContext(ctx, o.Bin, o.Args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if !o.Outlive {
		cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	}
	cmd.WaitDelay = 10 * time.Second
	p := &Process{cmd: cmd, done: make(chan struct{})}
	read, err := p.output(o)
	if err != nil {
		return nil, err
	}
	started := make(chan error)
	go p.run(started, read)
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", o.Bin, err)
	}
	return p, nil
}

// run owns the process from start to end. The kernel sends the parent death signal when the *thread* that
// started the child ends, so this goroutine keeps its thread until the child is gone.
func (p *Process) run(started chan<- error, read func()) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	raiseFiles()
	err := p.cmd.Start()
	p.closeOutput()
	started <- err
	if err != nil {
		read() // ends at once
		return
	}
	rest := make(chan struct{})
	go func() {
		defer close(rest)
		read()
	}()
	p.endGroup()
	<-rest
	p.err = p.cmd.Wait()
	close(p.done)
}

// raiseFiles raises the limit of open files of this process, which the server inherits, to what it may be: a server has
// a file open for each of many tables.
func raiseFiles() {
	const most = 1 << 20
	var l syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l) != nil {
		return
	}
	hard := l.Max
	l.Cur, l.Max = max(hard, most), max(hard, most)
	if os.Geteuid() != 0 || syscall.Setrlimit(syscall.RLIMIT_NOFILE, &l) != nil {
		l.Cur, l.Max = hard, hard
		_ = syscall.Setrlimit(syscall.RLIMIT_NOFILE, &l) // the server says what is too little for it
	}
}

// endGroup waits for the end of what was started and kills what that has left behind: if
// it is a script that did not exec, the server, which would go on and hold the pipe open.
// Until Wait reaps the leader the group's number cannot belong to anybody else.
func (p *Process) endGroup() {
	for {
		err := unix.Waitid(unix.P_PID, p.Pid(), nil, unix.WEXITED|unix.WNOWAIT, nil)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	_ = syscall.Kill(-p.Pid(), syscall.SIGKILL) // most often there is nobody left
}

// output connects the child's stdout and stderr; the function returned reads them to their end.
func (p *Process) output(o Options) (func(), error) {
	if o.OnLine == nil {
		name := o.LogFile
		if name == "" {
			name = os.DevNull
		}
		f, err := os.OpenFile(name, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
		if err != nil {
			return nil, fmt.Errorf("open the server's log: %w", err)
		}
		p.cmd.Stdout, p.cmd.Stderr = f, f
		return func() {}, nil
	}
	r, w, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("open the server's log: %w", err)
	}
	p.cmd.Stdout, p.cmd.Stderr = w, w
	return func() { eachLine(r, o.OnLine); r.Close() }, nil
}

// closeOutput closes our copy of the child's end.
func (p *Process) closeOutput() { p.cmd.Stdout.(*os.File).Close() }

// maxLine bounds what is kept of one line, in bytes; the server writes stack traces and statements there.
const maxLine = 64 << 10

// eachLine calls f with each line, cut to maxLine, until r ends.
func eachLine(r io.Reader, f func(string)) {
	buf := bufio.NewReaderSize(r, maxLine)
	for {
		line, err := buf.ReadSlice('\n')
		if len(line) > 0 {
			f(strings.TrimRight(string(line), "\r\n"))
		}
		for errors.Is(err, bufio.ErrBufferFull) {
			_, err = buf.ReadSlice('\n')
		}
		if err != nil {
			return
		}
	}
}

// Pid is the server's process id.
func (p *Process) Pid() int { return p.cmd.Process.Pid }

// Done is closed when the server has ended and its output has been read.
func (p *Process) Done() <-chan struct{} { return p.done }

// Wait returns when the server has ended: nil for exit code 0, else an *exec.ExitError or the context's error.
func (p *Process) Wait() error {
	<-p.done
	return p.err
}

// Terminate asks the server to shut down. An ended server is not asked.
func (p *Process) Terminate() {
	// An error means that it has ended already.
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
}

// Stop lets the server shut down and waits for it; when ctx ends first the server is killed and that is
// returned as an error. Stopping an ended server is not an error.
func (p *Process) Stop(ctx context.Context) error {
	p.Terminate()
	select {
	case <-p.done:
		return nil
	case <-ctx.Done():
		p.Kill()
		return fmt.Errorf("stop mysqld (process %d): killed, as it did not end in time: %w", p.Pid(), ctx.Err())
	}
}

// Kill ends the server as a crash would and waits until it is gone.
func (p *Process) Kill() {
	_ = p.cmd.Process.Kill()
	<-p.done
}
