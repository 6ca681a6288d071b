package cmd

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/remora-backup/remora/core/code"
	"github.com/remora-backup/remora/core/repo"
)

// verified is the answer for one backup, as verify --json prints it.
type verified struct {
	ID    string `json:"id"`
	State string `json:"state"` // "sound", "damaged" or "not verified"
	Bytes int64  `json:"stored_bytes"`
	Error string `json:"error,omitempty"`
}

func (a *app) verify() *cobra.Command {
	var asJSON bool
	c := a.configured(&cobra.Command{
		Use:   "verify [ID|latest]",
		Short: "Read and check every stored byte of one backup, or of all",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return a.withRepo(c.Context(), func(ctx context.Context, r *repo.Repo) error {
				ids, err := named(ctx, r, args)
				if err != nil {
					return err
				}
				var first error
				for _, id := range ids {
					id, n, err := verifyOne(ctx, r, id)
					if ctx.Err() != nil {
						return ctx.Err()
					}
					if err != nil && first == nil {
						first = fmt.Errorf("verify %s: %w", id, err)
					}
					if err := a.printVerified(asJSON, id, n, err); err != nil {
						return err
					}
				}
				return first
			})
		},
	})
	c.Flags().BoolVar(&asJSON, "json", false, "one JSON object per line")
	return c
}

func named(ctx context.Context, r *repo.Repo, args []string) ([]string, error) {
	if len(args) > 0 {
		return args, nil
	}
	all, err := r.List(ctx)
	if err == nil && len(all) == 0 {
		return nil, code.Hint(code.Usage, "is the storage of the configuration the right one, and mounted?", "verify all backups: there is none")
	}
	var ids []string
	for _, s := range all {
		ids = append(ids, s.ID)
	}
	return ids, err
}

// verifyOne returns the id, which may have been Latest, and the number of bytes stored for
// the backup.
func verifyOne(ctx context.Context, r *repo.Repo, id string) (string, int64, error) {
	b, err := r.OpenBackup(ctx, id)
	if err != nil {
		return id, 0, err
	}
	m := b.Manifest()
	return m.ID, m.Totals.Stored, b.Verify(ctx, 2)
}

func (a *app) printVerified(asJSON bool, id string, n int64, err error) error {
	v := verified{ID: id, State: "sound", Bytes: n}
	switch {
	case code.Of(err) == code.Integrity:
		v.State, v.Error = "damaged", err.Error()
	case err != nil: // a storage that fails says nothing about the backup
		v.State, v.Error = "not verified", err.Error()
	}
	if asJSON {
		return json.NewEncoder(a.env.Stdout).Encode(v)
	}
	fmt.Fprintf(a.env.Stdout, "%s  %s  %s  %s\n", v.ID, v.State, size(v.Bytes), printable(v.Error))
	return nil
}
