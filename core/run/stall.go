package run

import (
	"cmp"
	"context"
	"time"
)

// watchStalls tells a stall event when nothing moved for StallAfter, and again each
// time that long passes. The returned function ends it.
func (r *runner) watchStalls(ctx context.Context) (stop func()) {
	every := cmp.Or(r.opts.StallAfter, time.Minute)
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	done := make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(max(every/4, time.Millisecond))
		defer tick.Stop()
		type life struct{ moved, done int64 }
		seen, since, told := life{-1, 0}, time.Now(), time.Duration(0)
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			if now := (life{r.meter.moved.Load(), r.meter.done.Load()}); now != seen {
				seen, since, told = now, time.Now(), 0
				continue
			}
			if idle := time.Since(since); idle >= told+every {
				told = idle.Truncate(every)
				r.emit(Event{Kind: KindStall, IdleSeconds: idle.Seconds()})
			}
		}
	}()
	return func() { cancel(); <-done }
}
