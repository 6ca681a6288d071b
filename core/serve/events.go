package serve

import (
	"context"
	"sync"
	"time"

	"github.com/remora-backup/remora/core/api"
)

// kept is how many events are kept: some backups' worth.
const kept = 4096

// ring keeps the last events. Readers have a place in it, and nothing of their own: who falls
// behind costs nothing and is dropped.
//
// Numbers begin at the microseconds since 1970 at which the sidecar was started, and grow by
// one: a number of another life of it is told by its size, before the first.
type ring struct {
	mu     sync.Mutex
	first  uint64 // the number of the first event there ever was
	next   uint64 // the number of the next
	events [kept]api.Event
	more   chan struct{} // closed when there are more
}

func newRing(now time.Time) *ring {
	first := uint64(max(now.UnixMicro(), 1))
	return &ring{first: first, next: first, more: make(chan struct{})}
}

func (r *ring) add(e api.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	e.Number = r.next
	r.events[r.next%kept] = e
	r.next++
	close(r.more)
	r.more = make(chan struct{})
}

// oldest is the number of the oldest event that is kept. The caller holds mu.
func (r *ring) oldest() uint64 {
	if r.next-r.first > kept {
		return r.next - kept
	}
	return r.first
}

// subscription is a place in a ring.
type subscription struct {
	ring   *ring
	newest uint64
	lost   bool

	mu   sync.Mutex
	next uint64 // the number of the event that is read next
}

func (r *ring) follow(after uint64) *subscription {
	r.mu.Lock()
	defer r.mu.Unlock()
	sub := &subscription{ring: r, next: r.oldest()}
	if r.next > r.first {
		sub.newest = r.next - 1
	}
	switch {
	case after >= r.next-1: // the newest, or Now
		sub.next = r.next
		sub.lost = after != api.Now && after >= r.next
	case after+1 >= sub.next:
		sub.next = after + 1
	default: // the beginning is not meant, or not kept
		sub.lost = after != 0 || sub.next > r.first
	}
	return sub
}

// Next is api.Subscription's.
func (s *subscription) Next(ctx context.Context) (api.Event, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		e, more, err := s.ring.at(s.next)
		if err != nil {
			return e, err
		}
		if more == nil {
			s.next++
			return e, nil
		}
		select {
		case <-more:
		case <-ctx.Done():
			return e, ctx.Err()
		}
	}
}

// at returns the event with that number, or what is closed when there are more.
func (r *ring) at(n uint64) (e api.Event, more chan struct{}, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case n < r.oldest():
		return e, nil, api.ErrBehind
	case n >= r.next:
		return e, r.more, nil
	}
	return r.events[n%kept], nil, nil
}

func (s *subscription) Lost() bool     { return s.lost }
func (s *subscription) Newest() uint64 { return s.newest }
func (s *subscription) Close()         {}
