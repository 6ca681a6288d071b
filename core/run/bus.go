package run

import (
	"context"
	"fmt"
	"runtime/debug"
	"sync"
)

// Reader takes the events of a run one after the other, each once, in order. It is
// called on a goroutine of its own; a slow one delays nobody but itself.
type Reader interface {
	Event(ctx context.Context, e Event)
}

// ReaderFunc makes a function a Reader.
type ReaderFunc func(ctx context.Context, e Event)

func (f ReaderFunc) Event(ctx context.Context, e Event) { f(ctx, e) }

// bus hands events to the readers. The queues are not bounded in length but a run has
// few events: transitions, at most 101 percents a phase, notes.
type bus struct {
	queues []*queue
	wg     sync.WaitGroup
	cancel context.CancelFunc
}

type queue struct {
	mu     sync.Mutex
	events []Event
	closed bool
	wake   chan struct{}
}

// newBus starts the readers. One that panics is told to lost and hears no more: it must
// not take the run, and with it the server's lock, down.
func newBus(ctx context.Context, readers []Reader, lost func(error)) *bus {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	b := &bus{cancel: cancel}
	for _, r := range readers {
		q := &queue{wake: make(chan struct{}, 1)}
		b.queues = append(b.queues, q)
		b.wg.Go(func() {
			if err := guard(func() error { q.feed(ctx, r); return nil }); err != nil {
				lost(fmt.Errorf("event reader stopped: %w", err))
			}
		})
	}
	return b
}

func (b *bus) send(e Event) {
	for _, q := range b.queues {
		q.mu.Lock()
		q.events = append(q.events, e)
		q.mu.Unlock()
		q.poke()
	}
}

// close lets the readers finish what is queued; when ctx ends first they are told by
// their own context and left behind.
func (b *bus) close(ctx context.Context) {
	for _, q := range b.queues {
		q.mu.Lock()
		q.closed = true
		q.mu.Unlock()
		q.poke()
	}
	done := make(chan struct{})
	go func() { b.wg.Wait(); close(done) }()
	select {
	case <-done:
	case <-ctx.Done():
	}
	b.cancel()
}

func (q *queue) poke() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

func (q *queue) feed(ctx context.Context, r Reader) {
	for {
		q.mu.Lock()
		batch, closed := q.events, q.closed
		q.events = nil
		q.mu.Unlock()
		for _, e := range batch {
			if ctx.Err() != nil {
				return
			}
			r.Event(ctx, e)
		}
		if len(batch) > 0 {
			continue
		}
		if closed {
			return
		}
		select {
		case <-q.wake:
		case <-ctx.Done():
			return
		}
	}
}

// guard makes a panic of f its error: the clean-up must run whatever happens.
func guard(f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	return f()
}
