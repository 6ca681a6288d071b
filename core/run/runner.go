package run

import (
	"context"
	"strings"
	"sync"
	"time"

	"github.com/remora-backup/remora/core/code"
)

// runner is the state of one run. mu guards all below it; events are sent under it so
// that Seq is the order in which every reader sees them.
type runner struct {
	plan    Plan
	opts    Options
	bus     *bus
	started time.Time
	meter   *Meter

	mu        sync.Mutex
	seq       int64
	current   string
	databases []string
	errs      []error
	stopped   bool // an interruption is among errs
	warnings  int
	commit    bool
	percent   *int // of the current phase; nil before the first
	flipped   bool // the progress event without percent was sent
}

func newRunner(ctx context.Context, plan Plan, opts Options) *runner {
	r := &runner{plan: plan, opts: opts, bus: newBus(ctx, opts.Readers), started: time.Now(), meter: opts.Meter}
	if r.opts.Cursors == nil {
		r.opts.Cursors = memory{}
	}
	if r.meter == nil {
		r.meter = new(Meter)
	}
	return r
}

// stamp fills in what every event carries, without sending it.
func (r *runner) stamp(e Event) Event {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.stampLocked(e)
}

func (r *runner) stampLocked(e Event) Event {
	e.Time, e.Operation, e.ID, e.Databases = time.Now(), r.plan.Operation, r.plan.ID, r.databases
	if e.Phase == "" {
		e.Phase = r.current
	}
	return e
}

func (r *runner) emit(e Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.emitLocked(e)
}

func (r *runner) emitLocked(e Event) {
	r.seq++
	e = r.stampLocked(e)
	e.Seq = r.seq
	r.bus.send(e)
}

func (r *runner) enter(phase string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	previous := r.current
	r.current, r.percent, r.flipped = phase, nil, false
	r.meter.enter(phase)
	r.emitLocked(Event{Kind: KindPhase, Phase: phase, Previous: previous})
}

func (r *runner) phaseName() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.current
}

// interrupted notes a pending interruption, once, and reports whether there is one.
// After the commit point an interruption comes too late to change anything.
func (r *runner) interrupted(ctx context.Context) bool {
	err := interruption(ctx)
	r.mu.Lock()
	defer r.mu.Unlock()
	if err == nil || r.commit {
		return false
	}
	if !r.stopped {
		r.stopped = true
		r.addLocked(err)
	}
	return true
}

// fail adds an error and returns false, for the caller that stops because of it.
func (r *runner) fail(err error) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.addLocked(err)
	return false
}

func (r *runner) addLocked(err error) {
	r.errs = append(r.errs, err)
	r.emitLocked(Event{Kind: KindError, Code: int(code.Of(err)), Error: err.Error(), Hint: code.HintOf(err), Message: err.Error()})
}

// answer is the first error, or nil.
func (r *runner) answer() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.errs) == 0 {
		return nil
	}
	return r.errs[0]
}

func (r *runner) committed() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.commit
}

// verdict is the end event, its message still missing.
func (r *runner) verdict(ctx context.Context) Event {
	if r.committed() && interruption(ctx) != nil {
		r.emit(Event{Kind: KindNote, Message: "the interruption arrived after completion and changed nothing"})
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	e := Event{Kind: KindEnd, State: Complete, Duration: time.Since(r.started).Seconds()}
	for _, err := range r.errs {
		e.Errors = append(e.Errors, err.Error())
	}
	switch {
	case len(r.errs) == 0:
		if r.warnings > 0 {
			e.State = CompleteWithWarnings
		}
		if r.plan.Result != nil {
			e.Result = r.plan.Result()
		}
		return e
	case isInterruption(r.errs[0]):
		e.State = Cancelled
	default:
		e.State = Failed
	}
	e.Code, e.Error, e.Hint = int(code.Of(r.errs[0])), r.errs[0].Error(), code.HintOf(r.errs[0])
	return e
}

// title is the operation with a capital, as messages begin.
func (r *runner) title() string {
	return strings.ToUpper(r.plan.Operation[:1]) + r.plan.Operation[1:]
}

type memory map[string]Cursor

func (m memory) Load(phase string) (Cursor, error) { return m[phase], nil }
func (m memory) Save(phase string, c Cursor) error { m[phase] = c; return nil }
