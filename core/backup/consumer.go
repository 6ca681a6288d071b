package backup

import (
	"context"
	"fmt"
	"time"

	"github.com/remora-backup/remora/core/innodb/redo"
	"github.com/remora-backup/remora/core/run"
	"github.com/remora-backup/remora/core/server"
)

const (
	// consumerBeat is how often the server is told how far the redo was read.
	consumerBeat = 500 * time.Millisecond
	// consumerLag is the part of the redo capacity that we may be behind. A consumer that
	// stays behind stalls every writer of the server; rather than that, it is given up.
	consumerLag = 0.5
)

// watch keeps the server from reusing redo that was not read yet, beside the phases: it
// advances the redo log consumer, and gives it up when that would stall the server.
type watch struct {
	server   *server.Server
	consumer *server.Consumer // nil if there is none
	read     func() redo.LSN  // up to where the redo was read

	done chan struct{} // closed when run has returned
}

func (w *watch) run(ctx context.Context, t *run.Task) {
	defer close(w.done)
	if w.consumer == nil {
		return
	}
	tick := time.NewTicker(consumerBeat)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if err := w.beat(ctx); err != nil && ctx.Err() == nil {
			t.Warn("giving up the redo log consumer so that the server is not stalled (%v); an overrun is possible and would be detected", err)
			_ = w.consumer.Close(ctx) // the session's end releases it in any case
			return
		}
	}
}

// beat advances the consumer. An error says why it must be given up.
func (w *watch) beat(ctx context.Context) error {
	at := uint64(w.read())
	// A statement that is cut off takes the connection with it, which is then missing at
	// the end: one that has begun is finished.
	whole, done := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer done()
	if err := w.consumer.Advance(whole, at); err != nil {
		return err
	}
	now, capacity, err := w.server.RedoNow(ctx) // it can be set at any moment
	if err == nil && float64(now)-float64(at) > consumerLag*float64(capacity) {
		err = fmt.Errorf("%d bytes of redo behind the server, whose capacity is %d", now-at, capacity)
	}
	return err
}
