package operate

import (
	"time"

	"github.com/remora-backup/remora/core/code"
	"github.com/remora-backup/remora/core/control"
	"github.com/remora-backup/remora/core/run"
	"github.com/remora-backup/remora/core/state"
)

// After Hurry the answer comes within a second: the clean-up may go on for leaveWithin, then
// telling that it was left may take tellWithin.
const (
	leaveWithin = 300 * time.Millisecond
	tellWithin  = 600 * time.Millisecond
)

// Interrupt cancels the operation: it gives back what it took and ends. The first one counts.
// It reports false if the operation has ended, and does not wait.
func (o *Operation) Interrupt(why *run.Interrupted) bool {
	if o.ended() {
		return false
	}
	o.first.Do(func() {
		o.cancel(why)
		o.cfg.Listener.Interrupted(why)
	})
	return true
}

// Hurry is for whoever interrupted and does not want to wait for the clean-up: Wait returns
// within a second. What has not been given back by then is the next operation's to find;
// plugins end by themselves when this process does, and with them the server's lock.
func (o *Operation) Hurry() { o.rush.Do(func() { close(o.hurry) }) }

// Wait returns the one answer, when all is given back or the clean-up was left.
func (o *Operation) Wait() error {
	defer o.cancel(nil)
	select {
	case err := <-o.answer:
		return err
	case <-o.hurry:
	}
	select {
	case err := <-o.answer:
		return err
	case <-time.After(leaveWithin):
	}
	if running := o.running.Load(); running != nil {
		return running.Leave(tellWithin, "remora history and remora list show what there is")
	}
	return o.unheard()
}

// unheard is the answer of an operation that was left before anything was told of it.
func (o *Operation) unheard() error {
	why := o.why()
	if why == nil {
		why = &run.Interrupted{By: "cancel", Code: code.Cancelled}
	}
	return &code.Error{Code: why.Code, Err: why}
}

func (o *Operation) ended() bool { return o.cfg.Meter.Read().State != "" }

// Status is control.Operation's. It never waits for the operation.
func (o *Operation) Status() control.Status {
	row := &o.draft.Row
	s := control.Status{Operation: o.cfg.Operation, PID: row.PID, Started: row.Started, State: string(state.Starting)}
	if o.running.Load() == nil {
		return s
	}
	m := o.cfg.Meter.Read()
	s.ID, s.Target, s.State, s.Databases = row.ID, row.Target, string(state.Running), m.Databases
	s.Phase, s.Percent, s.Bytes, s.TotalBytes, s.ETASeconds = m.Phase, m.Percent, m.Done, m.Total, m.ETA.Seconds()
	if why := o.why(); why != nil {
		s.State, s.InterruptedBy = "cancelling", why.By
	}
	if m.State != "" {
		s.State = string(m.State)
	}
	return s
}

// Cancel is control.Operation's.
func (o *Operation) Cancel(by string) bool {
	return o.Interrupt(&run.Interrupted{By: by, Code: code.Cancelled})
}
