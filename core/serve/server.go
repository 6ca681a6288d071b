package serve

import (
	"context"
	"time"

	"github.com/remora-backup/remora/core/run"
)

// What the server is.
const (
	up   = "up"
	away = "away"
)

// The server is looked at this often: while it is there, and while it is away at first and at
// last.
const (
	lookUp     = 30 * time.Second
	lookAway   = time.Second
	lookLately = 30 * time.Second
	lookWithin = 5 * time.Second
)

// watchServer says what the server is, until ctx ends. One that is away is waited for, ever
// more patiently.
func (s *Sidecar) watchServer(ctx context.Context) {
	for wait := lookAway; ; {
		err := s.reach(ctx)
		if ctx.Err() != nil {
			return
		}
		now, next := up, lookUp
		if err != nil {
			now, next = away, wait
			wait = min(2*wait, lookLately)
		} else {
			wait = lookAway
		}
		s.mu.Lock()
		before := s.server
		s.server = now
		s.mu.Unlock()
		switch {
		case before == now:
		case now == away:
			s.tell(run.KindWarning, "The server is away: %v", err)
		case before == away:
			s.tell(run.KindNote, "The server is there again.")
		}
		if before != now {
			s.look()
		}
		select {
		case <-time.After(next):
		case <-ctx.Done():
			return
		}
	}
}

func (s *Sidecar) reach(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, lookWithin)
	defer cancel()
	return s.current().Reach(ctx)
}
