package cmd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/remora-backup/remora/core/api"
	"github.com/remora-backup/remora/core/client"
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
			if of, err := client.Find(c.Context(), s.State.Dir); of != nil || err != nil {
				return a.sidecarStatus(c.Context(), of, err, asJSON)
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

// sidecarStatus shows what the sidecar does, and while it does nothing how the last operation
// ended.
func (a *app) sidecarStatus(ctx context.Context, of *client.Client, err error, asJSON bool) error {
	if err != nil {
		return err
	}
	st, err := of.Status(ctx)
	if err != nil {
		return err
	}
	if asJSON {
		return json.NewEncoder(a.env.Stdout).Encode(st)
	}
	fmt.Fprintln(a.env.Stdout, sidecarText(st))
	if st.Operation == "" {
		return a.lastStatus(ctx, false)
	}
	fmt.Fprintln(a.env.Stdout, statusText(control.Status{
		Operation: st.Operation, ID: st.ID, PID: st.PID, State: st.State, Phase: st.Phase, Percent: st.Percent, InterruptedBy: st.InterruptedBy,
	}))
	return nil
}

func sidecarText(st api.Status) string {
	text := fmt.Sprintf("sidecar (pid %d) since %s, server %s", st.PID, stamp(st.Since), st.Server)
	if st.Next != nil {
		text += fmt.Sprintf(", next %s at %s", st.Next.Operation, stamp(st.Next.Time))
	}
	if !st.PausedUntil.IsZero() {
		text += ", schedule paused until " + stamp(st.PausedUntil)
	}
	if st.Postponed {
		text += ", a reload waits for the end of the phase"
	}
	return text
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
