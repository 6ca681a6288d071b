package cmd

import (
	"fmt"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/remora-backup/remora/core/code"
	"github.com/remora-backup/remora/plugins/builtin"
)

// plugin also serves a built-in plugin: remora plugin KIND NAME, as the host runs it.
func (a *app) plugin() *cobra.Command {
	c := &cobra.Command{
		Use:         "plugin",
		Short:       "List and check plugins",
		Annotations: map[string]string{ownSignals: "yes"},
		Args:        cobra.ArbitraryArgs,
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) == 0 {
				return c.Help()
			}
			if len(args) >= 2 {
				return builtin.Serve(args[0], args[1])
			}
			return code.Hint(code.Usage, "remora plugin list", "unknown command %q for \"remora plugin\"", args[0])
		},
	}
	c.AddCommand(a.checkPlugin(), &cobra.Command{
		Use:   "list",
		Short: "List the built-in plugins",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			t := tabwriter.NewWriter(a.env.Stdout, 0, 0, 2, ' ', 0)
			fmt.Fprintln(t, "KIND\tNAME")
			for _, p := range builtin.List() {
				fmt.Fprintf(t, "%s\t%s\n", p.Kind, p.Name)
			}
			return t.Flush()
		},
	})
	return c
}
