package run

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/remora-backup/remora/core/code"
)

// Cursor is how far a phase got, in a form only that phase understands.
type Cursor = json.RawMessage

// Phase is one step of a plan.
type Phase struct {
	// Name is lower_snake: it is a JSON value, a metric label and what hooks see.
	Name string
	// Locked: the server is, or may be, locked when the phase begins. No gate is asked
	// and nobody is waited for.
	Locked bool
	// Do does the work. Repeating what was done since the last Task.Save must be
	// harmless. It returns context.Cause(ctx) soon after ctx is done.
	Do func(ctx context.Context, t *Task) error
}

// Plan is an operation as a list of phases.
type Plan struct {
	Operation string // "backup" or "restore"
	ID        string
	Phases    []Phase
	// Cleanup gives back what the phases took (locks first) and removes what must not
	// stay. It runs once after the last phase, whatever the outcome; failed is nil after
	// success. Its context is not the cancelled one and has a deadline of its own.
	Cleanup func(ctx context.Context, t *Task, failed error) error
	// Result is asked once after success, for the end event.
	Result func() any
	// Aborted says the last line of a failed run: "Operation aborted" if it is nil.
	Aborted func() string
}

// Options are what surrounds a run.
type Options struct {
	Readers []Reader
	// Gate is asked before each phase that is not Locked; an error vetoes the phase.
	Gate func(ctx context.Context, e Event) error
	// Cursors keeps the phases' cursors; nil keeps them in memory only.
	Cursors Cursors
	// StallAfter is the idle time after which stall events are told; 0 means a minute.
	StallAfter time.Duration
	// CleanupWithin bounds Plan.Cleanup; 0 means 20 s.
	CleanupWithin time.Duration
	// DrainWithin bounds the wait for readers after the end event; 0 means 15 s.
	DrainWithin time.Duration
	// Meter, if not nil, shows how far the run is, at any moment.
	Meter *Meter
}

// Cursors remembers cursors across crashes.
type Cursors interface {
	Load(phase string) (Cursor, error)
	Save(phase string, c Cursor) error
}

// Do carries out the plan and returns the run's one answer: nil, the first error, or
// the interruption that preceded it. All readers have seen the end event when it returns
// unless they took longer than DrainWithin.
func Do(ctx context.Context, plan Plan, opts Options) error {
	r := newRunner(ctx, plan, opts)
	stopStall := r.watchStalls(ctx)
	r.emit(Event{Kind: KindStart, Message: fmt.Sprintf("Starting %s process.", plan.Operation)})
	for _, p := range plan.Phases {
		if !r.phase(ctx, p) {
			break
		}
	}
	r.cleanup(ctx)
	stopStall()
	r.end(ctx)
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), or(opts.DrainWithin, 15*time.Second))
	defer cancel()
	r.bus.close(drain)
	return r.answer()
}

// phase reports whether the run goes on.
func (r *runner) phase(ctx context.Context, p Phase) bool {
	if r.interrupted(ctx) {
		return false
	}
	if r.opts.Gate != nil && !p.Locked {
		if err := r.opts.Gate(ctx, r.stamp(Event{Kind: KindPhase, Phase: p.Name, Previous: r.phaseName()})); err != nil {
			return !r.interrupted(ctx) && r.fail(code.Default(code.Veto, fmt.Errorf("enter phase %s: %w", p.Name, err)))
		}
	}
	r.enter(p.Name)
	t := &Task{r: r, phase: p.Name}
	err := guard(func() error { return p.Do(ctx, t) })
	if err != nil && errors.Is(err, context.Canceled) && ctx.Err() != nil {
		err = fmt.Errorf("%s: %w", p.Name, context.Cause(ctx))
	}
	switch {
	case r.interrupted(ctx):
		if err != nil {
			r.emit(Event{Kind: KindNote, Message: "consequence: " + err.Error()})
		}
		return false
	case err != nil:
		return r.fail(err)
	}
	return true
}

// guard makes a panic of f its error: the clean-up must run whatever happens.
func guard(f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	return f()
}

func (r *runner) cleanup(ctx context.Context) {
	if r.plan.Cleanup == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), or(r.opts.CleanupWithin, 20*time.Second))
	defer cancel()
	t := &Task{r: r, phase: r.phaseName()}
	err := guard(func() error { return r.plan.Cleanup(ctx, t, r.answer()) })
	if err == nil {
		return
	}
	if r.committed() && r.answer() == nil {
		t.Warn("clean-up: %v", err)
		return
	}
	r.fail(fmt.Errorf("clean-up: %w", err))
}

func (r *runner) end(ctx context.Context) {
	e := r.verdict(ctx)
	last := map[State]string{Failed: PhaseFailed, Cancelled: PhaseCancelled}[e.State]
	if last == "" {
		last = PhaseCompleted
		e.Message = r.title() + " completed"
	} else {
		e.Message = "Operation aborted"
		if r.plan.Aborted != nil {
			e.Message = r.plan.Aborted()
		}
	}
	r.enter(last)
	r.emit(e)
}

func or(d, otherwise time.Duration) time.Duration {
	if d == 0 {
		return otherwise
	}
	return d
}
