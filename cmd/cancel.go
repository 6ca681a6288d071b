package cmd

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

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
			st, err := control.Cancel(c.Context(), s.State.Dir, control.SocketName, strings.Join(args, ""))
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
