package cmd

import (
	"cmp"
	"context"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/remora-backup/remora/core/inert"
	"github.com/remora-backup/remora/core/operate"
	"github.com/remora-backup/remora/core/prepare"
	"github.com/remora-backup/remora/core/run"
)

func (a *app) prepare() *cobra.Command {
	var f flags
	var mysqld, incremental, as string
	c := a.configured(&cobra.Command{
		Use:   "prepare DIR",
		Short: "Make a raw backup directory consistent in place, one of XtraBackup too",
		Long: "Prepare lets a stock mysqld recover DIR to exactly the end of the backup. DIR was written by\n" +
			"`remora export`, or is a full backup of XtraBackup 8.x, also one with --lock-ddl=REDUCED. There is no\n" +
			"copy to go back to: one that is interrupted while the server recovers must be taken from the backup again.",
		Args:        cobra.ExactArgs(1),
		Annotations: map[string]string{ownSignals: "yes"},
		RunE: func(c *cobra.Command, args []string) error {
			var role inert.Role
			if as != "" {
				var err error
				if role, err = inert.ParseRole(as); err != nil {
					return err
				}
			}
			plan := func(_ context.Context, w *wiring, d *operate.Draft) (run.Plan, error) {
				dir, err := filepath.Abs(args[0])
				if err != nil {
					return run.Plan{}, usage(err)
				}
				d.Row.Target = dir
				d.Fact("directory", dir)
				s := w.settings.MySQL
				return prepare.New(prepare.Config{ID: d.Row.ID, Dir: dir, Mysqld: cmp.Or(mysqld, s.Mysqld), MysqldArgs: s.MysqldArgs, KeyringFile: s.KeyringFile, Incremental: incremental, As: role})
			}
			return a.operate(c.Context(), job{kind: "prepare", first: "reading_directory", flags: f, plan: plan})
		},
	})
	c.Flags().StringVar(&mysqld, "mysqld", "", "server that recovers, at this `path`; else the one of the configuration, else of PATH")
	c.Flags().StringVar(&as, "as", "", "what a server on DIR is to be: inert (no events, no replication, no writes), primary, or replica; else it is as its source was")
	c.Flags().StringVar(&incremental, "incremental", "", "incremental backup of XtraBackup, in this `directory`, to apply to DIR first, which was prepared with --apply-log-only")
	f.add(c)
	return c
}
