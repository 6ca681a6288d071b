package cmd

import (
	"cmp"
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"time"

	"github.com/remora-backup/remora/core/config"
	"github.com/remora-backup/remora/core/control"
	"github.com/remora-backup/remora/core/repo"
	"github.com/remora-backup/remora/core/state"
	"github.com/remora-backup/remora/core/syncpoint"
	"github.com/remora-backup/remora/hooks"
)

// prepare takes what every operation needs, in the order in which it may be refused.
func (o *operation) prepare(ctx context.Context) (err error) {
	o.log = logger(config.Log{Level: "info"}, o.tell.log())
	if o.settings, err = o.app.settings(); err != nil {
		return err
	}
	s := o.settings
	o.log = logger(s.Log, o.tell.log())
	o.plugins = &plugins{app: o.app, log: o.log}
	if o.row.ID, err = repo.NewID(time.Now(), rand.Reader); err != nil {
		return fmt.Errorf("name the operation: %w", err)
	}
	o.row.Operation, o.row.Started, o.row.PID, o.row.RemoraVersion = o.kind, time.Now(), os.Getpid(), thisBuild().Version
	if o.row.Host, err = os.Hostname(); err != nil {
		return fmt.Errorf("name this host: %w", err)
	}
	if err := o.remember(ctx, s.State.Dir); err != nil {
		return err
	}
	if err := step(ctx, syncpoint.OperationRecorded); err != nil {
		return err
	}
	o.hooks, err = hooks.Open(ctx, hooks.Config{
		Scripts: s.Hooks.Scripts, Timeout: s.Hooks.Timeout, Config: s.Hooks.Config, IgnoreErrors: s.Hooks.OnError == "ignore",
		Self: []string{o.app.env.Self, hookHost}, Notify: o.notify, Log: o.log.Named("hooks"),
	})
	if err != nil {
		return err
	}
	if err := step(ctx, syncpoint.OperationHooks); err != nil {
		return err
	}
	return o.startNotifies(ctx)
}

// remember takes the lock file and opens the history, where it first records the end of
// operations that could not do so themselves.
func (o *operation) remember(ctx context.Context, dir string) (err error) {
	if err := step(ctx, syncpoint.OperationBegin); err != nil {
		return err
	}
	owner := state.Owner{PID: o.row.PID, Operation: o.kind, ID: o.row.ID, Host: o.row.Host, Since: o.row.Started}
	if o.lock, err = state.Lock(dir, owner); err != nil {
		return err
	}
	if o.control, err = control.Listen(dir, o); err != nil {
		return err
	}
	if err := step(ctx, syncpoint.OperationLocked); err != nil {
		return err
	}
	// What was begun is recorded to its end: the interruption is noticed by the next step.
	ctx = context.WithoutCancel(ctx)
	if o.store, err = state.Open(ctx, dir); err != nil {
		return err
	}
	return o.findCrashed(ctx)
}

// close gives back what prepare and plan took, the last first. The answer has been
// given: what fails now is logged.
func (o *operation) close(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	check := func(what string, err error) {
		if err != nil {
			o.log.Warn(what, "error", err)
		}
	}
	for i := len(o.closers) - 1; i >= 0; i-- {
		check("close", o.closers[i]())
	}
	check("end hooks", syncpoint.At(ctx, syncpoint.CleanupHooks))
	if o.hooks != nil {
		o.hooks.Close(ctx)
	}
	check("end plugins", syncpoint.At(ctx, syncpoint.CleanupPlugins))
	if o.plugins != nil {
		check("end plugins", o.plugins.close(ctx))
	}
	check("record history", syncpoint.At(ctx, syncpoint.CleanupHistory))
	if o.store != nil {
		check("record history", cmp.Or(o.store.Err(), o.store.Close()))
	}
	if o.control != nil {
		check("close the control socket", o.control.Close())
	}
	check("release the lock file", syncpoint.At(ctx, syncpoint.CleanupLockFile))
	if o.lock != nil {
		check("release the lock file", o.lock.Release())
	}
	if o.debug != nil {
		o.debug.Close()
	}
}
