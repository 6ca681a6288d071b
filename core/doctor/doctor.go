// Package doctor finds out what can be known before the first backup runs by itself.
//
// Its checks are a list of names and functions. They change nothing in the server, and nothing in
// the storage but one small object that is removed again.
package doctor

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/remora-backup/remora/core/code"
	"github.com/remora-backup/remora/core/config"
	"github.com/remora-backup/remora/core/datadir"
	"github.com/remora-backup/remora/core/plug"
	"github.com/remora-backup/remora/core/server"
)

// State is the answer of a check.
type State string

// The answers. Skipped is a check that another one's failure leaves nothing to look at.
const (
	OK      State = "ok"
	Warn    State = "warn"
	Fail    State = "fail"
	Skipped State = "skip"
)

// Finding is what a check found out.
type Finding struct {
	Check  string `json:"check"`
	State  State  `json:"state"`
	Text   string `json:"text"`
	Remedy string `json:"remedy,omitempty"`
	Code   int    `json:"code,omitempty"` // of a failure
}

// Means is what the checks reach the rest of the program with.
type Means struct {
	Settings config.Settings
	// Connect connects to the server; the caller of Examine closes what it gave.
	Connect func(context.Context) (*server.Server, error)
	// Storage starts the storage's plugin, Plugins all others and the scripts, whose names it returns.
	Storage func(context.Context) (plug.Storage, error)
	Plugins func(context.Context) (string, error)
	// Path is where the storage keeps its objects if it is a directory of this host, else "".
	Path string
}

// patient is what the checks have found out so far.
type patient struct {
	Means
	server  *server.Server
	facts   server.Facts
	dir     *datadir.Dir
	data    int64 // bytes of the files of tablespaces
	storage plug.Storage
}

// check is one question. It answers with what is well, or with an error: of worry if that only
// deserves a warning, of needs if another check must be well first.
type check struct {
	name string
	ask  func(context.Context, *patient) (string, error)
}

// checks are in the order in which they build on one another.
func checks() []check {
	return []check{
		{"files", files}, {"state directory", stateDir}, {"schedule", whenDue},
		{"server", reach}, {"privileges", privileges}, {"server settings", serverSettings}, {"role", role},
		{"data directory", dataDir}, {"tablespaces", tablespaces}, {"engines", engines},
		{"binary log", binlog}, {"redo log", redo},
		{"plugins", plugins}, {"storage", storage}, {"storage room", room}, {"clock", clock},
		{"mysqld", restoringMysqld}, {"open files", openFiles}, {"memory and CPU", memory},
	}
}

// within bounds each check.
const within = 2 * time.Minute

// Examine carries out all checks and yields what each found, when it is known.
func Examine(ctx context.Context, m Means) iter.Seq[Finding] {
	return func(yield func(Finding) bool) {
		p := &patient{Means: m}
		defer func() {
			if p.server != nil {
				p.server.Close()
			}
		}()
		for _, c := range checks() {
			ctx, cancel := context.WithTimeoutCause(ctx, within, fmt.Errorf("no answer within %v", within))
			text, err := c.ask(ctx, p)
			cancel()
			if !yield(finding(c.name, text, err)) {
				return
			}
		}
	}
}

func finding(name, text string, err error) Finding {
	f := Finding{Check: name, State: OK, Text: text, Remedy: code.HintOf(err)}
	var w *worry
	var n needs
	switch {
	case err == nil:
	case errors.As(err, &n):
		f.State, f.Text = Skipped, "needs: "+string(n)
	case errors.As(err, &w):
		f.State, f.Text, f.Remedy = Warn, w.text, w.remedy
	default:
		f.State, f.Text, f.Code = Fail, err.Error(), int(code.Of(err))
	}
	return f
}

// worry is what works and may not be what was meant.
type worry struct{ text, remedy string }

func (w *worry) Error() string { return w.text }

func worried(remedy, format string, args ...any) error {
	return &worry{fmt.Sprintf(format, args...), remedy}
}

// needs is the name of the check that must be well first.
type needs string

func (n needs) Error() string { return string(n) }

// size says a number of bytes.
func size(n int64) string {
	switch {
	case n >= 10<<30:
		return fmt.Sprintf("%d GiB", n>>30)
	case n >= 10<<20:
		return fmt.Sprintf("%d MiB", n>>20)
	}
	return fmt.Sprintf("%d KiB", n>>10)
}

// long says a duration of hours or days.
func long(d time.Duration) string {
	if d >= 48*time.Hour {
		return fmt.Sprintf("%.3g days", d.Hours()/24)
	}
	return fmt.Sprintf("%.3g hours", d.Hours())
}
