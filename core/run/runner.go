package run

import (
	"context"
	"strings"
	"sync"
	"sync/atomic"
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

	asked    context.Context // ends when the run is interrupted
	work     context.Context // of the phases: ends with asked, or with Task.Fail
	cancel   context.CancelCauseFunc
	cleaning atomic.Bool
	ending   sync.Mutex // held by who tells the end
	took     []Took
	opening  []Event // not told yet

	mu        sync.Mutex
	taken     []func(ctx context.Context, t *Task, failed error) error // what gives it back
	result    any
	seq       int64
	current   string
	databases []string
	errs      []error
	told      bool // why the context ended is among errs
	failed    bool // Task.Fail has ended the phases
	changing  bool // existing data is being changed
	warnings  int
	commit    bool
	ended     bool // nothing is told any more
	quiet     bool // the phase has, or takes, the server's lock
	percent   *int // of the current phase; nil before the first
	lsn       uint64
	flipped   bool // the progress event without percent was sent
}

func newRunner(ctx context.Context, plan Plan, opts Options) *runner {
	r := &runner{plan: plan, opts: opts, started: time.Now(), meter: opts.Meter, asked: ctx, opening: opts.Opening}
	r.work, r.cancel = context.WithCancelCause(ctx)
	r.bus = newBus(ctx, opts.Readers, func(err error) { r.warn(err.Error()) })
	if r.meter == nil {
		r.meter = new(Meter)
	}
	return r
}

// question is the event with which the gate of p is asked.
func (r *runner) question(p Phase) Event {
	r.mu.Lock()
	defer r.mu.Unlock()
	e := r.stampLocked(Event{Kind: KindPhase, Phase: p.Name, Previous: r.current})
	e.Seq, e.Quiet = r.seq, p.Locks
	return e
}

func (r *runner) stampLocked(e Event) Event {
	e.Time, e.Operation, e.ID, e.Databases, e.Quiet = time.Now(), r.plan.Operation, r.plan.ID, r.databases, r.quiet
	e.RequestedBy = r.opts.RequestedBy
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
	if r.ended {
		return
	}
	if e.Kind == KindEnd {
		r.ended = true
		r.meter.end(e.State)
	}
	r.seq++
	e = r.stampLocked(e)
	e.Seq = r.seq
	r.bus.send(e)
}

func (r *runner) warn(message string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.warnings++
	r.emitLocked(Event{Kind: KindWarning, Message: message})
}

func (r *runner) enter(phase string, quiet bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	previous := r.current
	r.current, r.quiet, r.percent, r.lsn, r.flipped = phase, quiet, nil, 0, false
	r.meter.enter(phase)
	r.emitLocked(Event{Kind: KindPhase, Phase: phase, Previous: previous})
}

// open tells Options.Opening, once.
func (r *runner) open() {
	for _, e := range r.opening {
		if e.Kind == KindWarning {
			r.warn(e.Message)
			continue
		}
		r.emit(Event{Kind: KindNote, Message: e.Message})
	}
	r.opening = nil
}

func (r *runner) phaseName() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.current
}

// stopped reports whether the run was interrupted or has failed before the commit point,
// and adds why it was interrupted to the errors, once.
func (r *runner) stopped() bool {
	err := pending(r.asked)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.commit {
		return false
	}
	if err != nil && !r.told {
		r.told = true
		r.addLocked(err)
	}
	return err != nil || r.failed
}

func (r *runner) fail(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.addLocked(err)
}

// failFirst adds an error that ends the phases; those that follow from it add nothing.
func (r *runner) failFirst(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.failed {
		r.failed = true
		r.addLocked(err)
	}
}

func (r *runner) addLocked(err error) {
	r.errs = append(r.errs, err)
	r.emitLocked(Event{Kind: KindError, Code: int(code.Of(err)), Error: err.Error(), Hint: code.HintOf(err), Message: err.Error(), InterruptedBy: by(err)})
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

func (r *runner) setCommitted() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.commit = true
}

func (r *runner) setResult(result any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.result = result
}

func (r *runner) isOver() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.ended
}

// title is the operation with a capital, as messages begin.
func (r *runner) title() string {
	return strings.ToUpper(r.plan.Operation[:1]) + r.plan.Operation[1:]
}
