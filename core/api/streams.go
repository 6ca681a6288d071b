package api

import (
	"context"
	"errors"
	"sync"
)

// Why a stream ended, as its last event says.
var (
	errRevoked = errors.New("revoked") // who reads may not any more
	errClosing = errors.New("closing") // the sidecar ends
	errBehind  = errors.New("behind")  // the reader was too slow: events were lost
	errEnded   = errors.New("ended")   // the operation has, and its last event was sent if it is kept
)

// streams are those that are open.
type streams struct {
	mu     sync.Mutex
	open   map[*stream]struct{}
	closed bool
}

type stream struct {
	cancel context.CancelCauseFunc
	may    func() bool // the reader still may read what he reads
}

// add reports whether there was room for one more.
func (s *streams) add(one *stream, most int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.open) >= most {
		return false
	}
	if s.open == nil {
		s.open = map[*stream]struct{}{}
	}
	s.open[one] = struct{}{}
	if s.closed {
		one.cancel(errClosing)
	}
	return true
}

func (s *streams) remove(one *stream) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.open, one)
}

// review ends the streams of those who may not read any more.
func (s *streams) review() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for one := range s.open {
		if !one.may() {
			one.cancel(errRevoked)
		}
	}
}

func (s *streams) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	for one := range s.open {
		one.cancel(errClosing)
	}
}
