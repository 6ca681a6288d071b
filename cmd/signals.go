package cmd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/remora-backup/remora/core/code"
	"github.com/remora-backup/remora/core/run"
)

// A key that bounces, or a terminal and a supervisor that both send, count as one.
const debounce = 20 * time.Millisecond

// After a second signal the process ends within a second: the clean-up may go on for
// leaveWithin, then telling that it was left may take tellWithin.
const (
	leaveWithin = 300 * time.Millisecond
	tellWithin  = 600 * time.Millisecond
)

// signals turns the signals of a run into its interruption:
//
//	first     cancel; clean up
//	second    leave the clean-up: Hurry is closed
//	third     the default action
type signals struct {
	hurry chan struct{}
	stop  context.CancelFunc
	ctx   context.Context // what they cancel
	// interrupt is what the first signal does, for whoever cancels without one. It may be
	// called again, and after a signal, and does nothing then.
	interrupt func(*run.Interrupted)
}

// watchSignals returns a context that the first signal cancels with a run.Interrupted.
// told is called with it once. The caller calls stop when the run has ended.
func (a *app) watchSignals(ctx context.Context, told func(*run.Interrupted)) (context.Context, *signals) {
	ctx, cancel := context.WithCancelCause(ctx)
	s := &signals{hurry: make(chan struct{}), ctx: ctx}
	done := make(chan struct{})
	s.stop = func() { close(done); cancel(nil) }
	var first sync.Once
	s.interrupt = func(why *run.Interrupted) { first.Do(func() { cancel(why); told(why) }) }
	go func() {
		seen, last := 0, time.Time{}
		for {
			select {
			case <-done:
				return
			case sig := <-a.env.Signals:
				if seen > 0 && time.Since(last) < debounce {
					continue
				}
				seen, last = seen+1, time.Now()
				switch seen {
				case 1:
					s.interrupt(interruptedBy(sig))
				case 2:
					close(s.hurry)
				default:
					a.env.Default(sig)
				}
			}
		}
	}()
	return ctx, s
}

// why is what the run was interrupted by; nil if it was not.
func (s *signals) why() *run.Interrupted {
	var i *run.Interrupted
	errors.As(context.Cause(s.ctx), &i)
	return i
}

// ownSignals marks the commands that call watchSignals themselves.
const ownSignals = "own signals"

// untilSignal gives any other command a context that the first signal cancels.
func (a *app) untilSignal(c *cobra.Command) {
	if c.Annotations[ownSignals] != "" {
		return
	}
	ctx, s := a.watchSignals(c.Context(), func(*run.Interrupted) {})
	a.stop = s.stop
	c.SetContext(ctx)
}

// interruption is why ctx was cancelled by a signal, or err.
func interruption(ctx context.Context, err error) error {
	var i *run.Interrupted
	if err != nil && errors.As(context.Cause(ctx), &i) {
		return &code.Error{Code: i.Code, Err: i}
	}
	return err
}

func interruptedBy(sig os.Signal) *run.Interrupted {
	switch sig {
	case syscall.SIGINT:
		return &run.Interrupted{By: "SIGINT", Code: code.SIGINT}
	case syscall.SIGTERM:
		return &run.Interrupted{By: "SIGTERM", Code: code.SIGTERM}
	case syscall.SIGHUP:
		return &run.Interrupted{By: "SIGHUP", Code: code.SIGHUP}
	}
	return &run.Interrupted{By: fmt.Sprint(sig), Code: code.Cancelled}
}
