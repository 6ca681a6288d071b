package cmd

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/remora-backup/remora/core/code"
	"github.com/remora-backup/remora/core/run"
)

// leave gives the answer in place of a run that is still cleaning up. The plugins end by
// themselves when this process does, and with them the server's lock.
func (o *operation) leave(ctx context.Context) error {
	err := interruption(ctx, ctx.Err())
	select {
	case <-o.begun:
	default:
		return err // nothing has been told yet
	}
	told := o.sofar.read()
	if told.end != nil {
		return told.answer() // only what comes after the end is left
	}
	by, left := "", run.Left{Text: "The clean-up was left; the next operation does it."}
	if why := o.signals.why(); why != nil {
		by = why.By
	}
	if len(told.errors) == 0 {
		told.errors = []run.Event{{Error: err.Error(), Code: int(code.Of(err)), InterruptedBy: by}}
	}
	end := told.abandoned(by)
	switch {
	case o.meter.Read().Committed: // all but the clean-up had been done before
		end = run.Event{Seq: end.Seq, Time: end.Time, Kind: run.KindEnd, State: run.CompleteWithWarnings, Message: title(o.kind) + " completed", InterruptedBy: by}
	case o.current.Aborted != nil:
		end.Message = o.current.Aborted()
	}
	if o.current.Left != nil && end.Code != 0 {
		left = o.current.Left()
	}
	end.Operation, end.ID, end.Duration, end.Leftovers = o.kind, o.row.ID, time.Since(o.row.Started).Seconds(), left.Names
	o.keep(ctx, run.Event{Seq: end.Seq - 1, Time: end.Time, Kind: run.KindNote, Operation: o.kind, ID: o.row.ID, Message: left.Text}, end)
	told.end = &end
	return told.answer()
}

// abandoned is the end of a run whose clean-up was left. The first error is the answer.
func (h heard) abandoned(by string) run.Event {
	first := h.errors[0]
	e := run.Event{Seq: h.seq + 1000, Time: time.Now(), Kind: run.KindEnd, State: run.Failed, Code: first.Code, Error: first.Error,
		Destructive: h.destructive, InterruptedBy: by, Databases: h.databases,
		Hint: "remora history and remora list show what there is", Message: "Operation aborted"}
	if first.InterruptedBy != "" {
		e.State = run.Cancelled
	}
	for _, one := range h.errors {
		e.Errors = append(e.Errors, one.Error)
	}
	e.Errors = append(e.Errors, "the clean-up was left")
	return e
}

// keep passes last words on to those who must get them, within tellWithin.
func (o *operation) keep(ctx context.Context, words ...run.Event) {
	ctx = context.WithoutCancel(ctx)
	written := make(chan struct{})
	var all sync.WaitGroup
	for _, r := range o.keepers {
		all.Go(func() {
			for _, e := range words {
				r.Event(ctx, e)
			}
		})
	}
	go func() { all.Wait(); close(written) }()
	select {
	case <-written:
	case <-time.After(tellWithin):
	}
}

// sofar is a run.Reader that knows what has been told.
type sofar struct {
	mu    sync.Mutex
	heard heard
	over  bool
}

type heard struct {
	seq         int64
	errors      []run.Event
	end         *run.Event
	databases   []string
	destructive bool
}

func (s *sofar) Event(_ context.Context, e run.Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.heard.seq = e.Seq
	s.heard.destructive = s.heard.destructive || e.Destructive
	s.heard.databases = e.Databases
	switch e.Kind {
	case run.KindError:
		s.heard.errors = append(s.heard.errors, e)
	case run.KindEnd:
		s.heard.end = &e
	}
}

func (s *sofar) read() heard {
	s.mu.Lock()
	defer s.mu.Unlock()
	h := s.heard
	h.errors = slices.Clone(h.errors)
	return h
}

// done says that nothing can be cancelled any more.
func (s *sofar) done() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.over = true
}

func (s *sofar) ended() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.over || s.heard.end != nil
}

// answer is what the end that was told says.
func (h heard) answer() error {
	if h.end.Code == 0 {
		return nil
	}
	return &code.Error{Code: code.Code(h.end.Code), Err: errors.New(h.end.Error)}
}

// once passes events on up to the first end, one at a time.
type once struct {
	to run.Reader

	mu    sync.Mutex
	ended bool
}

func (o *once) Event(ctx context.Context, e run.Event) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.ended {
		o.ended = e.Kind == run.KindEnd
		o.to.Event(ctx, e)
	}
}
