package cmd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/remora-backup/remora/core/code"
	"github.com/remora-backup/remora/core/operate"
	"github.com/remora-backup/remora/core/run"
	"github.com/remora-backup/remora/core/run/runtest"
)

// operate runs a plan made of one phase and a clean-up as the command line would.
func (h *home) operate(t *testing.T, f flags, work func(context.Context, *run.Task) error, cleanup func(context.Context, *run.Task, error) error) error {
	t.Helper()
	env := h.env(t)
	a := &app{env: env}
	return a.operate(t.Context(), job{kind: "backup", first: "copying", flags: f, plan: func(_ context.Context, _ *wiring, d *operate.Draft) (run.Plan, error) {
		step := runtest.Phase("copying", work)
		if cleanup != nil {
			step = step.Cleaning(cleanup)
		}
		return runtest.Plan("backup", d.Row.ID, step), nil
	}})
}

// without drops the parts of the start line that differ from run to run.
func without(text string) string {
	var out []string
	for l := range strings.Lines(text) {
		if i := strings.Index(l, " (id="); i > 0 {
			l = l[:i] + "\n"
		}
		out = append(out, l)
	}
	return strings.Join(out, "")
}

func TestLinesOfARun(t *testing.T) {
	h := newHome(t, "")
	work := func(_ context.Context, task *run.Task) error {
		task.Databases([]string{"a`b", "c"})
		for p := range 101 {
			task.Progress(run.Progress{Percent: &p})
		}
		task.Note("a note\x1b[2J\nof two lines")
		task.Warn("careful")
		return nil
	}
	if err := h.operate(t, flags{}, work, nil); err != nil {
		t.Fatal(err)
	}
	want := `[Note]    Backup: Starting backup process.
[Note]    Backup: copying ...
[Note]    Backup: Backing up database(s) ` + "`a``b`,`c`" + ` (2)
[Note]    Backup: copying 10%
[Note]    Backup: copying 20%
[Note]    Backup: copying 30%
[Note]    Backup: copying 40%
[Note]    Backup: copying 50%
[Note]    Backup: copying 60%
[Note]    Backup: copying 70%
[Note]    Backup: copying 80%
[Note]    Backup: copying 90%
[Note]    Backup: copying 100%
[Note]    Backup: a note?[2J | of two lines
[Warning] Backup: careful
`
	got := without(h.out.String())
	if !strings.HasPrefix(got, want) || !strings.HasSuffix(got, "\n[Note]    Backup: Backup completed.\n") {
		t.Errorf("got\n%s\nwant it to begin with\n%s", got, want)
	}
	if h.err.String() != "" {
		t.Errorf("stderr: got %q, want nothing", h.err)
	}
}

func TestLinesOfAFailure(t *testing.T) {
	h := newHome(t, "")
	err := h.operate(t, flags{}, func(context.Context, *run.Task) error { return code.Hint(code.NoSpace, "buy a disk", "disk full") },
		func(_ context.Context, task *run.Task, _ error) error {
			task.Note("Nothing is left.")
			return errors.New("x")
		})
	if code.Of(err) != code.NoSpace {
		t.Errorf("got %v (code %d), want 18", err, code.Of(err))
	}
	want := `[Note]    Backup: Starting backup process.
[Note]    Backup: copying ...
[ERROR]   Backup: 18 disk full
[Note]    Backup: Nothing is left.
[ERROR]   Backup: 1 clean-up: x
[Warning] Backup: Operation aborted.
`
	if got := without(h.out.String()); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if got, want := h.err.String(), "error: disk full\nhint: buy a disk\n"; got != want {
		t.Errorf("stderr: got %q, want %q", got, want)
	}
}

func TestFirstSignalCancels(t *testing.T) {
	for sig, want := range map[os.Signal]struct {
		code code.Code
		name string
	}{syscall.SIGINT: {130, "SIGINT"}, syscall.SIGTERM: {143, "SIGTERM"}, syscall.SIGHUP: {129, "SIGHUP"}} {
		h := newHome(t, "")
		err := h.operate(t, flags{}, func(ctx context.Context, _ *run.Task) error {
			h.signals <- sig
			<-ctx.Done()
			return ctx.Err()
		}, nil)
		if code.Of(err) != want.code {
			t.Errorf("%v: got %v (code %d), want %d", sig, err, code.Of(err), want.code)
		}
		out := h.out.String()
		line := "[Note]    Backup: Operation has been interrupted. (" + want.name + ")\n"
		if strings.Count(out, line) != 1 || !strings.Contains(out, "Interrupted, cleaning up") || !strings.HasSuffix(out, "[Warning] Backup: Operation aborted.\n") {
			t.Errorf("%v: got\n%s\nwant %q once, an answer at once, and the warning last", sig, out, line)
		}
		all := h.history(t)
		if len(all) != 1 || all[0].State != run.Cancelled || all[0].InterruptedBy != want.name || all[0].Code != int(want.code) {
			t.Errorf("%v: got %+v, want it cancelled by %s", sig, all, want.name)
		}
	}
}

// press gives a signal that cannot be taken for an echo of the one before.
func (h *home) press(sig os.Signal) {
	h.signals <- sig
}

func TestSecondSignalLeavesTheCleanUpAndTheThirdIsTheDefault(t *testing.T) {
	h := newHome(t, "")
	work := func(ctx context.Context, _ *run.Task) error { h.press(syscall.SIGINT); <-ctx.Done(); return ctx.Err() }
	err := h.operate(t, flags{}, work, func(ctx context.Context, _ *run.Task, _ error) error {
		for ctx.Err() == nil { // an echo is dropped, so press until it counts
			select {
			case h.signals <- syscall.SIGTERM:
			case <-ctx.Done():
			}
		}
		for {
			select {
			case h.signals <- syscall.SIGINT:
			case <-h.defaulted:
				return ctx.Err()
			}
		}
	})
	if code.Of(err) != code.SIGINT {
		t.Errorf("got %v (code %d), want 130", err, code.Of(err))
	}
	all := h.history(t)
	if len(all) != 1 || all[0].State != run.Cancelled {
		t.Errorf("got %+v, want the cancelled run in the history", all)
	}
}

// refuse is a stream whose reader has gone.
type refuse struct{}

func (refuse) Write([]byte) (int, error) { return 0, syscall.EPIPE }

func TestAReaderThatGoesAwayChangesNoAnswer(t *testing.T) {
	h := newHome(t, "")
	id := h.backup(t)
	for _, args := range [][]string{{"list", "--json"}, {"show", id, "--json"}, {"version", "--json"}} {
		env := h.env(t, args...)
		env.Stdout = refuse{}
		if got := Main(t.Context(), env); got != 0 {
			t.Errorf("%v: got code %d, want 0: %s", args, got, h.err)
		}
	}
}

func TestABarPassesLinesThrough(t *testing.T) {
	var out buffer
	meter := new(run.Meter)
	b := newBar(&out, meter)
	if _, err := b.Write([]byte("one\n")); err != nil {
		t.Fatal(err)
	}
	b.stop()
	b.stop()
	if _, err := b.Write([]byte("two\n")); err != nil {
		t.Fatal(err)
	}
	if got := out.String(); !strings.Contains(got, "one\n") || !strings.HasSuffix(got, "two\n") {
		t.Errorf("got %q, want both lines", got)
	}
}

// The bar shows one moment: never the fill of one phase beside the name of the next, and
// nothing once the operation is over.
func TestTheBarShowsOneMoment(t *testing.T) {
	h := newHome(t, "")
	env := h.env(t)
	env.Terminal = true
	full := 100
	work := func(ctx context.Context, name string, task *run.Task) error {
		if strings.ContainsAny(name, "024") {
			task.Progress(run.Progress{Percent: &full})
		}
		for !strings.Contains(h.out.String(), name+" 0s") { // until it was drawn
			if err := context.Cause(ctx); err != nil {
				return err
			}
			time.Sleep(time.Millisecond)
		}
		return nil
	}
	var steps []runtest.Step
	for i := range 6 {
		name := fmt.Sprintf("phase_%d", i)
		steps = append(steps, runtest.Phase(name, func(ctx context.Context, t *run.Task) error { return work(ctx, name, t) }))
	}
	a := &app{env: env}
	err := a.operate(t.Context(), job{kind: "backup", first: steps[0].Name, plan: func(_ context.Context, _ *wiring, d *operate.Draft) (run.Plan, error) {
		return runtest.Plan("backup", d.Row.ID, steps...), nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	for l := range strings.Lines(h.out.String()) {
		if full, said := strings.Contains(l, "===="), strings.Contains(l, "100%"); strings.Contains(l, "phase_") && full != said {
			t.Errorf("got %q, want what is said to be what is drawn", l)
		}
		if strings.Contains(l, "completed 0s") {
			t.Errorf("got %q, the end is no phase to wait for", l)
		}
	}
}
