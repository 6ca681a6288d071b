package plugtest

import (
	"context"
	"errors"
	"iter"
	"time"

	"github.com/remora-backup/remora/core/plug"
)

// LockCase is a lock and what a test can do to it. Block and Lose may be nil: then what
// needs them is not checked.
type LockCase struct {
	Lock  plug.Lock
	Block func() (unblock func()) // until then, nobody is granted ScopeBackup
	Lose  func(plug.Held)         // takes a lock away from its holder
}

// Lock runs every check of a lock as a subtest.
func Lock[S Testing[S]](t S, open func(S) LockCase) {
	t.Helper()
	for _, c := range lockChecks() {
		t.Run(c.name, func(t S) { c.run(t, open(t)) })
	}
}

// CheckLock runs the checks that need no help on l. They lock its server, briefly.
func CheckLock(ctx context.Context, l plug.Lock, only ...string) iter.Seq[Result] {
	return runAll(ctx, lockChecks(), LockCase{Lock: l}, only)
}

func lockChecks() []check[LockCase] {
	return []check[LockCase]{
		{"acquire_release", acquireRelease},
		{"acquire_cancelled_before", acquireCancelledBefore},
		{"unknown_scope", unknownScope},
		{"held_outlives_context", heldOutlivesContext},
		{"release_is_no_loss", releaseIsNoLoss},
		{"check_after_release", checkAfterRelease},
		{"timeout_is_told", timeoutIsTold},
		{"cancelled_wait_ends", cancelledWaitEnds},
		{"loss_is_told", lossIsTold},
	}
}

// lockWait is more than any lock in a test needs.
const lockWait = 20 * time.Second

func acquire(ctx context.Context, t T, l plug.Lock, scope plug.Scope) plug.Held {
	t.Helper()
	ask := plug.Ask{Scope: scope, Wait: lockWait}
	if scope == plug.ScopeTables { // one that every server has, and that nobody writes
		ask.Tables = []plug.Table{{Schema: "mysql", Name: "help_topic"}}
	}
	h, err := l.Acquire(ctx, ask)
	if err != nil {
		t.Fatalf("acquire %s: %v", scope, err)
	}
	return h
}

func acquireRelease(t T, c LockCase) {
	for _, scope := range []plug.Scope{plug.ScopeBackup, plug.ScopeTables, plug.ScopeBackup} {
		begun := time.Now()
		h := acquire(t.Context(), t, c.Lock, scope)
		if err := h.Check(t.Context()); err != nil {
			t.Errorf("check of a lock just taken: %v", err)
		}
		if w := h.Waited(); w < 0 || w > time.Since(begun) {
			t.Errorf("waited %v, all took %v", w, time.Since(begun))
		}
		if on, ok := h.(plug.HeldOn); ok && (on.Locked().UUID == "") != (on.Locked().Started == 0) {
			t.Errorf("locked server: got %+v, want both or none", on.Locked())
		}
		held, err := h.Release(t.Context())
		if err != nil || held <= 0 || held > time.Since(begun) {
			t.Errorf("release: held %v, %v; all took %v", held, err, time.Since(begun))
		}
	}
}

func acquireCancelledBefore(t T, c LockCase) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.Lock.Acquire(ctx, plug.Ask{Scope: plug.ScopeBackup, Wait: lockWait}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want context.Canceled", err)
	}
}

func unknownScope(t T, c LockCase) {
	h, err := c.Lock.Acquire(t.Context(), plug.Ask{Scope: "everything", Wait: time.Second})
	if !errors.Is(err, plug.ErrInvalid) {
		t.Errorf("got %v, want ErrInvalid", err)
	}
	if err == nil {
		_, _ = h.Release(t.Context())
	}
}

func heldOutlivesContext(t T, c LockCase) {
	ctx, cancel := context.WithCancel(t.Context())
	h := acquire(ctx, t, c.Lock, plug.ScopeBackup)
	cancel()
	if err := h.Check(t.Context()); err != nil {
		t.Errorf("check after the context of acquire ended: %v", err)
	}
	if _, err := h.Release(t.Context()); err != nil {
		t.Errorf("release: %v", err)
	}
}

func releaseIsNoLoss(t T, c LockCase) {
	h := acquire(t.Context(), t, c.Lock, plug.ScopeBackup)
	if _, err := h.Release(t.Context()); err != nil {
		t.Errorf("release: %v", err)
	}
	select {
	case <-h.Lost():
		t.Errorf("a lock that was released is told as lost")
	default:
	}
}

func checkAfterRelease(t T, c LockCase) {
	h := acquire(t.Context(), t, c.Lock, plug.ScopeBackup)
	if _, err := h.Release(t.Context()); err != nil {
		t.Errorf("release: %v", err)
	}
	if err := h.Check(t.Context()); !errors.Is(err, plug.ErrLockLost) {
		t.Errorf("check after release: got %v, want ErrLockLost", err)
	}
}

func timeoutIsTold(t T, c LockCase) {
	if c.Block == nil {
		return
	}
	defer c.Block()()
	const wait = time.Second
	begun := time.Now()
	h, err := c.Lock.Acquire(t.Context(), plug.Ask{Scope: plug.ScopeBackup, Wait: wait})
	took := time.Since(begun)
	if err == nil {
		_, _ = h.Release(t.Context())
	}
	var late *plug.LockTimeout
	if !errors.Is(err, plug.ErrLockTimeout) || !errors.As(err, &late) {
		t.Fatalf("got %v, want a LockTimeout", err)
	}
	if late.Scope != plug.ScopeBackup || late.Wait != wait {
		t.Errorf("got %+v, want scope and wait as asked for", late)
	}
	if took < wait {
		t.Errorf("gave up after %v, before the wait of %v", took, wait)
	}
}

func cancelledWaitEnds(t T, c LockCase) {
	if c.Block == nil {
		return
	}
	unblock := c.Block()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := c.Lock.Acquire(ctx, plug.Ask{Scope: plug.ScopeBackup, Wait: time.Hour}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want the context's error", err)
	}
	unblock()
	h := acquire(t.Context(), t, c.Lock, plug.ScopeBackup)
	if _, err := h.Release(t.Context()); err != nil {
		t.Errorf("release: %v", err)
	}
}

func lossIsTold(t T, c LockCase) {
	if c.Lose == nil {
		return
	}
	h := acquire(t.Context(), t, c.Lock, plug.ScopeBackup)
	c.Lose(h)
	select {
	case <-h.Lost():
	case <-time.After(lockWait):
		t.Errorf("the loss is not told")
	}
	if err := h.Check(t.Context()); !errors.Is(err, plug.ErrLockLost) {
		t.Errorf("check: got %v, want ErrLockLost", err)
	}
	if _, err := h.Release(t.Context()); !errors.Is(err, plug.ErrLockLost) {
		t.Errorf("release: got %v, want ErrLockLost", err)
	}
}
