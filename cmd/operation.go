package cmd

import (
	"context"
	"crypto/rand"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/remora-backup/remora/core/code"
	"github.com/remora-backup/remora/core/config"
	"github.com/remora-backup/remora/core/control"
	"github.com/remora-backup/remora/core/repo"
	"github.com/remora-backup/remora/core/run"
	"github.com/remora-backup/remora/core/state"
	"github.com/remora-backup/remora/core/syncpoint"
	"github.com/remora-backup/remora/core/syncpoint/debug"
	"github.com/remora-backup/remora/hooks"
)

// operation is one backup or restore with all that surrounds it: who is told, what is
// remembered, which plugins run.
//
//	configuration > lock file > history > hooks > plugins > plan > run.Do
//
// What fails on that way fails the run, so that every answer has the same form.
type operation struct {
	app  *app
	kind string // "backup" or "restore"
	// plan makes the plan once settings, hooks and notify plugins are there.
	plan func(ctx context.Context, o *operation) (run.Plan, error)

	settings config.Settings
	log      hclog.Logger
	tell     display
	meter    *run.Meter
	row      state.Operation // what the history gets to know before the run
	facts    []string        // for the start line
	begun    chan struct{}   // closed when all above is known
	keepers  []run.Reader    // display and history, which must get an end
	current  run.Plan        // valid once begun is closed
	sofar    sofar           // what has been told
	signals  *signals
	opening  []run.Event // what is to be said first, as of operations that crashed

	lock     *state.LockFile
	store    *state.Store
	hooks    *hooks.Hooks
	plugins  *plugins
	notifies atomic.Pointer[[]*notifier]
	closers  []func() error // what the plan needs, closed after the run
	control  *control.Server
	debug    *debug.Server
}

// flags are those that a backup and a restore have in common.
type flags struct {
	asJSON    bool
	debugSync string
}

// operate carries out the operation and returns its one answer, which has been told.
func (a *app) operate(ctx context.Context, kind string, f flags, plan func(context.Context, *operation) (run.Plan, error)) error {
	o := &operation{app: a, kind: kind, plan: plan, meter: new(run.Meter), begun: make(chan struct{})}
	o.tell = a.display(f.asJSON, o.meter)
	ctx, s := a.watchSignals(ctx, func(why *run.Interrupted) {
		if !o.sofar.ended() {
			o.tell.interrupted(why)
		}
	})
	defer s.stop()
	o.signals = s
	answer := make(chan error, 1)
	go func() { answer <- o.run(ctx, f, s.hurry) }()
	select {
	case err := <-answer:
		return told(err)
	case <-s.hurry:
	}
	select {
	case err := <-answer:
		return told(err)
	case <-time.After(leaveWithin):
		return told(o.leave(ctx))
	}
}

func told(err error) error {
	if err == nil {
		return nil
	}
	return &reported{err}
}

func (o *operation) run(ctx context.Context, f flags, hurry <-chan struct{}) error {
	defer o.tell.close()
	defer o.sofar.done()
	ctx, err := o.debugSync(ctx, f.debugSync)
	if err == nil {
		err = o.prepare(ctx)
	}
	var plan run.Plan
	if err == nil {
		plan, err = o.plan(ctx, o)
	}
	if err == nil {
		err = step(ctx, syncpoint.OperationPlanned)
	}
	gate := o.gate
	if err != nil {
		plan, gate = o.failed(err), nil
	}
	o.begin(ctx, plan)
	opts := run.Options{Readers: o.readers(), Opening: o.opening, Gate: gate, Meter: o.meter, Hurry: hurry, DrainWithin: o.patience()}
	if o.store != nil {
		opts.Journal = o.store.Journal
	}
	err = run.Do(ctx, plan, opts)
	o.close(context.WithoutCancel(ctx))
	return err
}

// failed is the plan of an operation that could not be planned.
func (o *operation) failed(why error) run.Plan {
	first := map[string]string{"backup": "preflight", "restore": "getting_backup_info", "export": "getting_backup_info", "prepare": "reading_directory"}[o.kind]
	id := o.row.ID
	if id == "" {
		id, _ = repo.NewID(time.Now(), rand.Reader)
	}
	plan := run.Plan{Operation: o.kind, ID: id, Phases: []run.Phase{{Name: first, Do: func(context.Context, *run.Task) error { return why }}}}
	if o.store == nil {
		// Nobody has heard of this operation yet: an interruption is all there is to say.
		plan.Aborted = func() string {
			if o.signals.why() != nil {
				return ""
			}
			return "Operation aborted"
		}
		return plan
	}
	plan.Left = func() run.Left { return run.Left{Text: "Nothing was begun."} }
	return plan
}

func (o *operation) gate(ctx context.Context, e run.Event) error { return o.hooks.Gate(ctx, e) }

// begin writes the row of the history and the start line's facts.
func (o *operation) begin(ctx context.Context, plan run.Plan) {
	o.facts = append([]string{"id=" + plan.ID}, o.facts...)
	if o.plugins != nil && len(o.plugins.names) > 0 {
		o.row.Plugins = o.plugins.names
		o.facts = append(o.facts, "plugins="+strings.Join(o.plugins.names, "+"))
	}
	o.tell.starts(" ("+strings.Join(o.facts, ", ")+")", o.startFacts(plan.ID))
	o.row.ID, o.current = plan.ID, plan
	defer close(o.begun)
	o.keepers = []run.Reader{&once{to: o.tell}}
	if o.store == nil {
		return
	}
	o.keepers = append(o.keepers, &once{to: o.store})
	if err := o.store.Begin(context.WithoutCancel(ctx), o.row); err != nil {
		o.log.Error("the history does not know this operation", "error", err)
	}
	_ = syncpoint.At(ctx, syncpoint.OperationBegun)
}

// patience is how long readers may take after the end. Scripts may be behind by many
// events, each with calls that last up to the timeout.
func (o *operation) patience() time.Duration {
	if len(o.settings.Hooks.Scripts) == 0 {
		return 0
	}
	return time.Minute + 10*o.settings.Hooks.Timeout*time.Duration(len(o.settings.Hooks.Scripts))
}

// startFacts are what scripts learn at the start.
func (o *operation) startFacts(id string) startFacts {
	f := startFacts{ServerUUID: o.row.ServerUUID, ServerVersion: o.row.ServerVersion, Target: o.row.Target, Plugins: o.row.Plugins}
	if o.row.BackupID != id {
		f.Backup = o.row.BackupID
	}
	return f
}

func (o *operation) readers() []run.Reader {
	all := append(slices.Clone(o.keepers), &o.sofar)
	if o.hooks != nil {
		all = append(all, o.hooks)
	}
	if n := o.notifies.Load(); n != nil {
		for _, to := range *n {
			all = append(all, to)
		}
	}
	return all
}

// step is a boundary before the run, where an interruption is looked for as it is between
// the phases of one.
func step(ctx context.Context, p syncpoint.Point) error {
	if err := syncpoint.At(ctx, p); err != nil {
		return err
	}
	return context.Cause(ctx)
}

// usage makes an error without a code one of the command line.
func usage(err error) error { return code.Default(code.Usage, err) }
