package cmd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/remora-backup/remora/core/code"
	"github.com/remora-backup/remora/core/run"
)

// A key that bounces, or a terminal and a supervisor that both send, count as one.
const debounce = 20 * time.Millisecond

// watchSignals turns the signals of a command into calls, until stop is called:
//
//	first     interrupt: cancel, clean up
//	second    hurry: leave the clean-up
//	third     the default action
func (a *app) watchSignals(interrupt func(*run.Interrupted), hurry func()) (stop func()) {
	done := make(chan struct{})
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
					interrupt(interruptedBy(sig))
				case 2:
					hurry()
				default:
					a.env.Default(sig)
				}
			}
		}
	}()
	return func() { close(done) }
}

// ownSignals marks the commands that call watchSignals themselves.
const ownSignals = "own signals"

// untilSignal gives any other command a context that the first signal cancels.
func (a *app) untilSignal(c *cobra.Command) {
	if c.Annotations[ownSignals] != "" {
		return
	}
	ctx, cancel := context.WithCancelCause(c.Context())
	stop := a.watchSignals(func(why *run.Interrupted) { cancel(why) }, func() {})
	a.stop = func() { stop(); cancel(nil) }
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
