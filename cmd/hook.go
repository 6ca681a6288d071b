package cmd

import (
	"errors"
	"io/fs"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/remora-backup/remora/hooks"
)

// hookHost is the hidden command that is the child process of package hooks.
const hookHost = "hook-host"

func (a *app) hook() *cobra.Command {
	c := &cobra.Command{Use: "hook", Short: "Try Lua hooks"}
	c.AddCommand(a.configured(&cobra.Command{
		Use:   "check FILE...",
		Short: "Run scripts against recorded runs and show what they would do",
		Long: "Check runs scripts against recorded runs and shows what they would do; nothing is sent. They see\n" +
			"[hooks.config] and get [hooks] timeout of the configuration, if there is one.",
		Args: cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, files []string) error {
			s, err := a.settings()
			if err != nil && (a.config != "" || !errors.Is(err, fs.ErrNotExist)) {
				return err
			}
			for i, f := range files {
				path, err := filepath.Abs(f)
				if err != nil {
					return usage(err)
				}
				files[i] = path
			}
			return hooks.Check(c.Context(), hooks.Config{
				Scripts: files, Timeout: s.Hooks.Timeout, Config: s.Hooks.Config, Self: []string{a.env.Self, hookHost},
			}, a.env.Stdout)
		},
	}))
	return c
}

func (a *app) serveHooks() *cobra.Command {
	return &cobra.Command{
		Use:    hookHost,
		Hidden: true,
		Args:   cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			return hooks.ServeChild(a.env.Stdin, a.env.Stdout)
		},
	}
}
