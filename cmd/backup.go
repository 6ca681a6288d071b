package cmd

import (
	"cmp"
	"context"
	"crypto/tls"
	"fmt"
	"runtime"

	"github.com/spf13/cobra"

	"github.com/remora-backup/remora/core/api"
	"github.com/remora-backup/remora/core/backup"
	"github.com/remora-backup/remora/core/client"
	"github.com/remora-backup/remora/core/config"
	"github.com/remora-backup/remora/core/operate"
	"github.com/remora-backup/remora/core/plug"
	"github.com/remora-backup/remora/core/repo"
	"github.com/remora-backup/remora/core/run"
	"github.com/remora-backup/remora/core/server"
	"github.com/remora-backup/remora/plugins/host"
	"github.com/remora-backup/remora/plugins/sdk"
)

func (a *app) backup() *cobra.Command {
	var f flags
	c := a.configured(&cobra.Command{
		Use:         "backup",
		Short:       "Take one backup now",
		Args:        cobra.NoArgs,
		Annotations: map[string]string{ownSignals: "yes"},
		RunE: func(c *cobra.Command, _ []string) error {
			return a.operate(c.Context(), job{kind: "backup", first: "preflight", flags: f, plan: planBackup,
				handOver: func(ctx context.Context, c *client.Client) (api.Started, error) { return c.Backup(ctx) }})
		},
	})
	f.add(c)
	f.addDetach(c)
	return c
}

func planBackup(ctx context.Context, w *wiring, d *operate.Draft) (run.Plan, error) {
	s := w.settings
	reach, err := serverOf(s.MySQL)
	if err != nil {
		return run.Plan{}, err
	}
	storage, err := w.storage(ctx)
	if err != nil {
		return run.Plan{}, err
	}
	lock, err := w.plugins.start(ctx, host.Lock, s.Lock, reach)
	if err != nil {
		return run.Plan{}, err
	}
	d.Row.LockPID = lock.Pid()
	srv, err := server.Connect(ctx, serverConfig(s.MySQL, reach))
	if err != nil {
		return run.Plan{}, err
	}
	d.Closing(srv.Close)
	if err := introduce(ctx, srv, d); err != nil {
		return run.Plan{}, err
	}
	r, err := repo.Open(ctx, storage)
	if err != nil {
		return run.Plan{}, fmt.Errorf("open repository: %w", err)
	}
	if err := d.Tidy(ctx, r, srv); err != nil {
		return run.Plan{}, err
	}
	makeWay(cmp.Or(s.Backup.Parallel, backup.Workers))
	plan, err := backup.New(ctx, backup.Config{
		Server: srv, Storage: storage, Lock: w.lockOf(lock), Compression: repo.Compression(s.Backup.Compression),
		Parallel: s.Backup.Parallel, Patience: s.Backup.LockPatience, Version: thisBuild().Version,
		KeyringFile: s.MySQL.KeyringFile, ExcludeEngines: s.Backup.ExcludeEngines,
		MaxDataAge: s.Backup.MaxDataAge, RefuseStale: s.Backup.Stale == "fail",
	})
	if err != nil {
		return plan, err
	}
	d.Row.BackupID = plan.ID
	return plan, d.DoubtEmpty(ctx, r)
}

// lockOf is the lock that a backup takes.
func (w *wiring) lockOf(p *host.Plugin) plug.Lock {
	if w.yield == nil {
		return p.Lock()
	}
	return w.yield.Of(p.Lock())
}

// makeWay lets more run at once than workers, which compress for many milliseconds
// without a pause: whoever moves their bytes or follows the redo would wait behind them.
func makeWay(workers int) {
	runtime.GOMAXPROCS(max(runtime.GOMAXPROCS(0), workers+2))
}

// introduce notes which server this is, for the start line and the history.
func introduce(ctx context.Context, srv *server.Server, d *operate.Draft) error {
	who, err := srv.Identity(ctx)
	if err != nil {
		return err
	}
	d.Row.ServerUUID, d.Row.ServerVersion = who.UUID, srv.Version().String()
	d.Fact("server", d.Row.ServerUUID)
	d.Fact("version", d.Row.ServerVersion)
	return nil
}

func serverConfig(m config.MySQL, reach *sdk.Server) server.Config {
	c := server.Config{Socket: reach.Socket, Host: reach.Host, Port: reach.Port, User: reach.User, Password: reach.Password}
	if reach.Socket == "" && m.TLS != "off" {
		c.TLS = &tls.Config{ServerName: m.Host, InsecureSkipVerify: m.TLS == "skip-verify"}
	}
	return c
}
