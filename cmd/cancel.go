package cmd

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/remora-backup/remora/core/client"
	"github.com/remora-backup/remora/core/code"
	"github.com/remora-backup/remora/core/control"
)

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
			st, err := cancelled(c.Context(), s.State.Dir, strings.Join(args, ""))
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

// cancelled cancels the operation with that id, or whatever runs: the sidecar's, that of a
// command without one, or of one beside it.
func cancelled(ctx context.Context, dir, id string) (control.Status, error) {
	c, err := client.Find(ctx, dir)
	if err != nil {
		return control.Status{}, err
	}
	if c == nil {
		return control.Cancel(ctx, dir, control.SocketName, id)
	}
	st, err := c.Cancel(ctx, id)
	if client.Gone(err) {
		if beside, berr := control.Cancel(ctx, dir, control.BesideName, id); !errors.Is(berr, control.ErrNotRunning) {
			return beside, berr
		}
		return control.Status{}, fmt.Errorf("%w: %w", control.ErrUnknown, err)
	}
	return control.Status{Operation: st.Operation, ID: st.ID}, err
}
