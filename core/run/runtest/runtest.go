// Package runtest gives tests a plan made of functions, and a reader of events that remembers.
package runtest

import (
	"context"
	"slices"
	"sync"

	"github.com/remora-backup/remora/core/run"
)

// Step is a phase with what is done in it: nothing if Do is nil.
type Step struct {
	run.Phase
	Do func(ctx context.Context, t *run.Task) error
}

// Phase is a step of that name.
func Phase(name string, do func(ctx context.Context, t *run.Task) error) Step {
	return Step{Phase: run.Phase{Name: name}, Do: do}
}

// Cleaning is the step with a clean-up that it registers when it begins.
func (s Step) Cleaning(f func(ctx context.Context, t *run.Task, failed error) error) Step {
	work := s
	s.Do = func(ctx context.Context, t *run.Task) error {
		t.Cleanup(f)
		return work.carryOut(ctx, t)
	}
	return s
}

func (s Step) carryOut(ctx context.Context, t *run.Task) error {
	if s.Do == nil {
		return nil
	}
	return s.Do(ctx, t)
}

// Plan carries the steps out, one after the other, until one fails.
func Plan(operation, id string, steps ...Step) run.Plan {
	p := run.Plan{Operation: operation, ID: id}
	for _, s := range steps {
		p.Phases = append(p.Phases, s.Phase)
	}
	p.Do = func(r *run.Run) (any, error) {
		for _, s := range steps {
			_, err := run.Enter(r, s.Name, func(ctx context.Context, t *run.Task) (any, error) { return nil, s.carryOut(ctx, t) })
			if err != nil {
				return nil, err
			}
		}
		return nil, nil
	}
	return p
}

// Result gives a plan that is complete a result.
func Result(p run.Plan, result any) run.Plan {
	do := p.Do
	p.Do = func(r *run.Run) (any, error) {
		if _, err := do(r); err != nil {
			return nil, err
		}
		return result, nil
	}
	return p
}

// Tape is a Reader that remembers. The zero value is empty.
type Tape struct {
	mu     sync.Mutex
	events []run.Event
}

// Event is run.Reader's.
func (t *Tape) Event(_ context.Context, e run.Event) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.events = append(t.events, e)
}

// Events returns what was told until now, in order: that of the kinds, or everything.
func (t *Tape) Events(kinds ...run.Kind) []run.Event {
	t.mu.Lock()
	defer t.mu.Unlock()
	all := slices.Clone(t.events)
	return slices.DeleteFunc(all, func(e run.Event) bool { return len(kinds) > 0 && !slices.Contains(kinds, e.Kind) })
}

// Last returns the newest event, which is the end of a run that has ended; the zero Event if
// nothing was told.
func (t *Tape) Last() run.Event {
	all := t.Events()
	if len(all) == 0 {
		return run.Event{}
	}
	return all[len(all)-1]
}
