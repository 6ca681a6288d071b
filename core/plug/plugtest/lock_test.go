package plugtest

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/remora-backup/remora/core/plug"
)

func memoryLock() LockCase {
	l := &MemoryLock{}
	return LockCase{
		Lock:  l,
		Block: func() func() { return l.Block(plug.Blocker{ProcessID: 7}) },
		Lose:  func(plug.Held) { l.Lose() },
	}
}

func TestMemoryLock(t *testing.T) {
	Lock(t, func(*testing.T) LockCase { return memoryLock() })
}

func TestMemoryNotify(t *testing.T) {
	n := &MemoryNotify{}
	Notify(t, func(*testing.T) plug.Notify { return n })
	if got := len(n.Sent()); got != 16 {
		t.Errorf("got %d notices, want 16", got)
	}
}

func TestWrongLocksAreNoticed(t *testing.T) {
	for check, breakIt := range map[string]func(*LockCase){
		"acquire_release":          func(c *LockCase) { c.Lock = wrong{c.Lock, func(h *wrongHeld) { h.endless = true }} },
		"acquire_release ":         func(c *LockCase) { c.Lock = nowhere{c.Lock} },
		"acquire_cancelled_before": func(c *LockCase) { c.Lock = uncancelled{c.Lock} },
		"unknown_scope":            func(c *LockCase) { c.Lock = anyScope{c.Lock} },
		"held_outlives_context":    func(c *LockCase) { c.Lock = wrong{c.Lock, func(h *wrongHeld) { h.mortal = true }} },
		"release_is_no_loss":       func(c *LockCase) { c.Lock = wrong{c.Lock, func(h *wrongHeld) { h.noisy = true }} },
		"check_after_release":      func(c *LockCase) { c.Lock = wrong{c.Lock, func(h *wrongHeld) { h.blind = true }} },
		"timeout_is_told":          func(c *LockCase) { c.Lock = vague{c.Lock} },
		"cancelled_wait_ends":      func(c *LockCase) { c.Lock = impatient{c.Lock} },
		"loss_is_told":             func(c *LockCase) { c.Lock = wrong{c.Lock, func(h *wrongHeld) { h.blind = true }} },
	} {
		t.Run(check, func(t *testing.T) {
			c := memoryLock()
			breakIt(&c)
			for _, k := range lockChecks() {
				if k.name == strings.TrimSpace(check) {
					if r := Run(t.Context(), k.name, func(t T) { k.run(t, c) }); r.OK {
						t.Errorf("%s did not notice", check)
					}
					return
				}
			}
			t.Errorf("no check is called %s", check)
		})
	}
}

// wrong gives locks that break one promise.
type wrong struct {
	plug.Lock
	how func(*wrongHeld)
}

func (w wrong) Acquire(ctx context.Context, ask plug.Ask) (plug.Held, error) {
	h, err := w.Lock.Acquire(ctx, ask)
	if err != nil {
		return nil, err
	}
	held := &wrongHeld{Held: h, ctx: ctx}
	w.how(held)
	return held, nil
}

// nowhere gives locks on a server that never started.
type nowhere struct{ plug.Lock }

type heldNowhere struct{ plug.Held }

func (heldNowhere) Locked() plug.Locked { return plug.Locked{UUID: "u"} }

func (n nowhere) Acquire(ctx context.Context, ask plug.Ask) (plug.Held, error) {
	h, err := n.Lock.Acquire(ctx, ask)
	return heldNowhere{h}, err
}

type wrongHeld struct {
	plug.Held
	ctx      context.Context
	endless  bool // claims to have been held for ever
	mortal   bool // ends with the context of its Acquire
	noisy    bool // takes a release for a loss
	blind    bool // never sees a loss
	released bool
}

func (h *wrongHeld) Check(ctx context.Context) error {
	if h.mortal && h.ctx.Err() != nil {
		return plug.ErrLockLost
	}
	if h.blind {
		return nil
	}
	return h.Held.Check(ctx)
}

func (h *wrongHeld) Release(ctx context.Context) (time.Duration, error) {
	d, err := h.Held.Release(ctx)
	h.released = true
	if h.endless {
		d = time.Hour
	}
	return d, err
}

func (h *wrongHeld) Lost() <-chan struct{} {
	if h.noisy && h.released {
		c := make(chan struct{})
		close(c)
		return c
	}
	return h.Held.Lost()
}

// uncancelled does not hear a cancellation.
type uncancelled struct{ plug.Lock }

func (l uncancelled) Acquire(ctx context.Context, ask plug.Ask) (plug.Held, error) {
	return l.Lock.Acquire(context.WithoutCancel(ctx), ask)
}

// anyScope takes every scope for the same.
type anyScope struct{ plug.Lock }

func (l anyScope) Acquire(ctx context.Context, ask plug.Ask) (plug.Held, error) {
	ask.Scope = plug.ScopeBackup
	return l.Lock.Acquire(ctx, ask)
}

// vague does not say who blocks, nor that it is a timeout.
type vague struct{ plug.Lock }

func (l vague) Acquire(ctx context.Context, ask plug.Ask) (plug.Held, error) {
	h, err := l.Lock.Acquire(ctx, ask)
	if err != nil {
		return nil, errors.New("no")
	}
	return h, nil
}

// impatient waits for less than it is told to.
type impatient struct{ plug.Lock }

func (l impatient) Acquire(ctx context.Context, ask plug.Ask) (plug.Held, error) {
	ask.Wait = min(ask.Wait, time.Millisecond)
	return l.Lock.Acquire(ctx, ask)
}
