package cmd

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/remora-backup/remora/core/code"
	"github.com/remora-backup/remora/core/syncpoint"
	"github.com/remora-backup/remora/core/syncpoint/debug"
)

// debugSync lets socket command the sync points of the operation; "" is none.
func (o *operation) debugSync(ctx context.Context, socket string) (context.Context, error) {
	if socket == "" {
		return ctx, nil
	}
	s, err := debug.Listen(ctx, socket)
	if err != nil {
		return ctx, code.Default(code.Usage, err)
	}
	o.debug = s
	return syncpoint.With(ctx, s), nil
}

// debugClient gives orders to an operation that runs with --debug-sync.
func (a *app) debugClient() *cobra.Command {
	return &cobra.Command{
		Use:    "debug-sync SOCKET COMMAND [ARGUMENT...]",
		Short:  "Hold, fail or end a running operation at its sync points",
		Long:   "The commands are those of package core/syncpoint/debug: arm, disarm, go, wait, resume, list, hits.",
		Hidden: true,
		Args:   cobra.MinimumNArgs(2),
		RunE: func(c *cobra.Command, args []string) error {
			answer, err := debug.Do(c.Context(), args[0], args[1:]...)
			if answer = strings.TrimRight(answer, "\n"); answer != "" {
				fmt.Fprintln(a.env.Stdout, answer)
			}
			return err
		},
	}
}
