package run

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// Run is a run under way, as the Do of its plan sees it.
type Run struct{ r *runner }

// Enter carries out one phase: its gate is asked, its beginning told, its time taken, and
// what it gives is handed on. An error says why the run cannot go on: Plan.Do returns it, or
// enters an earlier phase again. After Task.Commit the context of a phase does not end.
func Enter[T any](r *Run, name string, do func(ctx context.Context, t *Task) (T, error)) (T, error) {
	var gives, none T
	err := r.r.carryOut(name, func(ctx context.Context, t *Task) (err error) {
		gives, err = do(ctx, t)
		return err
	})
	if err != nil {
		return none, err
	}
	return gives, nil
}

// Note tells something between two phases.
func (r *Run) Note(format string, args ...any) {
	r.r.emit(Event{Kind: KindNote, Message: fmt.Sprintf(format, args...)})
}

// Took is how long a phase took.
type Took struct {
	Name  string
	Began time.Time // UTC
	Time  time.Duration
}

// Took returns the phases that have ended, in order; one that was entered twice is there
// twice.
func (r *Run) Took() []Took { return slices.Clone(r.r.took) }

func (r *runner) carryOut(name string, do func(context.Context, *Task) error) error {
	at := slices.IndexFunc(r.plan.Phases, func(p Phase) bool { return p.Name == name })
	if at < 0 {
		return fmt.Errorf("phase %s is not in the plan of a %s", name, r.plan.Operation)
	}
	p, ctx := r.plan.Phases[at], r.work
	if r.committed() {
		ctx = context.WithoutCancel(ctx) // too late to stop: what remains is to finish
	} else if err := context.Cause(ctx); err != nil {
		return err
	}
	if err := r.gate(ctx, p); err != nil {
		return err
	}
	if err := context.Cause(ctx); err != nil {
		return err // while the gate was asked
	}
	r.enter(p.Name, p.Locks || p.Locked)
	r.open()
	began := time.Now()
	err := guard(func() error { return do(ctx, &Task{r: r, phase: p.Name}) })
	r.took = append(r.took, Took{Name: p.Name, Began: began.UTC(), Time: time.Since(began)})
	return err
}

// Cleanup registers what gives back something that the phase has just taken. After the last
// phase, whatever the outcome, these are called, the newest first; failed is nil after
// success. Their context is not the cancelled one and has a deadline, one for all of them:
// what is registered while the server is locked must take no time.
func (t *Task) Cleanup(f func(ctx context.Context, t *Task, failed error) error) {
	t.r.mu.Lock()
	defer t.r.mu.Unlock()
	t.r.taken = append(t.r.taken, f)
}

// giveBack calls all that Task.Cleanup registered. An error is one more error and stops none.
func (r *runner) giveBack(ctx context.Context, t *Task) {
	r.mu.Lock()
	taken := r.taken
	r.mu.Unlock()
	for _, f := range slices.Backward(taken) {
		r.failNow(guard(func() error { return f(ctx, t, r.answer()) }))
	}
}
