package backup

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/remora-backup/remora/core/code"
	"github.com/remora-backup/remora/core/plug"
	"github.com/remora-backup/remora/core/repo"
	"github.com/remora-backup/remora/core/run"
	"github.com/remora-backup/remora/core/server"
	"github.com/remora-backup/remora/core/syncpoint"
)

// holding takes the server's locks, watches them, and gives them back, as often as it is needed.
type holding struct {
	*site
	plugin plug.Lock
	wait   lockWait

	lock    plug.Held // nil while it is not held
	tables  plug.Held // nil while they are not held
	unwatch context.CancelFunc
	times   repo.Lock // of all times together
}

// take takes the backup lock. Its loss ends the run. The error is errNotYet if somebody was in
// its way, and others shall not wait behind us for longer.
func (h *holding) take(ctx context.Context, t *run.Task) error {
	lock, err := h.wait.acquire(ctx, t, h.plugin)
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

// takeTables takes those of other engines, while the backup lock is held. If they are not
// granted at once, both are given back: whoever is in the way may wait for the backup lock.
func (h *holding) takeTables(ctx context.Context, t *run.Task, tables []plug.Table) (err error) {
	if len(tables) == 0 {
		return nil
	}
	h.tables, err = h.plugin.Acquire(ctx, plug.Ask{Scope: plug.ScopeTables, Wait: 2 * tablesWait, Pending: tablesWait, Tables: tables})
	if err == nil {
		return nil
	}
	if err = h.wait.late(t, err); errors.Is(err, errNotYet) {
		return cmp.Or(h.release(ctx), err)
	}
	return err
}

// prove makes sure that the lock is held, and on our server: its plugin may be wrong.
func (h *holding) prove(ctx context.Context) error {
	holder := server.Holder{Connection: h.lock.Owner()}
	if on, ok := h.lock.(plug.HeldOn); ok {
		holder.UUID, holder.Started = on.Locked().UUID, on.Locked().Started
	}
	return h.server.ProveLocked(ctx, holder)
}

// check asks the sessions that hold the locks.
func (h *holding) check(ctx context.Context) error {
	if h.tables != nil {
		if err := h.tables.Check(ctx); err != nil {
			return err
		}
	}
	return h.lock.Check(ctx)
}

// release gives the locks back and adds how long it was held.
func (h *holding) release(ctx context.Context) error {
	h.unwatch()
	var failed error
	if h.tables != nil {
		held, err := h.tables.Release(context.WithoutCancel(ctx))
		h.tables, failed = nil, err
		h.times.Tables += ms(held)
	}
	waited := h.lock.Waited()
	held, err := h.lock.Release(context.WithoutCancel(ctx))
	h.lock = nil
	h.times.Waited, h.times.Held = h.times.Waited+ms(waited), h.times.Held+ms(held)
	h.wait.used(waited + held)
	h.times.Stall = ms(h.wait.stall)
	if err = errors.Join(err, failed); err != nil {
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
