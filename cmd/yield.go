package cmd

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/remora-backup/remora/core/client"
)

func (a *app) yield() *cobra.Command {
	d := 5 * time.Minute
	c := a.configured(&cobra.Command{
		Use:   "yield",
		Short: "Give the server's lock back now, and ask for none for a while",
		Long: "Yield is what a failover tool calls first: the sidecar gives the server's lock back within a second and\n" +
			"asks for none until the time has passed. A backup that held it for longer than that fails; one that\n" +
			"asked for it asks again afterwards.",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			s, err := a.settings()
			if err != nil {
				return err
			}
			to, err := client.Find(c.Context(), s.State.Dir)
			if err != nil {
				return err
			}
			if to == nil {
				return noSidecar("yield")
			}
			y, err := to.Yield(c.Context(), d)
			if err != nil {
				return err
			}
			held := "no lock was held"
			if y.Held {
				held = "the lock is given back"
			}
			_, err = fmt.Fprintf(a.env.Stdout, "%s; none is asked for until %s\n", held, y.Until.UTC().Format("2006-01-02 15:04:05 UTC"))
			return err
		},
	})
	c.Flags().DurationVar(&d, "for", d, "how `long` no lock is asked for")
	return c
}
