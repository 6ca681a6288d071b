// Package cmd is the command line.
//
// Main reads the arguments and returns the exit code; each command has a file of its
// own. Whatever belongs to the process comes in by Env, so that tests run all of it.
//
//	cmd.go     which commands there are     (knows all of them)
//	app.go     what they have in common     (knows none)
//	operate.go the commands that carry out an operation: wires package core/operate
package cmd

import (
	"context"
	"errors"
	"strings"

	"github.com/spf13/cobra"

	"github.com/remora-backup/remora/core/code"
	"github.com/remora-backup/remora/core/config"
	"github.com/remora-backup/remora/core/nearest"
)

// Main carries out the command that env.Args name and returns the exit code.
func Main(ctx context.Context, env Env) int {
	out := &steadfast{w: env.Stdout}
	env.Stdout, env.Stderr = out, &steadfast{w: env.Stderr}
	a := &app{env: env, stop: func() {}}
	root := a.root()
	root.SetArgs(env.Args)
	c, err := root.ExecuteContextC(ctx)
	a.stop()
	err = interruption(c.Context(), err)
	if err != nil && !a.ran {
		err = misuse(root, err)
	}
	if err == nil && c.Annotations[ownSignals] == "" {
		err = out.lost() // an operation's answer is another one
	}
	var told *reported
	if err != nil && !errors.As(err, &told) {
		printError(env.Stderr, err.Error(), code.HintOf(err))
	}
	return int(code.Of(err))
}

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "remora",
		Short: "Hot physical backups of MySQL",
		Long: "Remora takes hot physical backups of MySQL 8.0.30 and newer and restores them.\n\n" +
			"The configuration is read from --config, else $REMORA_CONFIG, else " + config.DefaultPath + ".\n\n" + exitCodes,
		SilenceErrors:      true,
		SilenceUsage:       true,
		DisableSuggestions: true,
		PersistentPreRun: func(c *cobra.Command, _ []string) {
			a.ran = true
			a.untilSignal(c)
		},
	}
	root.Version = thisBuild().String() // as everybody tries first: --version
	root.SetVersionTemplate("{{.Version}}\n")
	root.CompletionOptions.HiddenDefaultCmd = true
	root.SetOut(a.env.Stdout)
	root.SetErr(a.env.Stderr)
	root.SetIn(a.env.Stdin)
	root.AddCommand(
		a.backup(), a.restore(), a.export(), a.prepare(),
		a.list(), a.show(), a.verify(), a.delete(),
		a.init(), a.doctor(), a.adopt(), a.history(), a.status(), a.cancel(), a.serve(), a.yield(),
		a.plugin(), a.hook(), a.token(), a.dump(), a.version(),
	)
	root.AddCommand(a.serveHooks(), a.debugClient())
	refuseTwice(root)
	return root
}

// misuse makes an error of the argument parser one with a code and a remedy.
func misuse(root *cobra.Command, err error) error {
	hint := "remora --help"
	text, _, _ := strings.Cut(err.Error(), "\n")
	if typed, ok := strings.CutPrefix(text, "unknown command "); ok {
		var known []string
		for _, c := range root.Commands() {
			if !c.Hidden {
				known = append(known, c.Name())
			}
		}
		if word := nearest.Word(strings.Trim(strings.Fields(typed)[0], `"`), known); word != "" {
			hint = "did you mean: remora " + word
		}
	}
	return code.Hint(code.Usage, hint, "%s", text)
}
