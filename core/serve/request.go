package serve

import (
	"github.com/remora-backup/remora/core/api"
	"github.com/remora-backup/remora/core/run"
	"github.com/remora-backup/remora/core/state"
)

// asked is a request as the history keeps it: with it the operation can be begun again.
type asked struct {
	Operation string `json:"operation"`
	Backup    string `json:"backup,omitempty"`
	Target    string `json:"target,omitempty"`
	Dir       string `json:"dir,omitempty"`
	As        string `json:"as,omitempty"`
	Slot      string `json:"slot,omitempty"`    // of a scheduled one: the time it was due, RFC 3339
	Resumes   string `json:"resumes,omitempty"` // the operation that was interrupted, and is gone on with
}

func askedBy(r api.Request) asked {
	return asked{Operation: r.Operation, Backup: r.Backup, Target: r.Target, Dir: r.Dir, As: r.As}
}

func (a asked) request() api.Request {
	return api.Request{Operation: a.Operation, Backup: a.Backup, Target: a.Target, Dir: a.Dir, As: a.As}
}

// endedBySupervisor reports whether it was the sidecar that was to end, and not the restore.
func endedBySupervisor(by string) bool { return by == "SIGTERM" || by == "stop" }

// cutShort reports whether an operation ended because its sidecar did.
func cutShort(o state.Operation) bool {
	return o.State == run.Crashed || o.State == run.Cancelled && endedBySupervisor(o.InterruptedBy)
}
