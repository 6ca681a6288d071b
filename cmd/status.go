package cmd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/remora-backup/remora/core/control"
	"github.com/remora-backup/remora/core/operate"
	"github.com/remora-backup/remora/core/run"
	"github.com/remora-backup/remora/core/state"
)

func (a *app) status() *cobra.Command {
	var asJSON bool
	c := a.configured(&cobra.Command{
		Use:   "status",
		Short: "Show what is running now, else how the last operation ended",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			s, err := a.settings()
			if err != nil {
				return err
			}
			st, err := control.Ask(c.Context(), s.State.Dir, control.SocketName)
			if errors.Is(err, control.ErrNotRunning) {
				return a.lastStatus(c.Context(), asJSON)
			}
			if err != nil {
				return err
			}
			if asJSON {
				return json.NewEncoder(a.env.Stdout).Encode(st)
			}
			fmt.Fprintln(a.env.Stdout, statusText(st))
			return nil
		},
	})
	c.Flags().BoolVar(&asJSON, "json", false, "as a JSON object")
	return c
}

func statusText(st control.Status) string {
	text := fmt.Sprintf("%s %s (pid %d): %s", st.Operation, st.ID, st.PID, st.State)
	if st.Phase != "" {
		text += ", " + st.Phase
	}
	if st.Percent != nil {
		text += fmt.Sprintf(" %d%%", *st.Percent)
	}
	if st.InterruptedBy != "" {
		text += " (" + st.InterruptedBy + ")"
	}
	return text
}

// lastStatus tells the end of the last operation.
func (a *app) lastStatus(ctx context.Context, asJSON bool) error {
	s, err := a.settings()
	if err != nil {
		return err
	}
	store, err := existing(ctx, s)
	if err != nil {
		return err
	}
	var all []state.Operation
	if store != nil {
		defer store.Close()
		if all, err = operate.Settled(ctx, s.State.Dir, store, func() ([]state.Operation, error) { return store.History(ctx) }); err != nil {
			return err
		}
	}
	if len(all) == 0 {
		fmt.Fprintln(a.env.Stdout, "nothing is running, and nothing ever did")
		return nil
	}
	last := all[0]
	if asJSON {
		return json.NewEncoder(a.env.Stdout).Encode(last)
	}
	text := fmt.Sprintf("nothing is running; the last %s (%s): %s", last.Operation, last.ID, last.State)
	if last.Ongoing() { // it has begun just now
		text = fmt.Sprintf("%s %s (pid %d): %s", last.Operation, last.ID, last.PID, last.State)
	}
	if last.Destructive && last.State != run.Complete && last.State != run.CompleteWithWarnings {
		text += fmt.Sprintf(". Operation aborted - data might be corrupted. Target: %s", last.Target)
	}
	fmt.Fprintln(a.env.Stdout, printable(text))
	return nil
}
