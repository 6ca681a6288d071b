package api

import (
	"context"
	"io"
	"log"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// Config is what a Server needs.
type Config struct {
	Sidecar Sidecar
	Access  Access
	// Metrics answers GET /metrics; nil: there is none.
	Metrics http.Handler
	// Audit is told of every call that changes something, of every call of somebody who could
	// not say who he is, and of every answer whose reason was kept from who asked. It may be
	// called from any goroutine and is waited for. May be nil.
	Audit func(Entry)
}

// Server serves one Sidecar at any number of doors. Serve, Listen and Probes open one each.
type Server struct {
	cfg     Config
	access  atomic.Pointer[access]
	fails   failures
	slow    chan struct{} // a place for each call that may wait
	streams streams
	limits  limits

	mu     sync.Mutex
	https  []*http.Server
	closed bool
	wg     sync.WaitGroup
}

// New refuses, with code.Usage, an Access that cannot work.
func New(cfg Config) (*Server, error) {
	s := &Server{cfg: cfg, slow: make(chan struct{}, 16), limits: limits{
		header: 5 * time.Second, read: 30 * time.Second, idle: time.Minute, answer: 30 * time.Second, heartbeat: 15 * time.Second,
		connections: 256,
	}}
	if cfg.Audit == nil {
		s.cfg.Audit = func(Entry) {}
	}
	return s, s.Change(cfg.Access)
}

// Change puts another Access in force at once, or returns why it cannot, and then nothing has
// changed. Streams of who may not read any more, or may not read as much, end.
func (s *Server) Change(a Access) error {
	checked, err := a.check()
	if err != nil {
		return err
	}
	s.access.Store(checked)
	s.streams.review()
	return nil
}

// silent: what the library says of broken handshakes is noise that anybody can make.
var silent = log.New(io.Discard, "", 0)

// serve takes requests at l, which it closes, until Close.
func (s *Server) serve(l net.Listener, d *door) {
	h := &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { s.handle(d, w, r) }),
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			return context.WithValue(ctx, peerKey{}, peerOf(c))
		},
		ReadHeaderTimeout: s.limits.header, ReadTimeout: s.limits.read, IdleTimeout: s.limits.idle, MaxHeaderBytes: 16 << 10,
		Protocols: new(http.Protocols), ErrorLog: silent,
	}
	h.Protocols.SetHTTP1(true)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		l.Close()
		return
	}
	s.https = append(s.https, h)
	s.wg.Go(func() { _ = h.Serve(l) }) // ends with Close
}

// Close lets the calls that are being answered finish until ctx ends; streams end at once.
func (s *Server) Close(ctx context.Context) error {
	s.mu.Lock()
	s.closed = true
	open := s.https
	s.mu.Unlock()
	s.streams.close()
	var first error
	for _, h := range open {
		if err := h.Shutdown(ctx); err != nil {
			first = err
			_ = h.Close()
		}
	}
	s.wg.Wait()
	return first
}
