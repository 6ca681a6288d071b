// Command remora backs up and restores MySQL.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/term"

	"github.com/remora-backup/remora/cmd"
)

// main alone touches what belongs to the process. A closed pipe must not end a backup,
// so SIGPIPE is caught; it is not ignored, as children would inherit that.
func main() {
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	stops := make(chan os.Signal, 8)
	signal.Notify(stops, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	self, err := os.Executable()
	if err != nil {
		self = os.Args[0]
	}
	os.Exit(cmd.Main(context.Background(), cmd.Env{
		Args:        os.Args[1:],
		Self:        self,
		Getenv:      os.Getenv,
		Stdin:       os.Stdin,
		Stdout:      os.Stdout,
		Stderr:      os.Stderr,
		Terminal:    term.IsTerminal(int(os.Stdout.Fd())),
		LogTerminal: term.IsTerminal(int(os.Stderr.Fd())),
		Signals:     stops,
		Default:     deliver,
	}))
}

// deliver gives a signal its default action, which ends the process.
func deliver(s os.Signal) {
	signal.Reset(s)
	if number, ok := s.(syscall.Signal); ok {
		_ = syscall.Kill(os.Getpid(), number)
	}
}
