package cmd

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/remora-backup/remora/core/syncpoint/debug"
)

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
