package hooks

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/remora-backup/remora/core/plug"
	"github.com/remora-backup/remora/core/run"
)

// effects is where what a script does during one call goes.
type effects interface {
	// take hands on a log line, a metric or a request of a dry run; it does not wait.
	take(m message)
	// notify passes a notice on; it is called on a goroutine of its own.
	notify(ctx context.Context, n notice) error
}

// live are the effects of a real run.
type live struct {
	log     hclog.Logger
	metrics *Metrics
	send    func(context.Context, plug.Notice) error
	event   run.Event
}

func (l *live) take(m message) {
	switch {
	case m.Log != nil:
		l.log.Log(hclog.LevelFromString(m.Log.Level), m.Log.Text)
	case m.Metric != nil:
		if err := l.metrics.add(*m.Metric); err != nil {
			l.log.Warn("metric dropped", "error", err)
		}
	}
}

func (l *live) notify(ctx context.Context, n notice) error {
	if l.send == nil {
		return errors.New("no notify plugin is configured")
	}
	raw, err := json.Marshal(l.event)
	if err != nil {
		return fmt.Errorf("encode event for a notice: %w", err)
	}
	return l.send(ctx, plug.Notice{
		Time: time.Now(), Severity: n.Severity, Operation: l.event.Operation, ID: l.event.ID, Text: n.Text, Event: raw,
	})
}
