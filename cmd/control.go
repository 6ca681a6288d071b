package cmd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/remora-backup/remora/core/code"
	"github.com/remora-backup/remora/core/control"
	"github.com/remora-backup/remora/core/run"
	"github.com/remora-backup/remora/core/state"
)

// Status is control.Operation's. It never waits for the operation.
func (o *operation) Status() control.Status {
	s := control.Status{Operation: o.kind, PID: o.row.PID, Started: o.row.Started, State: string(state.Starting)}
	select {
	case <-o.begun:
	default:
		return s
	}
	heard, m := o.sofar.read(), o.meter.Read()
	s.ID, s.Target, s.State, s.Databases = o.row.ID, o.row.Target, string(state.Running), heard.databases
	s.Phase, s.Percent, s.Bytes, s.TotalBytes, s.ETASeconds = m.Phase, m.Percent, m.Done, m.Total, m.ETA.Seconds()
	if why := o.signals.why(); why != nil {
		s.State, s.InterruptedBy = "cancelling", why.By
	}
	if heard.end != nil {
		s.State = string(heard.end.State)
	}
	return s
}

// Cancel is control.Operation's.
func (o *operation) Cancel(by string) bool {
	if o.sofar.ended() {
		return false
	}
	o.signals.interrupt(&run.Interrupted{By: by, Code: code.Cancelled})
	return true
}

func (a *app) cancel() *cobra.Command {
	return a.configured(&cobra.Command{
		Use:   "cancel [ID]",
		Short: "Cancel the operation that runs",
		Long: "Cancel interrupts the running backup or restore as Ctrl-C would: it gives the server's lock back,\n" +
			"cleans up and ends with exit code 25. Cancel does not wait for that. Nothing to cancel is no error;\n" +
			"an ID that does not run is.",
		Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			s, err := a.settings()
			if err != nil {
				return err
			}
			st, err := control.Cancel(c.Context(), s.State.Dir, strings.Join(args, ""))
			switch {
			case errors.Is(err, control.ErrNotRunning) && len(args) == 0, errors.Is(err, control.ErrUnknown) && len(args) == 0:
				fmt.Fprintln(a.env.Stdout, "nothing is running")
				return nil
			case errors.Is(err, control.ErrNotRunning), errors.Is(err, control.ErrUnknown):
				return code.New(code.Usage, "cancel %s: %w", args[0], err)
			case err != nil:
				return err
			}
			fmt.Fprintf(a.env.Stdout, "%s %s is being cancelled\n", st.Operation, st.ID)
			return nil
		},
	})
}

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
			st, err := control.Ask(c.Context(), s.State.Dir)
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
		if all, err = settled(ctx, s.State.Dir, store, func() ([]state.Operation, error) { return store.History(ctx) }); err != nil {
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
