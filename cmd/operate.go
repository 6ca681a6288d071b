package cmd

import (
	"context"
	"time"

	"github.com/remora-backup/remora/core/code"
	"github.com/remora-backup/remora/core/config"
	"github.com/remora-backup/remora/core/operate"
	"github.com/remora-backup/remora/core/plug"
	"github.com/remora-backup/remora/core/run"
	"github.com/remora-backup/remora/core/syncpoint"
	"github.com/remora-backup/remora/hooks"
	"github.com/remora-backup/remora/plugins/host"
)

// job is an operation as its command describes it.
type job struct {
	kind  string // "backup", "restore" ...
	first string // its first phase
	flags flags
	plan  planner
}

// planner makes the plan of an operation with what it starts by w, and tells d what it learns.
type planner func(ctx context.Context, w *wiring, d *operate.Draft) (run.Plan, error)

// wiring starts what runs as a process of its own for an operation.
type wiring struct {
	settings config.Settings
	plugins  *plugins
}

// operate carries out the operation and returns its one answer, which has been told.
func (a *app) operate(ctx context.Context, j job) error {
	meter := new(run.Meter)
	tell := a.display(j.flags.asJSON, meter)
	log := logger(config.Log{Level: "info"}, tell.log())
	s, err := a.settings()
	if err == nil {
		log = logger(s.Log, tell.log())
	}
	w := &wiring{settings: s, plugins: &plugins{app: a, log: log}}
	o := operate.Start(ctx, operate.Config{
		Operation: j.kind, First: j.first, Version: thisBuild().Version,
		Dir: s.State.Dir, Err: err, DebugSync: j.flags.debugSync,
		Log: log, Listener: tell, Meter: meter, Patience: patience(s.Hooks),
		Hooks: w.hooks, Notifiers: w.notifiers, Plugins: w.plugins,
		Plan: func(ctx context.Context, d *operate.Draft) (run.Plan, error) { return j.plan(ctx, w, d) },
	})
	stop := a.watchSignals(func(why *run.Interrupted) { o.Interrupt(why) }, o.Hurry)
	defer stop()
	if err := o.Wait(); err != nil {
		return &reported{err}
	}
	return nil
}

// patience is how long readers may take after the end. Scripts may be behind by many
// events, each with calls that last up to the timeout.
func patience(h config.Hooks) time.Duration {
	if len(h.Scripts) == 0 {
		return 0
	}
	return time.Minute + 10*h.Timeout*time.Duration(len(h.Scripts))
}

func (w *wiring) hooks(ctx context.Context, notify func(context.Context, plug.Notice) error) (operate.Hooks, error) {
	s := w.settings.Hooks
	h, err := hooks.Open(ctx, hooks.Config{
		Scripts: s.Scripts, Timeout: s.Timeout, Config: s.Config, IgnoreErrors: s.OnError == "ignore",
		Self: []string{w.plugins.app.env.Self, hookHost}, Notify: notify, Log: w.plugins.log.Named("hooks"),
	})
	if err != nil {
		return nil, err
	}
	return h, nil
}

func (w *wiring) notifiers(ctx context.Context) ([]operate.Notifier, error) {
	var all []operate.Notifier
	for _, c := range w.settings.Notify {
		started, err := w.plugins.start(ctx, host.Notify, c, nil)
		if err != nil {
			return nil, err
		}
		all = append(all, operate.Notifier{Name: c.Plugin, To: started.Notify()})
	}
	return all, nil
}

// storage starts the storage plugin.
func (w *wiring) storage(ctx context.Context) (plug.Storage, error) {
	s, err := w.plugins.storage(ctx, w.settings)
	if err != nil {
		return nil, err
	}
	if err := syncpoint.At(ctx, syncpoint.OperationStorage); err != nil {
		return nil, err
	}
	return s, context.Cause(ctx)
}

// usage makes an error without a code one of the command line.
func usage(err error) error { return code.Default(code.Usage, err) }
