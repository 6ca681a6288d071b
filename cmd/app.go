package cmd

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"syscall"

	"github.com/hashicorp/go-hclog"
	"github.com/spf13/cobra"

	"github.com/remora-backup/remora/core/config"
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
