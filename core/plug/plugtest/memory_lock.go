package plugtest

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/remora-backup/remora/core/plug"
)

// MemoryLock is a lock of nothing. The zero value works as promised.
type MemoryLock struct {
	Session uint64 // which session of a server is said to hold it

	mu       sync.Mutex
	blocked  chan struct{} // closed when nobody blocks any more; nil: nobody does
	blockers []plug.Blocker
	held     map[*memoryHeld]bool
}

// Block keeps the lock from being granted, in the name of the blockers, until unblock is
// called.
func (l *MemoryLock) Block(blockers ...plug.Blocker) (unblock func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	gone := make(chan struct{})
	l.blocked, l.blockers = gone, blockers
	return sync.OnceFunc(func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.blocked = nil
		close(gone)
	})
}

// Lose takes all locks away from their holders.
func (l *MemoryLock) Lose() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for h := range l.held {
		close(h.lost)
		delete(l.held, h)
	}
}

// Acquire is plug.Lock's.
func (l *MemoryLock) Acquire(ctx context.Context, ask plug.Ask) (plug.Held, error) {
	if err := context.Cause(ctx); err != nil {
		return nil, err
	}
	if ask.Scope != plug.ScopeBackup && ask.Scope != plug.ScopeTables {
		return nil, fmt.Errorf("scope %q: %w", ask.Scope, plug.ErrInvalid)
	}
	begun := time.Now()
	l.mu.Lock()
	blocked, blockers := l.blocked, l.blockers
	l.mu.Unlock()
	if blocked != nil {
		select {
		case <-blocked:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-time.After(ask.Wait):
			return nil, &plug.LockTimeout{Scope: ask.Scope, Wait: ask.Wait, Pending: ask.Most(), Blockers: blockers}
		}
	}
	h := &memoryHeld{l: l, granted: time.Now(), waited: time.Since(begun), lost: make(chan struct{})}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.held == nil {
		l.held = map[*memoryHeld]bool{}
	}
	l.held[h] = true
	return h, nil
}

type memoryHeld struct {
	l       *MemoryLock
	granted time.Time
	waited  time.Duration
	lost    chan struct{}
}

func (h *memoryHeld) Owner() uint64         { return h.l.Session }
func (h *memoryHeld) Waited() time.Duration { return h.waited }
func (h *memoryHeld) Lost() <-chan struct{} { return h.lost }

func (h *memoryHeld) Check(ctx context.Context) error {
	h.l.mu.Lock()
	defer h.l.mu.Unlock()
	if !h.l.held[h] {
		return plug.ErrLockLost
	}
	return context.Cause(ctx)
}

func (h *memoryHeld) Release(context.Context) (time.Duration, error) {
	h.l.mu.Lock()
	defer h.l.mu.Unlock()
	if !h.l.held[h] {
		return 0, plug.ErrLockLost
	}
	delete(h.l.held, h)
	return time.Since(h.granted), nil
}
