package cmd

import (
	"context"
	"time"

	"github.com/remora-backup/remora/core/api"
	"github.com/remora-backup/remora/core/client"
	"github.com/remora-backup/remora/core/code"
	"github.com/remora-backup/remora/core/config"
	"github.com/remora-backup/remora/core/metrics"
	"github.com/remora-backup/remora/core/operate"
	"github.com/remora-backup/remora/core/plug"
	"github.com/remora-backup/remora/core/run"
	"github.com/remora-backup/remora/core/serve"
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
	// handOver asks a sidecar for the operation; nil: no sidecar can carry it out.
	handOver func(ctx context.Context, c *client.Client) (api.Started, error)
}

// planner makes the plan of an operation with what it starts by w, and tells d what it learns.
type planner func(ctx context.Context, w *wiring, d *operate.Draft) (run.Plan, error)

// wiring starts what runs as a process of its own for an operation.
type wiring struct {
	settings config.Settings
	plugins  *plugins
	yield    *serve.Yield     // of a sidecar; nil: none is
	metrics  *metrics.Metrics // likewise
}

// operate carries out the operation and returns its one answer, which has been told.
func (a *app) operate(ctx context.Context, j job) error {
	s, err := a.settings()
	if c, ask := a.sidecar(ctx, j, s, err); c != nil || ask != nil {
		if ask != nil {
			return ask
		}
		return a.handOver(ctx, c, j)
	}
	if j.flags.detach {
		return code.Hint(code.Usage, "remora serve", "--detach: no sidecar runs that could go on with it")
	}
	meter := new(run.Meter)
	tell := a.display(j.flags.asJSON, meter)
	log := logger(config.Log{Level: "info"}, tell.log())
	if err == nil {
		log = logger(s.Log, tell.log())
		for _, w := range s.Warnings {
			log.Warn(w)
		}
	}
	w := &wiring{settings: s, plugins: &plugins{app: a, log: log}}
	cfg := w.operation(j)
	cfg.Version, cfg.Dir, cfg.Err, cfg.DebugSync, cfg.Listener, cfg.Meter = thisBuild().Version, s.State.Dir, err, j.flags.debugSync, tell, meter
	o := operate.Start(ctx, cfg)
	stop := a.watchSignals(func(why *run.Interrupted) { o.Interrupt(why) }, o.Hurry)
	defer stop()
	if err := o.Wait(); err != nil {
		return &reported{err}
	}
	return nil
}

// operation describes the operation of j for whoever carries it out.
func (w *wiring) operation(j job) operate.Config {
	return operate.Config{
		Operation: j.kind, First: j.first, Log: w.plugins.log, Patience: patience(w.settings.Hooks),
		Hooks: w.hooks, Notifiers: w.notifiers, Plugins: w.plugins,
		Plan: func(ctx context.Context, d *operate.Draft) (run.Plan, error) { return j.plan(ctx, w, d) },
	}
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
	if w.metrics != nil {
		return w.metrics.Hooks(h), nil
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
		to := started.Notify()
		if w.metrics != nil {
			to = w.metrics.Notify(c.Plugin, to)
		}
		all = append(all, operate.Notifier{Name: c.Plugin, To: to})
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
