package cmd

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/remora-backup/remora/core/repo"
)

// deleted is the answer for one backup, as delete --json prints it.
type deleted struct {
	ID    string `json:"id"`
	Freed int64  `json:"freed_bytes"`
}

func (a *app) delete() *cobra.Command {
	var asJSON, force bool
	c := a.configured(&cobra.Command{
		Use:     "delete ID ...",
		Short:   "Delete backups: the manifest first, then the rest",
		Example: "  remora list\n  remora delete 20261120T221500Z-7f3a",
		Args:    cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, ids []string) error {
			return a.withRepo(c.Context(), func(ctx context.Context, r *repo.Repo) error {
				for _, id := range ids {
					freed, err := r.Delete(ctx, id, force)
					if err != nil {
						return err
					}
					if err := a.printDeleted(asJSON, deleted{id, freed}); err != nil {
						return err
					}
				}
				return nil
			})
		},
	})
	c.Flags().BoolVar(&asJSON, "json", false, "one JSON object per line")
	c.Flags().BoolVar(&force, "force", false, "also the last backup of a server, and what an unfinished backup left; be sure that nobody is taking it")
	return c
}

func (a *app) printDeleted(asJSON bool, d deleted) error {
	if asJSON {
		return json.NewEncoder(a.env.Stdout).Encode(d)
	}
	_, err := fmt.Fprintf(a.env.Stdout, "%s  deleted  %s\n", d.ID, size(d.Freed))
	return err
}
