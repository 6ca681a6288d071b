package cmd

import (
	"context"
	"sync"
	"time"

	"github.com/remora-backup/remora/core/code"
	"github.com/remora-backup/remora/core/run"
)

// leave gives the answer in place of a run that is still cleaning up. The plugins end by
// themselves when this process does, and with them the server's lock.
func (o *operation) leave(ctx context.Context) error {
	err := interruption(ctx, ctx.Err())
	select {
	case <-o.begun:
	default:
		return err // nothing has been told yet
	}
	e := run.Event{Seq: o.last.Load() + 1000, Time: time.Now(), Kind: run.KindEnd, Operation: o.kind, ID: o.row.ID,
		State: run.Cancelled, Code: int(code.Of(err)), Error: err.Error(), Errors: []string{err.Error(), "the clean-up was left"},
		Hint: "remora history and remora list show what there is", Message: "Operation aborted, its clean-up left", Duration: time.Since(o.row.Started).Seconds()}
	written := make(chan struct{})
	go func() {
		defer close(written)
		for _, r := range o.keepers {
			r.Event(context.WithoutCancel(ctx), e)
		}
	}()
	select {
	case <-written:
	case <-time.After(leaveWithin):
	}
	return err
}

// once passes events on up to the first end, one at a time.
type once struct {
	to run.Reader

	mu    sync.Mutex
	ended bool
}

func (o *once) Event(ctx context.Context, e run.Event) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.ended {
		o.ended = e.Kind == run.KindEnd
		o.to.Event(ctx, e)
	}
}
