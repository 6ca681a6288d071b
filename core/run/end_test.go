package run_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/remora-backup/remora/core/code"
	"github.com/remora-backup/remora/core/run"
	"github.com/remora-backup/remora/core/run/runtest"
)

// leaves starts a run of one phase and leaves it in its clean-up, which listens to nobody.
func leaves(t *testing.T, do func(context.Context, *run.Task) error, why error, opts run.Options) error {
	t.Helper()
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	stuck, free := make(chan struct{}), make(chan struct{})
	p := plan(runtest.Phase("one", do).Cleaning(func(_ context.Context, task *run.Task, _ error) error {
		close(stuck)
		<-free
		task.Note("nobody hears this")
		return errors.New("nor this")
	}))
	p.Left = func() run.Left { return run.Left{Text: "A lock is left.", Names: []string{"lock"}} }
	x := run.Start(ctx, p, opts)
	<-stuck
	cancel(why)
	err := x.Leave(time.Minute, "look there")
	close(free)
	if late := x.Wait(); !errors.Is(late, err) {
		t.Errorf("later the answer is %v, it was %v", late, err)
	}
	return err
}

func TestARunThatIsLeftHasItsEnd(t *testing.T) {
	var seen tape
	var meter run.Meter
	err := leaves(t, func(context.Context, *run.Task) error { return code.New(code.NoSpace, "full") },
		&run.Interrupted{By: "SIGINT", Code: code.SIGINT}, run.Options{Readers: []run.Reader{&seen}, Meter: &meter})
	if code.Of(err) != code.NoSpace {
		t.Errorf("got %v, want what came first", err)
	}
	same(t, seen.told(), []string{
		"start Starting backup process.", "phase one<", "error 18 full", "error 130 operation has been interrupted (SIGINT)",
		"note A lock is left.", "phase failed<one",
		`end error 18 "Operation aborted" ["full" "operation has been interrupted (SIGINT)" "the clean-up was left"]`,
	})
	end := seen.Last()
	if end.Hint != "look there" || end.InterruptedBy != "SIGINT" || !slices.Equal(end.Leftovers, []string{"lock"}) {
		t.Errorf("got %+v, want the hint, who interrupted and what is left", end)
	}
	if got := meter.Read().State; got != run.Failed {
		t.Errorf("the meter says %q", got)
	}
}

// Nobody who leaves a run without having interrupted it hears of a success.
func TestARunThatIsLeftUnaskedIsCancelled(t *testing.T) {
	var seen tape
	err := leaves(t, func(_ context.Context, task *run.Task) error { task.Fail(errors.New("x")); return nil }, nil, run.Options{Readers: []run.Reader{&seen}})
	if err == nil || code.Of(err) == code.Cancelled {
		t.Errorf("got %v, want the failure", err)
	}
	block, free := make(chan struct{}), make(chan struct{})
	x := run.Start(t.Context(), plan(runtest.Phase("one", func(context.Context, *run.Task) error { close(block); <-free; return nil })), run.Options{})
	<-block
	err = x.Leave(time.Minute, "")
	close(free)
	if code.Of(err) != code.Cancelled {
		t.Errorf("got %v (code %d), want 25", err, code.Of(err))
	}
	if late := x.Wait(); code.Of(late) != code.Cancelled {
		t.Errorf("later the answer is %v, it was %v", late, err)
	}
}

func TestARunThatIsLeftAfterItsCommitIsComplete(t *testing.T) {
	var seen tape
	err := leaves(t, func(_ context.Context, task *run.Task) error { task.Commit(); return nil },
		&run.Interrupted{By: "SIGINT", Code: code.SIGINT}, run.Options{Readers: []run.Reader{&seen}})
	if err != nil {
		t.Errorf("got %v, want success", err)
	}
	same(t, seen.told(run.KindNote, run.KindEnd), []string{
		"note the interruption arrived after completion and changed nothing", "note The clean-up was left; the next operation does it.",
		`end complete_with_warnings 0 "Backup completed" []`,
	})
}

func TestLeavingWhatHasEndedChangesNothing(t *testing.T) {
	var seen tape
	x := run.Start(t.Context(), plan(runtest.Phase("one", nil)), run.Options{Readers: []run.Reader{&seen}})
	if err := x.Wait(); err != nil {
		t.Fatal(err)
	}
	if err := x.Leave(time.Minute, "look there"); err != nil {
		t.Errorf("got %v", err)
	}
	if got := seen.told(run.KindEnd); len(got) != 1 || !strings.Contains(got[0], "end complete 0") {
		t.Errorf("got %q, want one end", got)
	}
}
