package debug

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/remora-backup/remora/core/nearest"
	"github.com/remora-backup/remora/core/syncpoint"
)

// ErrInjected is what a point armed with fail returns, wrapped.
var ErrInjected = errors.New("injected failure")

// MaxHold is how long a goroutine is held when nobody resumes it; then the point fails.
const MaxHold = 10 * time.Minute

type action string

const (
	pause action = "pause"
	fail  action = "fail"
	kill  action = "kill"
	exit  action = "exit"
)

// Server holds the goroutines of this process at sync points. It is a
// syncpoint.Controller.
type Server struct {
	listener net.Listener
	conns    sync.WaitGroup
	started  chan struct{} // closed by go
	closed   chan struct{}
	close    func()

	mu      sync.Mutex // guards all below
	running bool       // go was said
	open    map[net.Conn]bool
	points  map[syncpoint.Point]*state
	changed chan struct{} // closed and replaced when somebody is held or goes on
}

// state is what is known of one point.
type state struct {
	hits  int
	armed *armed
	held  []chan struct{} // one per goroutine; closed to let it go
}

type armed struct {
	do    action
	after int // goroutines to let pass before
	every bool
}

// Listen makes the socket, which only its owner can use, and serves it until Close.
func Listen(ctx context.Context, socket string) (*Server, error) {
	listener, err := new(net.ListenConfig).Listen(ctx, "unix", socket)
	if err != nil {
		return nil, fmt.Errorf("listen for debug sync: %w", err)
	}
	if err := os.Chmod(socket, 0o600); err != nil {
		listener.Close()
		return nil, fmt.Errorf("listen for debug sync: %w", err)
	}
	s := &Server{
		listener: listener, started: make(chan struct{}), closed: make(chan struct{}), changed: make(chan struct{}),
		open: map[net.Conn]bool{}, points: map[syncpoint.Point]*state{},
	}
	s.close = sync.OnceFunc(func() { close(s.closed) })
	s.conns.Go(s.accept)
	return s, nil
}

// Close lets everybody go on, ends all connections and removes the socket.
func (s *Server) Close() {
	s.close()
	s.listener.Close()
	s.mu.Lock()
	for conn := range s.open {
		conn.Close()
	}
	s.mu.Unlock()
	s.releaseAll()
	s.conns.Wait()
}

// At is the place itself. It returns nil at once unless the point is armed, and nil when
// ctx ends while the goroutine is held.
func (s *Server) At(ctx context.Context, p syncpoint.Point) error {
	if err := s.hold(ctx, p, s.started); err != nil {
		return err
	}
	do, held := s.come(p)
	switch do {
	case pause:
		defer s.leave(p, held)
		return s.hold(ctx, p, held)
	case fail:
		return fmt.Errorf("%w at %s", ErrInjected, p)
	case kill:
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {} // nothing behind the point may happen
	case exit:
		os.Exit(1)
	}
	return nil
}

// hold waits until gate is closed, ctx ends or the server is closed.
func (s *Server) hold(ctx context.Context, p syncpoint.Point, gate <-chan struct{}) error {
	select {
	case <-gate:
		return nil
	default:
	}
	bound := time.NewTimer(MaxHold)
	defer bound.Stop()
	select {
	case <-gate:
	case <-ctx.Done():
	case <-s.closed:
	case <-bound.C:
		return fmt.Errorf("held at %s for %v and not resumed", p, MaxHold)
	}
	return nil
}

// come counts the goroutine and says what is to happen to it; held is where it waits.
func (s *Server) come(p syncpoint.Point) (do action, held chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	at := s.at(p)
	at.hits++
	a := at.armed
	switch {
	case a == nil:
		return "", nil
	case a.after > 0:
		a.after--
		return "", nil
	case !a.every:
		at.armed = nil
	}
	if a.do == pause {
		held = make(chan struct{})
		at.held = append(at.held, held)
		s.tellLocked()
	}
	return a.do, held
}

// leave forgets a goroutine that was held.
func (s *Server) leave(p syncpoint.Point, held chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	at := s.at(p)
	at.held = slices.DeleteFunc(at.held, func(h chan struct{}) bool { return h == held })
	s.tellLocked()
}

// at returns the state of p, which it makes if there is none. Called with mu held.
func (s *Server) at(p syncpoint.Point) *state {
	if s.points[p] == nil {
		s.points[p] = new(state)
	}
	return s.points[p]
}

func (s *Server) tellLocked() {
	close(s.changed)
	s.changed = make(chan struct{})
}

// begin lets the process pass its first point.
func (s *Server) begin() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.running {
		s.running = true
		close(s.started)
	}
}

// arm replaces what is armed at p; nil disarms it.
func (s *Server) arm(p syncpoint.Point, a *armed) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.at(p).armed = a
}

// resume disarms p and returns how many are held there; release lets them go on.
func (s *Server) resume(p syncpoint.Point) (n int, release func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	at := s.at(p)
	held := at.held
	at.held, at.armed = nil, nil
	return len(held), func() {
		for _, h := range held {
			close(h)
		}
	}
}

func (s *Server) releaseAll() {
	for _, p := range syncpoint.All() {
		_, release := s.resume(p)
		release()
	}
	s.begin()
}

// wait returns when n goroutines are held at p.
func (s *Server) wait(ctx context.Context, p syncpoint.Point, n int) error {
	for {
		s.mu.Lock()
		held, changed := len(s.at(p).held), s.changed
		s.mu.Unlock()
		if held >= n {
			return nil
		}
		select {
		case <-changed:
		case <-s.closed:
			return errors.New("the process ends")
		case <-ctx.Done():
			return fmt.Errorf("%d of %d held at %s: %w", held, n, p, context.Cause(ctx))
		}
	}
}

// known returns the point of that name, or an error with the nearest.
func known(name string) (syncpoint.Point, error) {
	p := syncpoint.Point(name)
	if syncpoint.Known(p) {
		return p, nil
	}
	var names []string
	for _, p := range syncpoint.All() {
		names = append(names, string(p))
	}
	if meant := nearest.Word(name, names); meant != "" {
		return "", fmt.Errorf("no sync point %q; is %s meant?", name, meant)
	}
	return "", fmt.Errorf("no sync point %q; list shows all", name)
}
