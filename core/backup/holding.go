package backup

import (
	"context"
	"fmt"
	"time"

	"github.com/remora-backup/remora/core/code"
	"github.com/remora-backup/remora/core/plug"
	"github.com/remora-backup/remora/core/repo"
	"github.com/remora-backup/remora/core/run"
	"github.com/remora-backup/remora/core/server"
	"github.com/remora-backup/remora/core/syncpoint"
)

// holding takes the backup lock, watches it, and gives it back, as often as it is needed.
type holding struct {
	*site
	plugin plug.Lock
	wait   time.Duration

	lock    plug.Held // nil while it is not held
	unwatch context.CancelFunc
	times   repo.Lock // of all times together
}

// take takes the lock. Its loss ends the run.
func (h *holding) take(ctx context.Context, t *run.Task) error {
	lock, err := h.acquire(ctx, plug.ScopeBackup)
	if err != nil {
		return err
	}
	h.lock = lock
	t.Cleanup(h.giveBack)
	t.Locked(lock.Owner())
	watch, unwatch := context.WithCancel(ctx)
	h.unwatch = unwatch
	go func() {
		select {
		case <-lock.Lost():
			t.Fail(h.whyLost(ctx, code.New(code.Lock, "the backup lock: %w", plug.ErrLockLost)))
		case <-watch.Done():
		}
	}()
	return nil
}

// acquire takes a lock of any scope; who calls it gives it back.
func (h *holding) acquire(ctx context.Context, scope plug.Scope) (plug.Held, error) {
	lock, err := h.plugin.Acquire(ctx, scope, h.wait)
	if err != nil {
		return nil, code.Default(code.Lock, fmt.Errorf("take the %s lock: %w", scope, err))
	}
	return lock, nil
}

// prove makes sure that the lock is held, and on our server: its plugin may be wrong.
func (h *holding) prove(ctx context.Context) error {
	holder := server.Holder{Connection: h.lock.Owner()}
	if on, ok := h.lock.(plug.HeldOn); ok {
		holder.UUID, holder.Started = on.Locked().UUID, on.Locked().Started
	}
	return h.server.ProveLocked(ctx, holder)
}

// release gives the lock back and adds how long it was held.
func (h *holding) release(ctx context.Context) error {
	h.unwatch()
	h.times.Waited += ms(h.lock.Waited())
	held, err := h.lock.Release(context.WithoutCancel(ctx))
	h.lock = nil
	h.times.Held += ms(held)
	if err != nil {
		return code.Default(code.Lock, fmt.Errorf("release the backup lock: %w", err))
	}
	return nil
}

func (h *holding) giveBack(ctx context.Context, t *run.Task, _ error) error {
	if h.lock == nil {
		return nil
	}
	t.Note("Releasing locks.")
	began := time.Now()
	t.Fail(syncpoint.At(ctx, syncpoint.CleanupRelease))
	err := h.release(ctx)
	t.Note("Locks released after %.3f s.", time.Since(began).Seconds())
	return err
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
