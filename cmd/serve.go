package cmd

import (
	"context"
	"os"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/spf13/cobra"

	"github.com/remora-backup/remora/core/api"
	"github.com/remora-backup/remora/core/config"
	"github.com/remora-backup/remora/core/control"
	"github.com/remora-backup/remora/core/metrics"
	"github.com/remora-backup/remora/core/serve"
)

func (a *app) serve() *cobra.Command {
	var f flags
	c := a.configured(&cobra.Command{
		Use:   "serve",
		Short: "Be the sidecar: carry out operations for the API and the commands of this host",
		Long: "Serve is the daemon beside one mysqld. It listens on remora.sock in [state] dir, and where [serve] says.\n" +
			"Backup, restore, status and cancel hand over to it. SIGHUP reloads the configuration; SIGTERM ends it:\n" +
			"what runs is interrupted and gets its answer first.",
		Args:        cobra.NoArgs,
		Annotations: map[string]string{ownSignals: "yes"},
		RunE:        func(c *cobra.Command, _ []string) error { return a.beSidecar(c.Context(), f.debugSync) },
	})
	c.Flags().StringVar(&f.debugSync, "debug-sync", "", "take orders on this `socket` while an operation runs")
	_ = c.Flags().MarkHidden("debug-sync")
	return c
}

// sidecar is a serve.Sidecar with its doors.
type sidecar struct {
	*serve.Sidecar
	app     *app
	log     hclog.Logger
	dir     string
	metrics *metrics.Metrics
	doors   *api.Server // nil until there are works
	closing sync.Once   // closes them
	first   config.Serve
}

func (a *app) beSidecar(ctx context.Context, debugSync string) error {
	s, err := a.settings()
	if err != nil {
		return err
	}
	host, err := os.Hostname()
	if err != nil {
		return err
	}
	d := &sidecar{app: a, log: logger(s.Log, a.env.Stderr), dir: s.State.Dir}
	yield := new(serve.Yield)
	sup := newSupervisor(a.env.Getenv)
	d.Sidecar = serve.New(serve.Config{
		Dir: s.State.Dir, Host: host, Version: thisBuild().Version, DebugSync: debugSync, Supervisor: sup, Log: d.log, Beat: sup.beat,
		Load: func(ctx context.Context) (serve.Works, error) {
			w, err := a.load(ctx, d.dir, d.log, yield, d.metrics)
			if err != nil {
				return nil, err // not a nil *works in an interface
			}
			return w, nil
		},
		Leave: d.close,
		Use:   func(w serve.Works) error { return d.use(ctx, w.(*works)) },
	}, yield)
	d.metrics = metrics.New(d.Sidecar)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go d.feed(ctx)
	go d.obey(ctx)
	err = d.Run(ctx)
	d.close() // if Run could not begin
	return err
}

// use lets the doors know who may do what from now on. Where they are does not change while the
// sidecar runs.
func (d *sidecar) use(ctx context.Context, w *works) error {
	s := w.settings.Serve
	access, err := accessOf(s)
	if err != nil {
		return err
	}
	if d.doors != nil {
		return d.doors.Change(access)
	}
	if d.doors, err = api.New(api.Config{Sidecar: d.Sidecar, Access: access, Metrics: d.metrics.Handler(), Audit: d.audit}); err != nil {
		return err
	}
	d.first = s
	go d.recall(ctx, w)
	return d.open()
}

// open opens all doors.
func (d *sidecar) open() error {
	l, err := control.Socket(d.dir, control.SocketName)
	if err != nil {
		return err
	}
	d.doors.Serve(l)
	for _, address := range d.first.Listen {
		at, err := d.doors.Listen(address, api.TLS{Certificate: d.first.Certificate, Key: d.first.Key, ClientCA: d.first.ClientCA})
		if err != nil {
			return err
		}
		d.log.Info("listening", "address", at.String())
	}
	if d.first.Probes != "" {
		at, err := d.doors.Probes(d.first.Probes)
		if err != nil {
			return err
		}
		d.log.Info("listening for probes", "address", at.String())
	}
	return nil
}

func (d *sidecar) close() {
	if d.doors == nil {
		return
	}
	d.closing.Do(func() { // what is reloaded after that finds them closed, and opens none
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := d.doors.Close(ctx); err != nil {
			d.log.Warn("close the doors", "error", err)
		}
	})
}

// recallWithin bounds the look at what was before this sidecar.
const recallWithin = 10 * time.Minute

// recall counts what was before this sidecar: how old the last good backup is must be known
// though nothing has happened yet.
func (d *sidecar) recall(ctx context.Context, w *works) {
	ctx, cancel := context.WithTimeout(ctx, recallWithin)
	defer cancel()
	backups, err := w.Backups(ctx)
	if err != nil {
		d.log.Warn("look for earlier backups, for the metrics", "error", err)
	}
	d.metrics.Backups(backups)
	history, err := d.Operations(ctx, 1000, "")
	if err != nil {
		d.log.Warn("look for earlier operations, for the metrics", "error", err)
	}
	d.metrics.History(history)
	d.log.Info("counted what was before", "backups", len(backups), "operations", len(history))
}

// feed counts what happens.
func (d *sidecar) feed(ctx context.Context) {
	sub := d.Events(0)
	for {
		e, err := sub.Next(ctx)
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			sub = d.Events(api.Now) // what was lost cannot be counted
			continue
		}
		d.metrics.Event(ctx, e.Event)
	}
}

// obey turns signals into calls.
func (d *sidecar) obey(ctx context.Context) {
	for seen := 0; ; {
		select {
		case <-ctx.Done():
			return
		case sig := <-d.app.env.Signals:
			if sig == syscall.SIGHUP {
				go func() { _, _ = d.Reload(ctx, api.Actor{Name: "SIGHUP", From: "signal", Role: api.Admin}) }() // it tells
				continue
			}
			switch seen++; seen {
			case 1:
				d.Stop(interruptedBy(sig))
			case 2:
				d.Hurry()
			default:
				d.app.env.Default(sig)
			}
		}
	}
}

// audit leaves a line for each call that changes something.
func (d *sidecar) audit(e api.Entry) {
	args := []any{"by", e.By.Name, "from", e.By.From, "what", printable(e.What), "status", strconv.Itoa(e.Status)}
	if e.ID != "" {
		args = append(args, "operation", e.ID)
	}
	if e.Err != nil {
		d.log.Warn("request", append(args, "error", e.Err, "request", e.Request)...)
		return
	}
	d.log.Info("request", args...)
}

func accessOf(s config.Serve) (api.Access, error) {
	a := api.Access{AllowedHosts: s.AllowedHosts, Delete: s.AllowDelete}
	for _, t := range s.Tokens {
		role, err := api.ParseRole(t.Role)
		if err != nil {
			return a, usage(err)
		}
		a.Tokens = append(a.Tokens, api.Token{Name: t.Name, SHA256: t.SHA256, Role: role})
	}
	for _, p := range s.Peers {
		role, err := api.ParseRole(p.Role)
		if err != nil {
			return a, usage(err)
		}
		a.Peers = append(a.Peers, api.Peer{User: p.UID, Role: role})
	}
	for _, c := range s.Certificates {
		role, err := api.ParseRole(c.Role)
		if err != nil {
			return a, usage(err)
		}
		a.Certificates = append(a.Certificates, api.Certificate{Name: c.Name, Role: role})
	}
	return a, nil
}
