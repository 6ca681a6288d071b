package cmd

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/hashicorp/go-hclog"

	"github.com/remora-backup/remora/core/code"
	"github.com/remora-backup/remora/core/config"
	"github.com/remora-backup/remora/core/plug"
	"github.com/remora-backup/remora/core/repo"
	"github.com/remora-backup/remora/plugins/builtin"
	"github.com/remora-backup/remora/plugins/host"
	"github.com/remora-backup/remora/plugins/sdk"
)

// plugins starts plugins and ends all of them together.
type plugins struct {
	app     *app
	log     hclog.Logger
	running []*host.Plugin
	names   []string // kind:name of each
}

// start starts one plugin; server is given to lock plugins only.
func (p *plugins) start(ctx context.Context, kind string, c config.Plugin, server *sdk.Server) (*host.Plugin, error) {
	spec, err := specOf(kind, c, server)
	if err != nil {
		return nil, err
	}
	started, err := host.Start(ctx, spec, p.options(c))
	if code.Of(err) == code.Usage {
		err = c.Explain(err)
	}
	if err != nil {
		return nil, code.Default(code.Plugin, err)
	}
	p.running = append(p.running, started)
	name := kind + ":" + c.Plugin
	if c.SHA256 != "" {
		name += "@sha256:" + c.SHA256
	}
	p.names = append(p.names, name)
	return started, nil
}

func specOf(kind string, c config.Plugin, server *sdk.Server) (host.Spec, error) {
	spec := host.Spec{Kind: kind, Name: c.Plugin, Args: c.Args, SHA256: c.SHA256, MTLS: c.MTLS, Config: c.Config, EnvPass: c.EnvPass}
	if server == nil {
		return spec, nil
	}
	text, err := json.Marshal(server)
	spec.Server = text
	return spec, err
}

// options are those of one plugin.
func (p *plugins) options(c config.Plugin) host.Options {
	t := c.Timeouts
	return host.Options{
		Self: p.app.env.Self, Builtins: builtin.Names(), Logger: p.log,
		Start: t.Start, Call: t.Call, Commit: t.Commit, Stall: t.Stall, Abort: t.Abort,
	}
}

// Names are kind:name of each that was started.
func (p *plugins) Names() []string { return p.names }

// Close ends all plugins, the last one first. What one could not finish is an error.
func (p *plugins) Close(ctx context.Context) error {
	var errs []error
	for i := len(p.running) - 1; i >= 0; i-- {
		errs = append(errs, p.running[i].Close(ctx))
	}
	p.running = nil
	return errors.Join(errs...)
}

// serverOf is how a lock plugin reaches MySQL.
func serverOf(m config.MySQL) (*sdk.Server, error) {
	password, err := m.Password()
	if err != nil {
		return nil, err
	}
	s := &sdk.Server{Socket: m.Socket, Host: m.Host, Port: m.Port, User: m.User, Password: password, TLS: m.TLS}
	if s.Socket != "" {
		s.Port, s.TLS = 0, ""
	}
	return s, nil
}

// withRepo runs f on the repository, for the commands that only read it.
func (a *app) withRepo(ctx context.Context, f func(context.Context, *repo.Repo) error) (err error) {
	s, err := a.settings()
	if err != nil {
		return err
	}
	p := &plugins{app: a, log: logger(s.Log, a.env.Stderr)}
	defer func() { err = cmp.Or(err, p.Close(context.WithoutCancel(ctx))) }()
	storage, err := p.storage(ctx, s)
	if err != nil {
		return err
	}
	r, err := repo.Open(ctx, storage)
	if err != nil {
		return fmt.Errorf("open repository: %w", err)
	}
	return f(ctx, r)
}

func (p *plugins) storage(ctx context.Context, s config.Settings) (plug.Storage, error) {
	started, err := p.start(ctx, host.Storage, s.Storage, nil)
	if err != nil {
		return nil, err
	}
	return started.Storage(), nil
}
