package operate

import (
	"cmp"
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/remora-backup/remora/core/control"
	"github.com/remora-backup/remora/core/repo"
	"github.com/remora-backup/remora/core/run"
	"github.com/remora-backup/remora/core/state"
	"github.com/remora-backup/remora/core/syncpoint"
)

// Draft is an operation that is being planned. It belongs to Config.Plan until that returns.
type Draft struct {
	// Row is what the history gets to know when the operation begins. Its ID is that of the
	// operation unless the plan has another; who plans adds what it learns of server, backup
	// and target.
	Row state.Operation

	facts   []string       // for the start line
	closers []func() error // of what the plan needs
	opening []run.Event    // what is to be said first, as of operations that crashed
	store   *state.Store
}

// Fact adds something that the start line says.
func (d *Draft) Fact(name, value string) { d.facts = append(d.facts, name+"="+value) }

// Closing registers what is closed after the run, the last first.
func (d *Draft) Closing(f func() error) { d.closers = append(d.closers, f) }

// say keeps a note for the beginning of the run.
func (d *Draft) say(format string, args ...any) {
	d.opening = append(d.opening, run.Event{Kind: run.KindNote, Message: fmt.Sprintf(format, args...)})
}

// prepare takes what every operation needs, in the order in which it may be refused.
func (o *Operation) prepare(ctx context.Context) (err error) {
	row := &o.draft.Row
	if row.ID, err = repo.NewID(time.Now(), rand.Reader); err != nil {
		return fmt.Errorf("name the operation: %w", err)
	}
	if row.Host, err = os.Hostname(); err != nil {
		return fmt.Errorf("name this host: %w", err)
	}
	if err := o.remember(ctx, o.cfg.Dir); err != nil {
		return err
	}
	if err := syncpoint.Between(ctx, syncpoint.OperationRecorded); err != nil {
		return err
	}
	if o.cfg.Hooks != nil {
		if o.hooks, err = o.cfg.Hooks(ctx, o.notify); err != nil {
			return err
		}
	}
	if err := syncpoint.Between(ctx, syncpoint.OperationHooks); err != nil {
		return err
	}
	return o.startNotifiers(ctx)
}

// remember takes the lock file and opens the history, where it first records the end of
// operations that could not do so themselves.
func (o *Operation) remember(ctx context.Context, dir string) (err error) {
	if err := syncpoint.Between(ctx, syncpoint.OperationBegin); err != nil {
		return err
	}
	row := &o.draft.Row
	owner := state.Owner{PID: row.PID, Operation: row.Operation, ID: row.ID, Host: row.Host, Since: row.Started}
	if o.lock, err = state.Lock(dir, owner); err != nil {
		return err
	}
	if err := o.listen(dir); err != nil {
		return err
	}
	if err := syncpoint.Between(ctx, syncpoint.OperationLocked); err != nil {
		return err
	}
	// What was begun is recorded to its end: the interruption is noticed by the next step.
	ctx = context.WithoutCancel(ctx)
	if o.draft.store, err = state.Open(ctx, dir); err != nil {
		return err
	}
	return o.draft.findCrashed(ctx)
}

// listen makes the operation's control socket. Beside a sidecar, which has the socket of that
// name, it is another one.
func (o *Operation) listen(dir string) error {
	if o.cfg.NoSocket {
		return nil
	}
	served, err := state.Served(dir)
	if err != nil {
		return err
	}
	name := control.SocketName
	if served {
		name = control.BesideName
	}
	o.control, err = control.Listen(dir, name, o)
	return err
}

// close gives back what prepare and Plan took, the last first. The answer has been
// given: what fails now is logged.
func (o *Operation) close(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	check := func(what string, err error) {
		if err != nil {
			o.cfg.Log.Warn(what, "error", err)
		}
	}
	for _, f := range slices.Backward(o.draft.closers) {
		check("close", f())
	}
	check("end hooks", syncpoint.At(ctx, syncpoint.CleanupHooks))
	if o.hooks != nil {
		o.hooks.Close(ctx)
	}
	check("end plugins", syncpoint.At(ctx, syncpoint.CleanupPlugins))
	if o.cfg.Plugins != nil {
		check("end plugins", o.cfg.Plugins.Close(ctx))
	}
	check("record history", syncpoint.At(ctx, syncpoint.CleanupHistory))
	if store := o.draft.store; store != nil {
		check("record history", cmp.Or(store.Err(), store.Close()))
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
