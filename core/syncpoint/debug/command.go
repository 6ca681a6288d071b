package debug

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/remora-backup/remora/core/syncpoint"
)

func (s *Server) accept() {
	for {
		conn, err := s.listener.Accept()
		if err != nil {
			return // closed
		}
		if !s.keep(conn) {
			conn.Close()
			return
		}
		s.conns.Go(func() { s.serve(conn) })
	}
}

// keep notes a connection for Close, and reports false if that came first.
func (s *Server) keep(conn net.Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case <-s.closed:
		return false
	default:
	}
	s.open[conn] = true
	return true
}

// serve answers the commands of one connection, one after the other.
func (s *Server) serve(conn net.Conn) {
	ctx, cancel := context.WithCancel(context.Background())
	attached := false
	defer func() {
		cancel()
		conn.Close()
		s.mu.Lock()
		delete(s.open, conn)
		s.mu.Unlock()
		if attached {
			s.releaseAll()
		}
	}()
	lines := bufio.NewScanner(conn)
	for lines.Scan() {
		words := strings.Fields(lines.Text())
		if len(words) == 0 {
			continue
		}
		attached = attached || words[0] == "attach"
		answer, then, err := s.command(ctx, words)
		last := "ok"
		if err != nil {
			last = "error: " + err.Error()
		}
		_, err = fmt.Fprintf(conn, "%s%s\n", answer, last)
		if then != nil {
			then()
		}
		if err != nil {
			return
		}
	}
}

// command carries out one command. The answer is whole lines. What lets the process go
// on is left to then, which is called after the answer was sent: it may be the end of the
// process.
func (s *Server) command(ctx context.Context, words []string) (answer string, then func(), err error) {
	verb, args := words[0], words[1:]
	switch verb {
	case "go", "list", "hits", "attach":
		if len(args) > 0 {
			return "", nil, fmt.Errorf("%s takes no arguments", verb)
		}
	case "arm", "disarm", "wait", "resume":
		if len(args) == 0 {
			return "", nil, fmt.Errorf("%s needs a sync point", verb)
		}
		p, err := known(args[0])
		if err != nil {
			return "", nil, err
		}
		return s.pointCommand(ctx, verb, p, args[1:])
	default:
		return "", nil, fmt.Errorf("no command %q; there are arm, disarm, go, wait, resume, list, hits, attach", verb)
	}
	switch verb {
	case "go":
		then = s.begin
	case "list":
		answer = s.list()
	case "hits":
		answer = s.hits()
	}
	return answer, then, nil
}

func (s *Server) pointCommand(ctx context.Context, verb string, p syncpoint.Point, args []string) (answer string, then func(), err error) {
	switch verb {
	case "arm":
		a, err := parseArm(args)
		if err == nil {
			s.arm(p, a)
		}
		return "", nil, err
	case "wait":
		n, timeout, err := parseWait(args)
		if err != nil {
			return "", nil, err
		}
		ctx, cancel := context.WithTimeout(ctx, timeout)
		defer cancel()
		return "", nil, s.wait(ctx, p, n)
	}
	if len(args) > 0 {
		return "", nil, fmt.Errorf("%s takes a sync point and no more", verb)
	}
	if verb == "resume" {
		n, release := s.resume(p)
		return fmt.Sprintf("%d\n", n), release, nil
	}
	s.arm(p, nil)
	return "", nil, nil
}

func parseArm(args []string) (*armed, error) {
	a := &armed{do: pause}
	for _, arg := range args {
		nth, isNth := strings.CutPrefix(arg, "nth=")
		switch do := action(arg); {
		case do == pause || do == fail || do == kill || do == exit:
			a.do = do
		case arg == "every":
			a.every = true
		case isNth:
			n, err := strconv.Atoi(nth)
			if err != nil || n < 1 {
				return nil, fmt.Errorf("nth is 1 or more, not %q", nth)
			}
			a.after = n - 1
		default:
			return nil, fmt.Errorf("no option %q; there are pause, fail, kill, exit, nth=N, every", arg)
		}
	}
	return a, nil
}

func parseWait(args []string) (n int, timeout time.Duration, err error) {
	n, timeout = 1, 30*time.Second
	for _, arg := range args {
		name, value, _ := strings.Cut(arg, "=")
		switch name {
		case "n":
			n, err = strconv.Atoi(value)
		case "timeout":
			timeout, err = time.ParseDuration(value)
		default:
			err = errors.New("there are n=N, timeout=DURATION")
		}
		if err != nil {
			return 0, 0, fmt.Errorf("read option %q: %w", arg, err)
		}
	}
	return n, timeout, nil
}

func (s *Server) list() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var b strings.Builder
	for _, p := range syncpoint.All() {
		at := s.at(p)
		fmt.Fprintf(&b, "%s hits=%d held=%d", p, at.hits, len(at.held))
		if a := at.armed; a != nil {
			fmt.Fprintf(&b, " armed=%s nth=%d", a.do, a.after+1)
			if a.every {
				b.WriteString(" every")
			}
		}
		b.WriteString("\n")
	}
	return b.String()
}

func (s *Server) hits() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var b strings.Builder
	for _, p := range syncpoint.All() {
		if n := s.at(p).hits; n > 0 {
			fmt.Fprintf(&b, "%s %d\n", p, n)
		}
	}
	return b.String()
}
