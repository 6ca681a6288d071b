package cmd

import (
	"fmt"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/remora-backup/remora/core/code"
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
			for _, b := range builtins() {
				if len(args) >= 2 && b.kind == args[0] && b.name == args[1] {
					b.serve()
					return nil
				}
			}
			return code.Hint(code.Usage, "remora plugin list", "no plugin command or built-in %q", args)
		},
	}
	c.AddCommand(&cobra.Command{
		Use:   "list",
		Short: "List the built-in plugins",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			t := tabwriter.NewWriter(a.env.Stdout, 0, 0, 2, ' ', 0)
			fmt.Fprintln(t, "KIND\tNAME\tWHAT")
			for _, b := range builtins() {
				fmt.Fprintf(t, "%s\t%s\t%s\n", b.kind, b.name, b.about)
			}
			return t.Flush()
		},
	})
	return c
}
