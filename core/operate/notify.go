package operate

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/remora-backup/remora/core/plug"
	"github.com/remora-backup/remora/core/run"
)

// sendWithin bounds one notice. A plugin that needs longer has its own queue.
const sendWithin = 5 * time.Second

// Notifier is a notify plugin.
type Notifier struct {
	Name string
	To   plug.Notify
}

// notifier is the run.Reader that passes events to one notify plugin. After three
// notices in a row that were not taken it says so once and tries no more but the end.
type notifier struct {
	Notifier
	log    Log
	missed int
}

func (n *notifier) Event(ctx context.Context, e run.Event) {
	if !worthANotice(e) || n.missed >= 3 && e.Kind != run.KindEnd {
		return
	}
	if err := send(ctx, n.To, noticeOf(e)); err != nil {
		n.missed++
		n.log.Warn("notice not taken", "plugin", n.Name, "event", e.Kind, "error", err, "last_try", n.missed >= 3)
		return
	}
	n.missed = 0
}

// worthANotice leaves out percents, remarks, and the phases that only say what the end
// says.
func worthANotice(e run.Event) bool {
	return e.Kind != run.KindProgress && e.Kind != run.KindNote && LineOf(e).Text != ""
}

func send(ctx context.Context, to plug.Notify, n plug.Notice) error {
	ctx, cancel := context.WithTimeout(ctx, sendWithin)
	defer cancel()
	return to.Send(ctx, n)
}

func noticeOf(e run.Event) plug.Notice {
	l := LineOf(e)
	n := plug.Notice{Time: e.Time, Operation: e.Operation, ID: e.ID, Text: l.Operation + ": " + l.Text,
		Severity: map[string]string{Note: "info", Warning: "warning", Failure: "error"}[l.Level]}
	if e.Kind == run.KindEnd && e.State == run.Failed {
		n.Severity = "error"
	}
	n.Event, _ = json.Marshal(e)
	return n
}

func (o *Operation) startNotifiers(ctx context.Context) error {
	if o.cfg.Notifiers == nil {
		return nil
	}
	started, err := o.cfg.Notifiers(ctx)
	if err != nil {
		return err
	}
	var all []*notifier
	for _, n := range started {
		all = append(all, &notifier{Notifier: n, log: o.cfg.Log})
	}
	o.notifies.Store(&all)
	return nil
}

// notify passes what a hook script sends to every notify plugin.
func (o *Operation) notify(ctx context.Context, n plug.Notice) error {
	all := o.notifies.Load()
	if all == nil || len(*all) == 0 {
		return errors.New("no notify plugin is configured")
	}
	var errs []error
	for _, to := range *all {
		errs = append(errs, send(ctx, to.To, n))
	}
	return errors.Join(errs...)
}
