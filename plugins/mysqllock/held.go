package mysqllock

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/remora-backup/remora/core/plug"
)

// held is a lock that its session holds.
type held struct {
	unlock  string
	granted time.Time
	waited  time.Duration
	lost    chan struct{}
	stop    context.CancelFunc // of the heartbeat

	mu  sync.Mutex // one statement at a time
	s   *session
	end error // nil while the lock is held
}

func hold(s *session, unlock string, waited time.Duration) *held {
	h := &held{unlock: unlock, granted: time.Now(), waited: waited, lost: make(chan struct{}), s: s}
	var ctx context.Context
	ctx, h.stop = context.WithCancel(context.Background())
	go h.beat(ctx)
	return h
}

func (h *held) Owner() uint64         { return h.s.id }
func (h *held) Locked() plug.Locked   { return plug.Locked{UUID: h.s.on.UUID, Started: h.s.on.Started} }
func (h *held) Waited() time.Duration { return h.waited }
func (h *held) Lost() <-chan struct{} { return h.lost }

// beat keeps the lease and finds out about a loss.
func (h *held) beat(ctx context.Context) {
	tick := time.NewTicker(heartbeat)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		h.mu.Lock()
		err := h.check()
		h.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// check asks the session who it is; mu is held. No answer is a loss too: it cannot be
// told from one in time.
func (h *held) check() error {
	if h.end != nil {
		return h.end
	}
	ask := func() (id uint64, uuid string, err error) {
		ctx, cancel := context.WithTimeout(context.Background(), min(h.s.l.lease/2, patience))
		defer cancel()
		err = h.s.conn.QueryRowContext(ctx, "SELECT CONNECTION_ID(), @@server_uuid").Scan(&id, &uuid)
		return id, uuid, err
	}
	id, uuid, err := ask()
	if number(err) == errQueryInterrupted {
		id, uuid, err = ask() // KILL QUERY ends a statement, not a lock
	}
	switch {
	case err != nil:
		h.lose(fmt.Errorf("%w: session %d: %w", plug.ErrLockLost, h.s.id, err))
	case id != h.s.id || uuid != h.s.on.UUID:
		h.lose(fmt.Errorf("%w: session %d of server %s is now session %d of %s", plug.ErrLockLost, h.s.id, h.s.on.UUID, id, uuid))
	}
	return h.end
}

// lose is called with mu held.
func (h *held) lose(err error) {
	h.end = err
	h.stop()
	h.s.end()
	close(h.lost)
}

// Check is plug.Held's.
func (h *held) Check(ctx context.Context) error {
	if err := context.Cause(ctx); err != nil {
		return err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.check()
}

// Release is plug.Held's. It does not end with ctx: a statement that is cut off does not
// unlock. A session that does not answer is killed from another one.
func (h *held) Release(ctx context.Context) (time.Duration, error) {
	h.stop()
	h.mu.Lock()
	defer h.mu.Unlock()
	if err := h.check(); err != nil {
		h.s.kill(ctx, "KILL") // if it only hangs, this unlocks
		return 0, err
	}
	own, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer cancel()
	err := h.s.exec(own, []string{h.unlock})
	if number(err) == errQueryInterrupted {
		err = h.s.exec(own, []string{h.unlock})
	}
	took := time.Since(h.granted)
	h.end = fmt.Errorf("%w: it was released", plug.ErrLockLost)
	h.s.end()
	if err != nil {
		h.s.kill(ctx, "KILL")
		return 0, fmt.Errorf("unlock: %w", err)
	}
	return took, nil
}
