package serve

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/remora-backup/remora/core/plug"
)

// lock is a plug.Lock that is granted when free is closed.
type lock struct {
	free  chan struct{}
	asked atomic.Int32
	held  *hold
}

type hold struct{ released int }

func (l *lock) Acquire(ctx context.Context, _ plug.Ask) (plug.Held, error) {
	l.asked.Add(1)
	select {
	case <-l.free:
		l.held = new(hold)
		return l.held, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (h *hold) Owner() uint64               { return 1 }
func (h *hold) Waited() time.Duration       { return 0 }
func (h *hold) Check(context.Context) error { return nil }
func (h *hold) Lost() <-chan struct{}       { return nil }
func (h *hold) Release(context.Context) (time.Duration, error) {
	h.released++
	return time.Millisecond, nil
}

func isLost(h plug.Held) bool {
	select {
	case <-h.Lost():
		return true
	default:
		return false
	}
}

func TestNoLockIsAskedForWhileItIsYielded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, y := &lock{free: make(chan struct{})}, new(Yield)
		got := make(chan plug.Held)
		go func() {
			h, err := y.Of(l).Acquire(t.Context(), plug.Ask{Scope: plug.ScopeBackup, Wait: time.Hour})
			if err != nil {
				t.Error(err)
			}
			got <- h
		}()
		synctest.Wait()
		if was, _ := y.For(time.Minute); !was || l.asked.Load() != 1 {
			t.Errorf("a lock that is asked for is not yielded, asked %d times", l.asked.Load())
		}
		close(l.free)
		time.Sleep(59 * time.Second)
		synctest.Wait()
		if l.asked.Load() != 1 {
			t.Errorf("asked %d times while it is yielded", l.asked.Load())
		}
		time.Sleep(time.Second)
		h := <-got
		if l.asked.Load() != 2 || isLost(h) {
			t.Errorf("asked %d times, lost is %v", l.asked.Load(), isLost(h))
		}
		if _, err := h.Release(t.Context()); err != nil || l.held.released != 1 {
			t.Errorf("got %v, released %d times", err, l.held.released)
		}
		if was, _ := y.For(time.Second); was {
			t.Error("something was yielded though nothing is held")
		}
	})
}

// A lock that is given back soon costs nothing; another one is taken away within a second.
func TestALockThatIsHeldIsGivenBackWithinASecond(t *testing.T) {
	for _, soon := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			l, y := &lock{free: make(chan struct{})}, new(Yield)
			close(l.free)
			h, err := y.Of(l).Acquire(t.Context(), plug.Ask{Scope: plug.ScopeBackup, Wait: time.Hour})
			if err != nil {
				t.Fatal(err)
			}
			if was, _ := y.For(time.Minute); !was {
				t.Error("the lock is not yielded")
			}
			if soon {
				if _, err := h.Release(t.Context()); err != nil {
					t.Error(err)
				}
			}
			time.Sleep(time.Second)
			synctest.Wait()
			if l.held.released != 1 || isLost(h) == soon {
				t.Errorf("released %d times, lost is %v", l.held.released, isLost(h))
			}
			if soon {
				return
			}
			if _, err := h.Release(t.Context()); !errors.Is(err, plug.ErrLockLost) || l.held.released != 1 {
				t.Errorf("got %v, released %d times; want it lost", err, l.held.released)
			}
		})
	}
}
