package cmd

import (
	"context"
	"encoding/json"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/remora-backup/remora/core/plug"
	"github.com/remora-backup/remora/core/run"
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
