package cmd

import (
	"cmp"
	"context"
	"crypto/tls"
	"fmt"
	"runtime"
	"slices"

	"github.com/spf13/cobra"

	"github.com/remora-backup/remora/core/backup"
	"github.com/remora-backup/remora/core/config"
	"github.com/remora-backup/remora/core/plug"
	"github.com/remora-backup/remora/core/repo"
	"github.com/remora-backup/remora/core/run"
	"github.com/remora-backup/remora/core/server"
	"github.com/remora-backup/remora/core/state"
	"github.com/remora-backup/remora/core/syncpoint"
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
			return a.operate(c.Context(), "backup", f, planBackup)
		},
	})
	f.add(c)
	return c
}

func planBackup(ctx context.Context, o *operation) (run.Plan, error) {
	s := o.settings
	reach, err := serverOf(s.MySQL)
	if err != nil {
		return run.Plan{}, err
	}
	storage, err := o.storage(ctx)
	if err != nil {
		return run.Plan{}, err
	}
	lock, err := o.plugins.lock(ctx, s, reach)
	if err != nil {
		return run.Plan{}, err
	}
	o.row.LockPID = lock.Pid()
	srv, err := server.Connect(ctx, serverConfig(s.MySQL, reach))
	if err != nil {
		return run.Plan{}, err
	}
	o.closers = append(o.closers, srv.Close)
	if err := o.introduce(ctx, srv); err != nil {
		return run.Plan{}, err
	}
	if err := o.tidy(ctx, storage, srv); err != nil {
		return run.Plan{}, err
	}
	makeWay(cmp.Or(s.Backup.Parallel, backup.Workers))
	plan, err := backup.New(ctx, backup.Config{
		Server: srv, Storage: storage, Lock: lock.Lock(), Compression: repo.Compression(s.Backup.Compression),
		Parallel: s.Backup.Parallel, LockWait: s.Backup.LockWaitTimeout, Version: thisBuild().Version,
		KeyringFile: s.MySQL.KeyringFile,
	})
	if err != nil {
		return plan, err
	}
	o.row.BackupID = plan.ID
	return plan, o.doubtEmpty(ctx, storage)
}

// doubtEmpty lets the backup warn if its storage has never seen one although there were
// backups here: a file system that is not mounted looks like that.
func (o *operation) doubtEmpty(ctx context.Context, storage plug.Storage) error {
	r, err := repo.Open(ctx, storage)
	if err != nil || r.Exists() {
		return err
	}
	all, err := o.store.History(ctx)
	if err != nil {
		return err
	}
	at := slices.IndexFunc(all, func(b state.Operation) bool {
		return b.Operation == "backup" && (b.State == run.Complete || b.State == run.CompleteWithWarnings)
	})
	if at < 0 {
		return nil
	}
	o.opening = append(o.opening, run.Event{Kind: run.KindWarning, Message: fmt.Sprintf(
		"the storage is empty, but backup %s was completed on %s: is it the right storage, and mounted?", all[at].ID, stamp(all[at].Ended))})
	return nil
}

// makeWay lets more run at once than workers, which compress for many milliseconds
// without a pause: whoever moves their bytes or follows the redo would wait behind them.
func makeWay(workers int) {
	runtime.GOMAXPROCS(max(runtime.GOMAXPROCS(0), workers+2))
}

func (p *plugins) lock(ctx context.Context, s config.Settings, reach *sdk.Server) (*host.Plugin, error) {
	return p.start(ctx, host.Lock, s.Lock, reach)
}

// storage starts the storage plugin.
func (o *operation) storage(ctx context.Context) (plug.Storage, error) {
	s, err := o.plugins.storage(ctx, o.settings)
	if err != nil {
		return nil, err
	}
	return s, step(ctx, syncpoint.OperationStorage)
}

// introduce notes which server this is, for the start line and the history.
func (o *operation) introduce(ctx context.Context, srv *server.Server) error {
	who, err := srv.Identity(ctx)
	if err != nil {
		return err
	}
	o.row.ServerUUID, o.row.ServerVersion = who.UUID, srv.Version().String()
	o.facts = append(o.facts, "server="+o.row.ServerUUID, "version="+o.row.ServerVersion)
	return nil
}

func serverConfig(m config.MySQL, reach *sdk.Server) server.Config {
	c := server.Config{Socket: reach.Socket, Host: reach.Host, Port: reach.Port, User: reach.User, Password: reach.Password}
	if reach.Socket == "" && m.TLS != "off" {
		c.TLS = &tls.Config{ServerName: m.Host, InsecureSkipVerify: m.TLS == "skip-verify"}
	}
	return c
}

func (f *flags) add(c *cobra.Command) {
	c.Flags().BoolVar(&f.asJSON, "json", false, "one JSON object per line, the result last")
	c.Flags().StringVar(&f.debugSync, "debug-sync", "", "take orders on this `socket`: hold, fail or kill at sync points")
	_ = c.Flags().MarkHidden("debug-sync")
}
