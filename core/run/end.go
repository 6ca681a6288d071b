package run

import (
	"cmp"
	"context"
	"time"

	"github.com/remora-backup/remora/core/code"
)

// Running is a run under way, as whoever started it sees it.
type Running struct {
	r    *runner
	over chan struct{}
}

// Start begins to carry out the plan. Wait must be called, or Leave.
func Start(ctx context.Context, plan Plan, opts Options) *Running {
	r := newRunner(ctx, plan, opts)
	x := &Running{r: r, over: make(chan struct{})}
	go func() {
		defer close(x.over)
		r.do(ctx)
	}()
	return x
}

// Wait returns the answer, as Do does.
func (x *Running) Wait() error {
	<-x.over
	return x.r.answer()
}

// Leave ends a run that was interrupted and still cleans up: it tells the end in its place,
// with hint as the remedy, waits for readers no longer than within, and returns the answer.
// What the run does from then on is told to nobody. One that has ended by itself keeps its
// answer.
func (x *Running) Leave(within time.Duration, hint string) error {
	x.r.end(&hint)
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	x.r.bus.close(ctx)
	return x.r.answer()
}

// end tells the end, once: that of the run, or of one that is left, with a hint.
func (r *runner) end(left *string) {
	r.ending.Lock()
	defer r.ending.Unlock()
	if r.isOver() {
		return
	}
	r.stopped()
	if left != nil && !r.committed() && r.answer() == nil {
		r.fail(unexplained())
	}
	interrupted := pending(r.asked)
	if r.committed() && isInterruption(interrupted) {
		r.emit(Event{Kind: KindNote, Message: "the interruption arrived after completion and changed nothing"})
	}
	e := r.verdict()
	if left != nil {
		e = abandoned(e, *left, by(interrupted))
	}
	last := PhaseCompleted
	switch e.State {
	case Failed:
		last = PhaseFailed
	case Cancelled:
		last = PhaseCancelled
	}
	e.Message = r.lastWords(e.State)
	remains := r.remains(last != PhaseCompleted, left != nil)
	e.Leftovers = remains.Names
	if remains.Text != "" {
		r.emit(Event{Kind: KindNote, Message: remains.Text})
	}
	r.enter(last, false)
	r.emit(e)
}

// verdict is the end event, its message and what is left still missing.
func (r *runner) verdict() Event {
	r.mu.Lock()
	defer r.mu.Unlock()
	e := Event{Kind: KindEnd, State: Complete, Duration: time.Since(r.started).Seconds(), Destructive: r.changing && !r.commit}
	if r.warnings > 0 {
		e.State = CompleteWithWarnings
	}
	if len(r.errs) == 0 {
		e.Result = r.result
		return e
	}
	for _, err := range r.errs {
		e.Errors = append(e.Errors, err.Error())
		e.InterruptedBy = cmp.Or(e.InterruptedBy, by(err))
	}
	first := r.errs[0]
	e.State, e.Code, e.Error, e.Hint = Failed, int(code.Of(first)), first.Error(), code.HintOf(first)
	if isInterruption(first) {
		e.State = Cancelled
	}
	return e
}

// abandoned is e as the end of a run whose clean-up was left by who interrupted it.
func abandoned(e Event, hint, who string) Event {
	e.InterruptedBy = cmp.Or(e.InterruptedBy, who)
	if e.Code == 0 { // all but the clean-up had been done before
		e.State = CompleteWithWarnings
		return e
	}
	e.Hint = hint
	e.Errors = append(e.Errors, "the clean-up was left")
	return e
}

// lastWords are the message of the end.
func (r *runner) lastWords(s State) string {
	switch {
	case s == Complete || s == CompleteWithWarnings:
		return r.title() + " completed"
	case r.plan.Aborted != nil:
		return r.plan.Aborted()
	}
	return "Operation aborted"
}

// remains is what stays of a run that failed, or whose clean-up was left.
func (r *runner) remains(failed, left bool) Left {
	switch {
	case failed && r.plan.Left != nil:
		return r.plan.Left()
	case left:
		return Left{Text: "The clean-up was left; the next operation does it."}
	}
	return Left{}
}
