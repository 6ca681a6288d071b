package cmd

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/remora-backup/remora/core/plug"
	"github.com/remora-backup/remora/core/run"
	"github.com/remora-backup/remora/plugins/host"
)

// sendWithin bounds one notice. A plugin that needs longer has its own queue.
const sendWithin = 5 * time.Second

// notifier is the run.Reader that passes events to one notify plugin. After three
// notices in a row that were not taken it says so once and tries no more but the end.
type notifier struct {
	name   string
	to     plug.Notify
	log    hclog.Logger
	missed int
}

func (n *notifier) Event(ctx context.Context, e run.Event) {
	if !worthANotice(e) || n.missed >= 3 && e.Kind != run.KindEnd {
		return
	}
	if err := send(ctx, n.to, noticeOf(e)); err != nil {
		n.missed++
		n.log.Warn("notice not taken", "plugin", n.name, "event", e.Kind, "error", err, "last_try", n.missed >= 3)
		return
	}
	n.missed = 0
}

// worthANotice leaves out percents, remarks, and the phases that only say what the end
// says.
func worthANotice(e run.Event) bool {
	return e.Kind != run.KindProgress && e.Kind != run.KindNote && lineOf(e).text != ""
}

func send(ctx context.Context, to plug.Notify, n plug.Notice) error {
	ctx, cancel := context.WithTimeout(ctx, sendWithin)
	defer cancel()
	return to.Send(ctx, n)
}

func noticeOf(e run.Event) plug.Notice {
	l := lineOf(e)
	n := plug.Notice{Time: e.Time, Operation: e.Operation, ID: e.ID, Text: l.operation + ": " + l.text,
		Severity: map[string]string{note: "info", warning: "warning", failure: "error"}[l.level]}
	if e.Kind == run.KindEnd && e.State == run.Failed {
		n.Severity = "error"
	}
	n.Event, _ = json.Marshal(e)
	return n
}

func (o *operation) startNotifies(ctx context.Context) error {
	var all []*notifier
	for _, c := range o.settings.Notify {
		started, err := o.plugins.start(ctx, host.Notify, c, nil)
		if err != nil {
			return err
		}
		all = append(all, &notifier{name: c.Plugin, to: started.Notify(), log: o.log})
	}
	o.notifies.Store(&all)
	return nil
}

// notify passes what a hook script sends to every notify plugin.
func (o *operation) notify(ctx context.Context, n plug.Notice) error {
	all := o.notifies.Load()
	if all == nil || len(*all) == 0 {
		return errors.New("no notify plugin is configured")
	}
	var errs []error
	for _, to := range *all {
		errs = append(errs, send(ctx, to.to, n))
	}
	return errors.Join(errs...)
}
