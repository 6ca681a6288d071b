package cmd

import (
	"github.com/spf13/cobra"

	"github.com/remora-backup/remora/core/restore"
)

func (a *app) export() *cobra.Command {
	var f flags
	c := a.configured(&cobra.Command{
		Use:   "export ID|latest DIR",
		Short: "Write a backup as plain files, not prepared, for other tools",
		Long: "Export writes the files of a backup into DIR as a server that was killed would leave them: a data\n" +
			"directory with the redo log, the last binary log, and remora-export.json, which holds the backup's manifest.\n" +
			"Every byte is proven. `remora prepare DIR` makes the directory consistent.",
		Args:        cobra.ExactArgs(2),
		Annotations: map[string]string{ownSignals: "yes"},
		RunE: func(c *cobra.Command, args []string) error {
			return a.operate(c.Context(), job{kind: "export", first: "getting_backup_info", flags: f, plan: planFetch(args[0], args[1], restore.Config{}, restore.NewExport)})
		},
	})
	f.add(c)
	return c
}
