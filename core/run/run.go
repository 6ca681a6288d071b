package run

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/remora-backup/remora/core/code"
)

// Phase is one step of a plan.
type Phase struct {
	// Name is lower_snake: it is a JSON value, a metric label and what hooks see.
	Name string
	// Locked: the server is, or may be, locked when the phase begins. No gate is asked
	// and nobody is waited for.
	Locked bool
	// Locks: the phase takes the server's lock. Its gate is asked, and then no hook runs
	// until a phase is entered that is neither Locks nor Locked.
	Locks bool
}

// Plan is an operation as a list of phases.
type Plan struct {
	Operation string // "backup" or "restore"
	ID        string
	Phases    []Phase
	// Do carries the phases out, each by Enter. The end event of a complete run carries the
	// result; the error is why the run cannot go on.
	Do func(r *Run) (result any, err error)
	// Aborted says the last line of a failed run: "Operation aborted" if it is nil.
	Aborted func() string
	// Left says what a failed run leaves behind, for the line before the last one. It may be
	// asked while the clean-up still works.
	Left func() Left
}

// Left is what a failed run leaves behind.
type Left struct {
	Text  string   // with the command that finishes or removes it
	Names []string // of objects or paths
}

// Options are what surrounds a run.
type Options struct {
	Readers []Reader
	// RequestedBy is told with every event.
	RequestedBy string
	// Opening are notes and warnings for the beginning: Kind and Message count. They are told
	// when the first phase has been entered, or at the end if none is.
	Opening []Event
	// Gate is asked before each phase that is not Locked; an error vetoes the phase. The
	// Seq of its event is that of the last event told before.
	Gate func(ctx context.Context, e Event) error
	// StallAfter is the idle time after which stall events are told; 0 means a minute.
	StallAfter time.Duration
	// CleanupWithin bounds all that Task.Cleanup registered; 0 means 20 s.
	CleanupWithin time.Duration
	// DrainWithin bounds the wait for readers after the end event; 0 means 15 s.
	DrainWithin time.Duration
	// Hurry, if not nil, is closed when a person wants the end at once: the clean-up's
	// context ends with it.
	Hurry <-chan struct{}
	// Journal, if not nil, is told of Task.Destructive and must have remembered it when it
	// returns nil.
	Journal func(ctx context.Context, e Event) error
	// Meter, if not nil, shows how far the run is, at any moment.
	Meter *Meter
}

// Do carries out the plan and returns the run's one answer: nil, the first error, or
// the interruption that preceded it. All readers have seen the end event when it returns
// unless they took longer than DrainWithin.
func Do(ctx context.Context, plan Plan, opts Options) error { return Start(ctx, plan, opts).Wait() }

// do is the run from its start to its end.
func (r *runner) do(ctx context.Context) {
	defer r.cancel(nil)
	stopStall := r.watchStalls(ctx)
	r.emit(Event{Kind: KindStart, Message: fmt.Sprintf("Starting %s process.", r.plan.Operation)})
	if r.carriedOut() {
		r.setCommitted()
	}
	r.open()
	r.cleanup(ctx)
	stopStall()
	r.end(nil)
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), cmp.Or(r.opts.DrainWithin, 15*time.Second))
	defer cancel()
	r.bus.close(drain)
}

// carriedOut reports whether the plan was. What stopped the run before outranks the plan's own
// error, and after the commit point neither can change the answer.
func (r *runner) carriedOut() bool {
	err := guard(func() error {
		result, err := r.plan.Do(&Run{r})
		r.setResult(result)
		return err
	})
	own := err != nil && !stopsWith(r.work, err)
	switch {
	case r.committed():
		if own {
			r.warn(fmt.Sprintf("after completion: %v", err))
		}
		return true
	case r.stopped():
		if own {
			r.consequence(err)
		}
		return false
	case err != nil:
		r.fail(err)
	}
	return err == nil
}

func (r *runner) gate(ctx context.Context, p Phase) error {
	if r.opts.Gate == nil || p.Locked || r.committed() {
		return nil
	}
	e := r.question(p)
	if err := guard(func() error { return r.opts.Gate(ctx, e) }); err != nil {
		return code.Default(code.Veto, fmt.Errorf("enter phase %s: %w", p.Name, err))
	}
	return nil
}

// consequence tells what a step said when it was stopped. It is no error of its own.
func (r *runner) consequence(err error) {
	r.emit(Event{Kind: KindNote, Message: fmt.Sprintf("stopping led to: %v", err)})
}

// failNow takes the error of something that works beside the phases or in the clean-up.
func (r *runner) failNow(err error) {
	switch {
	case err == nil:
	case r.cleaning.Load() && r.committed():
		r.warn(fmt.Sprintf("clean-up: %v", err))
	case r.cleaning.Load():
		r.fail(fmt.Errorf("clean-up: %w", err))
	case r.committed():
		r.warn(fmt.Sprintf("after completion: %v", err))
	case r.stopped():
		r.consequence(err)
	default:
		r.failFirst(err)
		r.cancel(err)
	}
}

// stopsWith reports whether err says no more than that ctx ended.
func stopsWith(ctx context.Context, err error) bool {
	return ctx.Err() != nil && (errors.Is(err, ctx.Err()) || errors.Is(err, context.Cause(ctx)))
}

func (r *runner) cleanup(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cmp.Or(r.opts.CleanupWithin, 20*time.Second))
	defer cancel()
	go func() {
		select {
		case <-r.opts.Hurry:
			cancel()
		case <-ctx.Done():
		}
	}()
	t := &Task{r: r, phase: r.phaseName()}
	r.cleaning.Store(true)
	r.giveBack(ctx, t)
}
