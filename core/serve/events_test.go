package serve

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/remora-backup/remora/core/api"
)

func filled(n int) *ring {
	r := newRing(time.UnixMicro(1000))
	for range n {
		r.add(api.Event{})
	}
	return r
}

func TestEventsAreNumberedOneByOneAndResumed(t *testing.T) {
	r := filled(10) // 1000 ... 1009
	for _, c := range []struct {
		after uint64
		first uint64 // 0: none is there
		lost  bool
	}{
		{0, 1000, false}, {1003, 1004, false}, {1009, 0, false}, {api.Now, 0, false},
		{7, 1000, true},    // of an earlier life
		{5000, 0, true},    // of one to come: a clock went back
		{999, 1000, false}, // the one before the first
	} {
		sub := r.follow(c.after)
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		e, err := sub.Next(ctx)
		cancel()
		if e.Number != c.first || sub.Lost() != c.lost || (c.first == 0) != errors.Is(err, context.DeadlineExceeded) || sub.Newest() != 1009 {
			t.Errorf("after %d: got %d, %v, lost %v, newest %d; want %d, lost %v", c.after, e.Number, err, sub.Lost(), sub.Newest(), c.first, c.lost)
		}
		if err == nil {
			if next, err := sub.Next(t.Context()); err != nil || next.Number != e.Number+1 {
				t.Errorf("after %d: got %d, %v", e.Number, next.Number, err)
			}
		}
	}
}

func TestASlowReaderIsDropped(t *testing.T) {
	r := filled(1)
	slow := r.follow(0)
	for range kept {
		r.add(api.Event{})
	}
	if _, err := slow.Next(t.Context()); !errors.Is(err, api.ErrBehind) {
		t.Errorf("got %v", err)
	}
	if sub := r.follow(0); !sub.Lost() {
		t.Error("a new reader does not hear that the first event is kept no more")
	} else if e, err := sub.Next(t.Context()); err != nil || e.Number != 1001 {
		t.Errorf("got %d, %v", e.Number, err)
	}
	if sub := r.follow(1001); sub.Lost() {
		t.Error("nothing was lost after 1001")
	}
}

func TestAReaderIsWoken(t *testing.T) {
	r := filled(0)
	sub := r.follow(api.Now)
	got := make(chan uint64)
	go func() {
		e, _ := sub.Next(t.Context())
		got <- e.Number
	}()
	r.add(api.Event{})
	if n := <-got; n != 1000 {
		t.Errorf("got %d", n)
	}
}
