package hooks

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/remora-backup/remora/core/code"
	"github.com/remora-backup/remora/core/run"
)

// backlogWithin bounds how long a gate waits for the events before it.
const backlogWithin = time.Minute

// Event tells the scripts of one event, or keeps it while the server is locked. What
// goes wrong is logged as a warning.
func (h *Hooks) Event(ctx context.Context, e run.Event) {
	if e.Kind == run.KindStart {
		h.begin(e)
	}
	h.queue(e)
	for h.next(ctx) {
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.seen = e.Seq
	h.ended = e.Kind == run.KindEnd && len(h.held) == 0
	close(h.moved)
	h.moved = make(chan struct{})
}

// begin forgets the run before.
func (h *Hooks) begin(e run.Event) {
	h.calls.Lock()
	for _, s := range h.scripts {
		s.strikes = 0
	}
	h.calls.Unlock()
	h.mu.Lock()
	defer h.mu.Unlock()
	h.enterRun(e.ID)
	h.seen, h.held = 0, nil
}

// enterRun forgets what was known of the lock in another run. The gate of a run can be
// ahead of its events.
func (h *Hooks) enterRun(id string) {
	if h.run != id {
		h.run, h.seen, h.quiet, h.quietAt = id, 0, false, 0
	}
}

// queue makes the calls of e due, and notes what e says about the lock.
func (h *Hooks) queue(e run.Event) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if e.Quiet {
		h.quiet, h.quietAt = true, e.Seq
	} else if e.Seq > h.quietAt {
		h.quiet = false
	}
	name := function(e)
	for i, s := range h.scripts {
		if name != "" && s.defines(name) {
			h.held = append(h.held, told{i, name, e})
		}
	}
}

// next makes the oldest call that is due, and reports false if there is none or the
// server may be locked. Looking and calling are one step, so that hush can wait for it.
func (h *Hooks) next(ctx context.Context) bool {
	h.calls.Lock()
	defer h.calls.Unlock()
	h.mu.Lock()
	if h.quiet || len(h.held) == 0 || ctx.Err() != nil {
		h.mu.Unlock()
		return false
	}
	due := h.held[0]
	h.held = h.held[1:]
	h.mu.Unlock()
	if _, err := h.callLocked(ctx, due, h.effects); err != nil && !errors.Is(err, errLeftOut) {
		h.cfg.Log.Warn("hook failed", "script", h.scripts[due.script].name, "function", due.function, "phase", due.event.Phase, "error", err)
	}
	return true
}

// Gate asks before_phase of every script whether the phase of e may begin, after the
// events before it were told. A refusal is a code.Veto. If the phase takes the server's
// lock, no script runs any more when Gate returns, until the lock is given back.
func (h *Hooks) Gate(ctx context.Context, e run.Event) error {
	if h.gates {
		if err := h.catchUp(ctx, e); err != nil {
			return err
		}
		for i, s := range h.scripts {
			if !s.defines(beforePhase) {
				continue
			}
			if err := h.ask(ctx, told{i, beforePhase, e}); err != nil {
				return err
			}
		}
	}
	if e.Quiet {
		h.hush(e)
	}
	return nil
}

// catchUp waits until the events before e were told. A gate is only asked of a phase
// that begins without the lock, so what was kept can be told now.
func (h *Hooks) catchUp(ctx context.Context, e run.Event) error {
	bound := time.NewTimer(backlogWithin)
	defer bound.Stop()
	for {
		h.mu.Lock()
		there, moved := h.run == e.ID && h.seen >= e.Seq, h.moved
		if there {
			h.quiet = false
		}
		h.mu.Unlock()
		if there {
			break
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-bound.C:
			h.cfg.Log.Warn("gate asked before all earlier events were told", "phase", e.Phase)
			return nil
		}
	}
	for h.next(ctx) {
	}
	return nil
}

// hush keeps events from now on, and waits for the call that is being made.
func (h *Hooks) hush(e run.Event) {
	h.mu.Lock()
	h.enterRun(e.ID)
	h.quiet, h.quietAt = true, e.Seq
	h.mu.Unlock()
	h.calls.Lock() // a call is bounded
	defer h.calls.Unlock()
}

// ask asks one script at a gate.
func (h *Hooks) ask(ctx context.Context, due told) error {
	h.calls.Lock()
	defer h.calls.Unlock()
	name := h.scripts[due.script].name
	done, err := h.callLocked(ctx, due, h.effects)
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case err != nil && h.cfg.IgnoreErrors:
		h.cfg.Log.Warn("hook failed, the phase begins all the same", "script", name, "function", due.function, "phase", due.event.Phase, "error", err)
	case err != nil:
		return code.New(code.Veto, "ask hook: %w", err)
	case done.Veto:
		return code.New(code.Veto, "%s: %s", name, done.Reason)
	}
	return nil
}

var errLeftOut = fmt.Errorf("left out after %d calls that had to be stopped", maxTimeouts)

// callLocked makes one call, starting the child if there is none. The error begins with
// the script's name.
func (h *Hooks) callLocked(ctx context.Context, due told, sink func(told) effects) (*outcome, error) {
	s := h.scripts[due.script]
	if s.strikes >= maxTimeouts {
		return nil, fmt.Errorf("%s: %w", s.name, errLeftOut)
	}
	event, err := payload(due.event)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", s.name, err)
	}
	done, err := h.serve(ctx, due, event, sink(due))
	if err != nil {
		err = fmt.Errorf("%s: %s %w", s.name, due.function, err)
	} else if done.Error != "" {
		err = errors.New(done.Error)
	}
	if ctx.Err() == nil && err != nil && (done == nil || done.Timeout) {
		s.strikes++
		if s.strikes == maxTimeouts {
			h.cfg.Log.Warn("hook script is left out for the rest of the run", "script", s.name, "stopped", maxTimeouts)
		}
	}
	return done, err
}

// serve lets the child make one call. done is nil if the child is gone because of it. A
// child that was there before may have ended for another reason: a new one is asked again.
func (h *Hooks) serve(ctx context.Context, due told, event []byte, sink effects) (*outcome, error) {
	before := h.child
	done, err := h.serveOnce(ctx, due, event, sink)
	if before != nil && h.child == nil && errors.Is(err, errEnded) && ctx.Err() == nil {
		return h.serveOnce(ctx, due, event, sink)
	}
	return done, err
}

func (h *Hooks) serveOnce(ctx context.Context, due told, event []byte, sink effects) (*outcome, error) {
	if h.child != nil && !h.child.alive() {
		h.child = nil
	}
	if h.child == nil {
		if err := h.startLocked(ctx); err != nil {
			return nil, err
		}
	}
	c := &call{Script: due.script, Function: due.function, Event: event, TimeoutMS: h.cfg.Timeout.Milliseconds()}
	m, err := h.child.ask(ctx, request{Call: c}, h.cfg.Timeout, sink)
	if err != nil {
		h.child = nil
		return nil, err
	}
	if m.Done == nil {
		h.child.end(ctx)
		h.child = nil
		return nil, errors.New("hook process gave a wrong answer")
	}
	return m.Done, nil
}

// effects are those of a real run.
func (h *Hooks) effects(due told) effects {
	log := h.cfg.Log
	if due.function != "" {
		log = log.With("script", h.scripts[due.script].name, "function", due.function)
	}
	return &live{log: log, metrics: h.cfg.Metrics, send: h.cfg.Notify, event: due.event}
}
