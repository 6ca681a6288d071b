package cmd

import (
	"context"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/remora-backup/remora/core/api"
	"github.com/remora-backup/remora/core/client"
	"github.com/remora-backup/remora/core/code"
	"github.com/remora-backup/remora/core/inert"
	"github.com/remora-backup/remora/core/operate"
	"github.com/remora-backup/remora/core/repo"
	"github.com/remora-backup/remora/core/restore"
	"github.com/remora-backup/remora/core/run"
)

func (a *app) restore() *cobra.Command {
	var f flags
	cfg := restore.Config{}
	var target, id, as string
	c := a.configured(&cobra.Command{
		Use:   "restore --target DIR",
		Short: "Restore a backup into an empty directory and make it ready to start",
		Long: "Restore fetches a backup into DIR, lets mysqld recover it, and publishes it.\n" +
			"It needs no MySQL account. One that was interrupted goes on when it is run again.\n" +
			"The restored server is inert: what was persisted for that, and how it is lifted, is said at the end.",
		Args:        cobra.NoArgs,
		Annotations: map[string]string{ownSignals: "yes"},
		RunE: func(c *cobra.Command, _ []string) error {
			if target == "" {
				return code.Hint(code.Usage, "remora restore --target DIR", "--target is missing")
			}
			var err error
			if cfg.As, err = inert.ParseRole(as); err != nil {
				return err
			}
			j := job{kind: "restore", first: "getting_backup_info", flags: f, plan: planFetch(id, target, cfg, restore.New)}
			if !cfg.IgnoreLeftovers { // that is for who sees the host
				j.handOver = handOverRestore(id, target, as)
			}
			return a.operate(c.Context(), j)
		},
	})
	c.Flags().StringVar(&target, "target", "", "`directory` that is empty or does not exist yet")
	c.Flags().StringVar(&id, "backup", repo.Latest, "`id` of the backup")
	c.Flags().StringVar(&as, "as", string(inert.Inert), "what the restored server is to be: inert (no events, no replication, no writes), primary, or replica")
	c.Flags().BoolVar(&cfg.IgnoreLeftovers, "ignore-leftovers", false, "restore though files of the source lie at its places on this host: the restored server will have others")
	f.add(c)
	f.addDetach(c)
	return c
}

func handOverRestore(id, target, as string) func(context.Context, *client.Client) (api.Started, error) {
	return func(ctx context.Context, c *client.Client) (api.Started, error) {
		dir, err := filepath.Abs(target)
		if err != nil {
			return api.Started{}, usage(err)
		}
		return c.Restore(ctx, api.RestoreRequest{Backup: id, Target: dir, As: as})
	}
}

// planFetch plans what reads a backup into a directory: a restore or an export.
// cfg has what else it is told.
func planFetch(id, target string, cfg restore.Config, plan func(restore.Config) (run.Plan, error)) planner {
	return func(ctx context.Context, w *wiring, d *operate.Draft) (run.Plan, error) {
		target, err := filepath.Abs(target)
		if err != nil {
			return run.Plan{}, usage(err)
		}
		d.Row.Target = target
		if id != repo.Latest {
			d.Row.BackupID = id
		}
		storage, err := w.storage(ctx)
		if err != nil {
			return run.Plan{}, err
		}
		r, err := repo.Open(ctx, storage)
		if err != nil {
			return run.Plan{}, err
		}
		if b, err := r.OpenBackup(ctx, id); err == nil && id == repo.Latest && w.yield != nil {
			id = b.Manifest().ID // one that a restart of the sidecar interrupts goes on with the same
			d.Row.BackupID = id
		}
		d.Fact("backup", id)
		d.Fact("target", target)
		s := w.settings.MySQL
		cfg.ID, cfg.Repo, cfg.BackupID, cfg.Target, cfg.Mysqld, cfg.MysqldArgs = d.Row.ID, r, id, target, s.Mysqld, s.MysqldArgs
		return plan(cfg)
	}
}
