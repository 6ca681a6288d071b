package cmd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/remora-backup/remora/core/api"
	"github.com/remora-backup/remora/core/code"
	"github.com/remora-backup/remora/core/config"
	"github.com/remora-backup/remora/core/inert"
	"github.com/remora-backup/remora/core/metrics"
	"github.com/remora-backup/remora/core/operate"
	"github.com/remora-backup/remora/core/repo"
	"github.com/remora-backup/remora/core/restore"
	"github.com/remora-backup/remora/core/schedule"
	"github.com/remora-backup/remora/core/serve"
	"github.com/remora-backup/remora/core/server"
)

// works is what a configuration makes possible for a sidecar.
type works struct {
	app      *app
	settings config.Settings
	log      hclog.Logger
	yield    *serve.Yield
	metrics  *metrics.Metrics

	mu    sync.Mutex
	times *schedule.Schedule // nil until the server's uuid is known
	uuid  string             // of the server, once times is known
}

// load reads the configuration and checks it whole: plugins are started, configured and ended
// again, scripts compiled.
func (a *app) load(ctx context.Context, dir string, log hclog.Logger, yield *serve.Yield, m *metrics.Metrics) (*works, error) {
	s, err := a.settings()
	if err != nil {
		return nil, err
	}
	for _, w := range s.Warnings {
		log.Warn(w)
	}
	if dir != "" && s.State.Dir != dir {
		return nil, code.Hint(code.Usage, "start the sidecar again", "[state] dir: it cannot be changed from %s to %s while the sidecar runs", dir, s.State.Dir)
	}
	if _, err := accessOf(s.Serve); err != nil {
		return nil, err
	}
	p := &plugins{app: a, log: log.Named("check")}
	_, err = p.storage(ctx, s)
	if err == nil {
		_, err = a.startOthers(ctx, s, p)
	}
	if err = errors.Join(err, p.Close(context.WithoutCancel(ctx))); err != nil {
		return nil, err
	}
	return &works{app: a, settings: s, log: log, yield: yield, metrics: m}, nil
}

// Operation is serve.Works'.
func (w *works) Operation(r api.Request) (operate.Config, error) {
	made := &wiring{settings: w.settings, plugins: &plugins{app: w.app, log: w.log}, yield: w.yield, metrics: w.metrics}
	j := job{kind: r.Operation}
	switch r.Operation {
	case "backup":
		j.first, j.plan = "preflight", planBackup
	case "verify":
		j.first, j.plan = verifying, planVerify(r.Backup)
	case "restore":
		target, err := w.target(r)
		if err != nil {
			return operate.Config{}, err
		}
		as, err := inert.ParseRole(r.As)
		if err != nil {
			return operate.Config{}, err
		}
		j.first, j.plan = "getting_backup_info", planFetch(r.Backup, target, restore.Config{As: as}, restore.New)
	default:
		return operate.Config{}, code.New(code.Usage, "operation %q: one of backup, restore, verify", r.Operation)
	}
	return made.operation(j), nil
}

// target is the directory of a restore: of a name that the configuration has, or itself.
func (w *works) target(r api.Request) (string, error) {
	if r.Dir != "" {
		return r.Dir, nil
	}
	var known []string
	for _, t := range w.settings.Restore {
		if t.Name == r.Target {
			return t.Dir, nil
		}
		known = append(known, t.Name)
	}
	return "", code.Hint(code.Usage, "[[restore]] in the configuration gives a directory a name; known: "+strings.Join(known, ", "), "no target is called %q", r.Target)
}

// Reach is serve.Works'.
func (w *works) Reach(ctx context.Context) error {
	return w.withServer(ctx, func(*server.Server) error { return nil })
}

func (w *works) withServer(ctx context.Context, f func(*server.Server) error) (err error) {
	reach, err := serverOf(w.settings.MySQL)
	if err != nil {
		return err
	}
	srv, err := server.Connect(ctx, serverConfig(w.settings.MySQL, reach))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, srv.Close()) }()
	return f(srv)
}

// Schedule is serve.Scheduling's. The server's uuid gives it its place in a fleet's spread.
func (w *works) Schedule(ctx context.Context) (*schedule.Schedule, error) {
	s := w.settings.Schedule
	if s.Backup == "" && s.Verify == "" {
		return nil, nil
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.times != nil {
		return w.times, nil
	}
	err := w.withServer(ctx, func(srv *server.Server) error {
		who, err := srv.Identity(ctx)
		if err != nil {
			return err
		}
		w.uuid = who.UUID
		w.times, err = schedule.New(s, who.UUID)
		return err
	})
	return w.times, err
}

// Role is serve.Scheduling's.
func (w *works) Role(ctx context.Context) (is schedule.Role, err error) {
	err = w.withServer(ctx, func(srv *server.Server) error {
		r, err := srv.Role(ctx)
		is = schedule.Role(r)
		return err
	})
	return is, err
}

// Stored is serve.Scheduling's.
func (w *works) Stored(ctx context.Context) (ran []schedule.Ran, newest time.Time, err error) {
	all, err := w.Backups(ctx)
	w.mu.Lock()
	ours := w.uuid
	w.mu.Unlock()
	for _, b := range all {
		if b.State != "complete" {
			continue
		}
		if b.Started.After(newest) {
			newest = b.Started
		}
		if b.ServerUUID != ours {
			continue
		}
		ran = append(ran, schedule.Ran{Operation: schedule.Backup, Started: b.Started, Ended: b.Finished, Good: true})
	}
	return ran, newest, err
}

// Settings is serve.Works'. It names what has no secret in it; of plugins only what they are.
func (w *works) Settings() map[string]any {
	s := w.settings
	plugin := func(p config.Plugin) map[string]any { return map[string]any{"plugin": p.Plugin, "sha256": p.SHA256} }
	var notify []any
	for _, n := range s.Notify {
		notify = append(notify, plugin(n))
	}
	var tokens []any
	for _, t := range s.Serve.Tokens {
		tokens = append(tokens, map[string]any{"name": t.Name, "role": t.Role})
	}
	return map[string]any{
		"path":    absolute(s.Path),
		"mysql":   map[string]any{"socket": s.MySQL.Socket, "host": s.MySQL.Host, "port": s.MySQL.Port, "tls": s.MySQL.TLS, "user": s.MySQL.User, "mysqld": s.MySQL.Mysqld},
		"state":   s.State,
		"storage": plugin(s.Storage), "lock": plugin(s.Lock), "notify": notify,
		"hooks":    map[string]any{"scripts": s.Hooks.Scripts, "timeout": s.Hooks.Timeout.String(), "on_error": s.Hooks.OnError},
		"backup":   s.Backup,
		"schedule": s.Schedule,
		"serve":    map[string]any{"listen": s.Serve.Listen, "probes": s.Serve.Probes, "tokens": tokens},
		"restore":  s.Restore,
	}
}

// Backups is serve.Works'.
func (w *works) Backups(ctx context.Context) (all []repo.Listed, err error) {
	err = w.withRepo(ctx, func(r *repo.Repo) error {
		found, err := r.List(ctx)
		for i := len(found) - 1; i >= 0; i-- {
			all = append(all, found[i].Listed())
		}
		return err
	})
	return all, err
}

// Backup is serve.Works'.
func (w *works) Backup(ctx context.Context, id string) (b api.Backup, err error) {
	err = w.withRepo(ctx, func(r *repo.Repo) error {
		found, err := r.List(ctx)
		if err != nil {
			return err
		}
		for _, s := range found {
			if s.ID == id {
				b.Listed = s.Listed()
				b.Manifest, err = json.Marshal(s.Manifest)
				return err
			}
		}
		return fmt.Errorf("backup %s: %w", id, api.ErrUnknown)
	})
	return b, err
}

// DeleteBackup is serve.Works'.
func (w *works) DeleteBackup(ctx context.Context, id string) error {
	return w.withRepo(ctx, func(r *repo.Repo) error {
		_, err := r.Delete(ctx, id, false)
		if errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("backup %s: %w", id, api.ErrUnknown)
		}
		return err
	})
}

func (w *works) withRepo(ctx context.Context, f func(*repo.Repo) error) (err error) {
	p := &plugins{app: w.app, log: w.log}
	defer func() { err = errors.Join(err, p.Close(context.WithoutCancel(ctx))) }()
	storage, err := p.storage(ctx, w.settings)
	if err != nil {
		return err
	}
	r, err := repo.Open(ctx, storage)
	if err != nil {
		return fmt.Errorf("open repository: %w", err)
	}
	return f(r)
}
