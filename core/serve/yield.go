package serve

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/remora-backup/remora/core/plug"
)

// Yield stands between backups and the lock plugin, for tools that need the server now, as for
// a failover: the lock is given back within a second, and none is asked for meanwhile. The zero
// value is ready.
type Yield struct {
	mu    sync.Mutex
	until time.Time
	asks  map[*asking]struct{}
}

// asking is one lock that is asked for, or held.
type asking struct {
	giveUp context.CancelCauseFunc // of the question; nil while it is held
	held   *yieldable
}

// errYielded is why a question for the lock was given up.
var errYielded = errors.New("the lock is yielded")

// patience is how long a lock that is held may still be: nearly all are given back by then, and
// their backups go on.
const patience = 700 * time.Millisecond

// Of returns l with yields in front of it.
func (y *Yield) Of(l plug.Lock) plug.Lock { return &yielding{l, y} }

// For yields until d has passed, and reports whether a lock was held or asked for. A backup
// whose lock is held too long loses it, and fails.
func (y *Yield) For(d time.Duration) (was bool, until time.Time) {
	y.mu.Lock()
	defer y.mu.Unlock()
	if u := time.Now().Add(d); u.After(y.until) {
		y.until = u
	}
	for a := range y.asks {
		was = true
		if a.held != nil {
			time.AfterFunc(patience, a.held.takeAway)
			continue
		}
		a.giveUp(errYielded)
	}
	return was, y.until
}

// Until is when the yield in force ends; a time that is past if there is none.
func (y *Yield) Until() time.Time {
	y.mu.Lock()
	defer y.mu.Unlock()
	return y.until
}

func (y *Yield) enter(a *asking) bool {
	y.mu.Lock()
	defer y.mu.Unlock()
	if time.Now().Before(y.until) {
		return false
	}
	if y.asks == nil {
		y.asks = map[*asking]struct{}{}
	}
	y.asks[a] = struct{}{}
	return true
}

func (y *Yield) leave(a *asking) {
	y.mu.Lock()
	defer y.mu.Unlock()
	delete(y.asks, a)
}

type yielding struct {
	to plug.Lock
	y  *Yield
}

// Acquire asks when nobody is yielded to, and asks again after a yield that came meanwhile.
func (l *yielding) Acquire(ctx context.Context, ask plug.Ask) (plug.Held, error) {
	for {
		asked, giveUp := context.WithCancelCause(ctx)
		a := &asking{giveUp: giveUp}
		if l.y.enter(a) {
			held, err := l.to.Acquire(asked, ask)
			if err == nil {
				giveUp(nil)
				return l.y.granted(a, held), nil
			}
			l.y.leave(a)
			if !errors.Is(context.Cause(asked), errYielded) {
				giveUp(nil)
				return nil, err
			}
		}
		giveUp(nil)
		if ask.Scope == plug.ScopeTables { // the backup lock is held: it is given back
			return nil, &plug.LockTimeout{Scope: ask.Scope, Wait: ask.Wait}
		}
		select {
		case <-time.After(time.Until(l.y.Until())):
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// granted watches a lock that was granted; one that was yielded at that moment has its patience.
func (y *Yield) granted(a *asking, held plug.Held) plug.Held {
	g := &yieldable{Held: held, gone: make(chan struct{}), lost: make(chan struct{}), leave: func() { y.leave(a) }}
	go func() {
		select {
		case <-held.Lost():
			g.lose()
		case <-g.gone:
		}
	}()
	y.mu.Lock()
	defer y.mu.Unlock()
	a.held = g
	if time.Now().Before(y.until) {
		time.AfterFunc(patience, g.takeAway)
	}
	if on, ok := held.(plug.HeldOn); ok {
		return &yieldableOn{g, on}
	}
	return g
}

// yieldable is a lock that may be taken away.
type yieldable struct {
	plug.Held
	leave func()
	gone  chan struct{} // closed when it is not held any more
	lost  chan struct{}
	once  sync.Once // closes lost

	mu   sync.Mutex // held while the lock is given back
	back bool
	took bool // it was taken away
}

// yieldableOn is one that knows which server it locks.
type yieldableOn struct {
	*yieldable
	on plug.HeldOn
}

func (h *yieldableOn) Locked() plug.Locked { return h.on.Locked() }

func (h *yieldable) lose() { h.once.Do(func() { close(h.lost) }) }

func (h *yieldable) Lost() <-chan struct{} { return h.lost }

// takeAway gives the lock back in the backup's place, if that has not done it.
func (h *yieldable) takeAway() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.back {
		return
	}
	h.took = true
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	_, _ = h.release(ctx) // the backup hears that it is lost, whatever became of it
	h.lose()
}

// Release is plug.Held's.
func (h *yieldable) Release(ctx context.Context) (time.Duration, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.took {
		return 0, fmt.Errorf("it was yielded: %w", plug.ErrLockLost)
	}
	if h.back {
		return h.Held.Release(ctx)
	}
	return h.release(ctx)
}

// release gives it back. The caller holds mu.
func (h *yieldable) release(ctx context.Context) (time.Duration, error) {
	h.back = true
	h.leave()
	close(h.gone)
	return h.Held.Release(ctx)
}
