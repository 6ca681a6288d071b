package cmd

import (
	"context"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/remora-backup/remora/core/repo"
)

func (a *app) list() *cobra.Command {
	var asJSON bool
	c := a.configured(&cobra.Command{
		Use:   "list",
		Short: "List the backups in the storage, oldest first",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return a.withRepo(c.Context(), func(ctx context.Context, r *repo.Repo) error {
				found, err := r.List(ctx)
				if err != nil {
					return err
				}
				if !r.Exists() {
					fmt.Fprintln(a.env.Stderr, "hint: the storage has never had a backup: is it the right one, and mounted?")
				}
				var all []repo.Listed
				for _, s := range found {
					all = append(all, s.Listed())
				}
				if asJSON {
					return encodeAll(a, all)
				}
				a.printList(all)
				return nil
			})
		},
	})
	c.Flags().BoolVar(&asJSON, "json", false, "one JSON object per line")
	return c
}

func (a *app) printList(all []repo.Listed) {
	t := tabwriter.NewWriter(a.env.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "ID\tSTATE\tDATA OF\tSERVER\tDATA\tSTORED\tTOOK\tLOCKED\tPOSITION")
	for _, l := range all {
		if l.Error != "" {
			fmt.Fprintf(t, "%s\t%s\t-\t-\t-\t%s\t-\t-\t%s\n", l.ID, l.State, size(l.StoredBytes), printable(l.Error))
			continue
		}
		position := fmt.Sprintf("LSN %d", l.LSN)
		if l.BinlogFile != "" {
			position = fmt.Sprintf("%s:%d", l.BinlogFile, l.BinlogPosition)
		}
		state := l.State
		if len(l.Excluded) > 0 {
			state += " without " + strings.Join(l.Excluded, ", ")
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%.1f ms\t%s\n", l.ID, printable(state), dataOf(l.DataTime), printable(l.ServerVersion), size(l.Bytes), size(l.StoredBytes),
			took(l.Finished.Sub(l.Started)), l.LockMS, printable(position))
	}
	t.Flush()
}

// dataOf says how new the data of a backup are.
func dataOf(t time.Time) string {
	if t.IsZero() {
		return "not known"
	}
	return stamp(t)
}
