// Package cmd is the command line.
//
// Main reads the arguments and returns the exit code; each command has a file of its
// own. Whatever belongs to the process comes in by Env, so that tests run all of it.
package cmd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"syscall"

	"github.com/hashicorp/go-hclog"
	"github.com/spf13/cobra"

	"github.com/remora-backup/remora/core/code"
	"github.com/remora-backup/remora/core/config"
	"github.com/remora-backup/remora/core/nearest"
)

// Env is what a process gives to the command line.
type Env struct {
	Args           []string // without the program's name
	Self           string   // the executable, which also serves the built-in plugins
	Getenv         func(string) string
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	Terminal       bool             // Stdout is one
	LogTerminal    bool             // Stderr is one
	Signals        <-chan os.Signal // SIGINT, SIGTERM, SIGHUP
	Default        func(os.Signal)  // gives a signal its default action
}

// app is one run of the command line.
type app struct {
	env    Env
	config string // --config
	ran    bool   // a command was found and its arguments were right
	stop   func() // ends the watch for signals
}

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

// reported is an error that the person has been told already.
type reported struct{ error }

func (r *reported) Unwrap() error { return r.error }

// printError indents the lines of a text that has several, as the words of a server.
func printError(w io.Writer, text, hint string) {
	all := strings.Split(text, "\n")
	for i := range all {
		all[i] = printable(all[i])
	}
	fmt.Fprintf(w, "error: %s\n", strings.Join(all, "\n  "))
	printHint(w, hint)
}

func printHint(w io.Writer, hint string) {
	if hint != "" {
		fmt.Fprintf(w, "hint: %s\n", hint)
	}
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
	root.AddCommand(a.backup(), a.restore(), a.export(), a.prepare(), a.list(), a.show(), a.verify(), a.history(), a.status(), a.cancel(), a.plugin(), a.hook(), a.dump(), a.version())
	root.AddCommand(a.serveHooks(), a.debugClient())
	refuseTwice(root)
	return root
}

const exitCodes = `Exit codes:
    0  done                                   17  storage or plugin failed
    1  not classified                         18  no space
   10  command line or configuration          19  stored bytes damaged, or wrong key
   11  another operation is running           20  version not supported
   12  credentials or privilege missing       21  restore target not empty or in use
   13  server not reachable or gone           22  plugin refused
   14  backup lock not obtained or lost       23  vetoed by a hook
   15  redo overwritten before it was copied  24  state written by a newer remora
   16  corrupt page in the source             25  cancelled without a signal
  129, 130, 143  ended by SIGHUP, SIGINT, SIGTERM`

// configured adds --config to a command that reads the configuration.
func (a *app) configured(c *cobra.Command) *cobra.Command {
	c.Flags().StringVar(&a.config, "config", "", "configuration `file`")
	if c.Long == "" {
		c.Long = c.Short + "."
	}
	c.Long += "\n\n" + exitCodes
	return c
}

func (a *app) settings() (config.Settings, error) {
	return config.Load(config.Find(a.config, a.env.Getenv))
}

// logger writes to w as the settings say.
func logger(l config.Log, w io.Writer) hclog.Logger {
	return hclog.New(&hclog.LoggerOptions{
		Name:       "remora",
		Level:      hclog.LevelFromString(l.Level),
		Output:     w,
		JSONFormat: l.Format == "json",
	})
}

// steadfast is a stream whose reader may go away: what cannot be written any more is
// dropped, and the work goes on.
type steadfast struct {
	w io.Writer

	mu   sync.Mutex
	gone error
}

// lost is why a part could not be written, nil if only its reader had enough.
func (s *steadfast) lost() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.gone == nil || errors.Is(s.gone, syscall.EPIPE) {
		return nil
	}
	return fmt.Errorf("write the output: %w", s.gone)
}

func (s *steadfast) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.gone == nil {
		_, s.gone = s.w.Write(p)
	}
	return len(p), nil
}
