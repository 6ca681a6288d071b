package host

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/remora-backup/remora/core/plug"
	pb "github.com/remora-backup/remora/plugins/proto/v1"
)

type locker struct {
	p *Plugin
	c pb.LockClient
}

// acquireGrace is what a plugin gets beyond the wait, to find out who blocks.
const acquireGrace = 10 * time.Second

func (l *locker) Acquire(ctx context.Context, ask plug.Ask) (plug.Held, error) {
	id := rand.Text()
	var answer *pb.AcquireResponse
	r := &pb.AcquireRequest{LockId: id, Scope: string(ask.Scope), WaitUs: ask.Wait.Microseconds(), PendingUs: ask.Pending.Microseconds()}
	for _, t := range ask.Tables {
		r.Tables = append(r.Tables, &pb.Table{Schema: t.Schema, Name: t.Name})
	}
	err := l.p.call(ctx, "acquire", ask.Wait+acquireGrace, func(ctx context.Context) (err error) {
		answer, err = l.c.Acquire(ctx, r)
		return err
	})
	if err != nil {
		if ctx.Err() != nil {
			l.abandon(ctx, id)
		}
		return nil, err
	}
	switch r := answer.Result.(type) {
	case *pb.AcquireResponse_Granted:
		h := &held{l: l, id: id, owner: r.Granted.Owner, lost: make(chan struct{}), watching: make(chan struct{})}
		h.waited = time.Duration(r.Granted.WaitedUs) * time.Microsecond
		h.on = plug.Locked{UUID: r.Granted.ServerUuid, Started: r.Granted.ServerStarted}
		h.watch(ctx)
		return h, nil
	case *pb.AcquireResponse_TimedOut:
		return nil, l.p.coded(fmt.Errorf("%s: %w", l.p.label, timeout(ask, r.TimedOut)))
	}
	return nil, l.p.hang("its answer to acquire was empty")
}

// abandon makes sure that nobody holds a lock that was granted when the caller had just
// stopped waiting for it.
func (l *locker) abandon(ctx context.Context, id string) {
	err := l.p.call(context.WithoutCancel(ctx), "release", tidyWait, func(ctx context.Context) error {
		_, err := l.c.Release(ctx, &pb.ReleaseRequest{LockId: id})
		return err
	})
	if err != nil && !errors.Is(err, plug.ErrNotExist) {
		l.p.proc.kill("it did not say that the server is unlocked")
	}
}

func timeout(ask plug.Ask, t *pb.TimedOut) error {
	late := &plug.LockTimeout{Scope: ask.Scope, Wait: ask.Wait, Pending: time.Duration(t.PendingUs) * time.Microsecond}
	for _, b := range t.Blockers {
		late.Blockers = append(late.Blockers, plug.Blocker{
			ProcessID: b.ProcessId,
			User:      b.User,
			Since:     time.Duration(b.SinceUs) * time.Microsecond,
			Statement: b.Statement,
		})
	}
	return late
}

// held is a lock that the plugin holds.
type held struct {
	l      *locker
	id     string
	owner  uint64
	waited time.Duration
	on     plug.Locked

	lost     chan struct{}
	loseOnce sync.Once
	unwatch  context.CancelFunc
	watching chan struct{} // closed when nobody watches any more

	mu        sync.Mutex
	releasing bool
	reason    string
}

func (h *held) Owner() uint64         { return h.owner }
func (h *held) Waited() time.Duration { return h.waited }
func (h *held) Locked() plug.Locked   { return h.on }
func (h *held) Lost() <-chan struct{} { return h.lost }

// watch waits for the loss, of which the end of the plugin is one.
func (h *held) watch(ctx context.Context) {
	ctx, h.unwatch = context.WithCancel(context.WithoutCancel(ctx))
	go h.beat(ctx)
	go func() {
		defer close(h.watching)
		defer h.unwatch()
		reason := "the watch over it ended"
		stream, err := h.l.c.Watch(ctx, &pb.WatchRequest{LockId: h.id})
		if err == nil {
			var m *pb.LockLost
			if m, err = stream.Recv(); err == nil {
				reason = m.Reason
			}
		}
		h.mu.Lock()
		defer h.mu.Unlock()
		if h.releasing {
			return
		}
		if err != nil && h.l.p.proc.goneSoon() {
			reason = fmt.Sprintf("%s %s", h.l.p.label, h.l.p.proc.end())
		}
		h.lose(reason)
	}()
}

// heartbeat is how often a plugin hears that its host still wants the lock; one that hears
// nothing for long gives it back.
const heartbeat = 2 * time.Second

// beat asks for the lock until nobody watches it any more. What it is told the watch is told
// too, so the answers do not matter.
func (h *held) beat(ctx context.Context) {
	tick := time.NewTicker(heartbeat)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		once, cancel := context.WithTimeout(ctx, tidyWait)
		_, _ = h.l.c.Check(once, &pb.CheckRequest{LockId: h.id})
		cancel()
	}
}

// lose is called with mu held.
func (h *held) lose(reason string) {
	h.loseOnce.Do(func() {
		h.reason = reason
		close(h.lost)
	})
}

func (h *held) Check(ctx context.Context) error {
	err := h.l.p.call(ctx, "check", tidyWait, func(ctx context.Context) error {
		_, err := h.l.c.Check(ctx, &pb.CheckRequest{LockId: h.id})
		return err
	})
	return h.asLoss(err)
}

// asLoss makes an error of a plugin that cannot hold the lock any more the loss it is.
func (h *held) asLoss(err error) error {
	if err == nil || errors.Is(err, plug.ErrLockLost) {
		return err
	}
	if forgot := errors.Is(err, plug.ErrNotExist); forgot || h.l.p.proc.gone() {
		return h.l.p.coded(fmt.Errorf("%w: %w", plug.ErrLockLost, err))
	}
	return err
}

// Release does not end with ctx: nothing is worse than a server that stays locked. A
// plugin that does not answer is killed, which ends its connection and so the lock.
func (h *held) Release(ctx context.Context) (time.Duration, error) {
	h.mu.Lock()
	h.releasing = true
	h.mu.Unlock()
	ctx = context.WithoutCancel(ctx)
	var answer *pb.ReleaseResponse
	err := h.l.p.call(ctx, "release", tidyWait, func(ctx context.Context) (err error) {
		answer, err = h.l.c.Release(ctx, &pb.ReleaseRequest{LockId: h.id})
		return err
	})
	h.unwatch()
	<-h.watching
	if err != nil {
		return 0, h.asLoss(err)
	}
	return time.Duration(answer.HeldUs) * time.Microsecond, nil
}
