package cmd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/remora-backup/remora/core/config"
	"github.com/remora-backup/remora/core/operate"
	"github.com/remora-backup/remora/core/state"
)

func (a *app) history() *cobra.Command {
	var asJSON bool
	c := a.configured(&cobra.Command{
		Use:   "history",
		Short: "List operations and how they ended, newest first",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			s, err := a.settings()
			if err != nil {
				return err
			}
			store, err := existing(c.Context(), s)
			if err != nil || store == nil {
				return err
			}
			defer store.Close()
			all, err := operate.Settled(c.Context(), s.State.Dir, store, func() ([]state.Operation, error) { return store.History(c.Context()) })
			if err != nil {
				return err
			}
			if asJSON {
				return encodeAll(a, all)
			}
			a.printHistory(all)
			return nil
		},
	})
	c.Flags().BoolVar(&asJSON, "json", false, "one JSON object per line")
	return c
}

// existing opens the history; nil if nothing ever ran here.
func existing(ctx context.Context, s config.Settings) (*state.Store, error) {
	if _, err := os.Stat(filepath.Join(s.State.Dir, "remora.db")); errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return state.Open(ctx, s.State.Dir)
}

func encodeAll[T any](a *app, all []T) error {
	enc := json.NewEncoder(a.env.Stdout)
	for _, one := range all {
		if err := enc.Encode(one); err != nil {
			return err
		}
	}
	return nil
}

func (a *app) printHistory(all []state.Operation) {
	t := tabwriter.NewWriter(a.env.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "OPERATION\tID\tSTATE\tSTARTED\tTOOK\tLOCKED\tANSWER")
	for _, o := range all {
		duration, locked := "-", "-"
		if !o.Ended.IsZero() {
			duration = took(o.Ended.Sub(o.Started))
		}
		if o.LockMS != nil && o.Operation == "backup" { // of others it is that of the backup they read
			locked = fmt.Sprintf("%.1f ms", *o.LockMS)
		}
		answer, _, _ := strings.Cut(o.Error, "\n")
		if answer == "" {
			answer = o.Target
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", o.Operation, o.ID, o.State, o.Started.UTC().Format("2006-01-02 15:04:05"), duration, locked, printable(answer))
	}
	t.Flush()
}
