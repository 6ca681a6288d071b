package run_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/remora-backup/remora/core/code"
	"github.com/remora-backup/remora/core/run"
	"github.com/remora-backup/remora/core/run/runtest"
)

// tape is a Reader that remembers, and renders.
type tape struct{ runtest.Tape }

// told renders the events of the wanted kinds, one string each.
func (t *tape) told(kinds ...run.Kind) []string {
	var out []string
	for _, e := range t.Events(kinds...) {
		out = append(out, render(e))
	}
	return out
}

func render(e run.Event) string {
	switch e.Kind {
	case run.KindPhase:
		return fmt.Sprintf("phase %s<%s", e.Phase, e.Previous)
	case run.KindProgress:
		if e.Percent == nil {
			return "progress nil"
		}
		return fmt.Sprintf("progress %d", *e.Percent)
	case run.KindError:
		return fmt.Sprintf("error %d %s", e.Code, e.Error)
	case run.KindStall:
		return fmt.Sprintf("stall %v", e.IdleSeconds)
	case run.KindEnd:
		return fmt.Sprintf("end %s %d %q %q", e.State, e.Code, e.Message, e.Errors)
	}
	return fmt.Sprintf("%s %s", e.Kind, e.Message)
}

func same(t *testing.T, got, want []string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("got\n\t%s\nwant\n\t%s", strings.Join(got, "\n\t"), strings.Join(want, "\n\t"))
	}
}

func plan(steps ...runtest.Step) run.Plan { return runtest.Plan("backup", "1", steps...) }

var sigint = &run.Interrupted{By: "SIGINT", Code: code.SIGINT}

const interrupted = "operation has been interrupted (SIGINT)"

func TestEveryTransitionInOrder(t *testing.T) {
	var a, b tape
	err := run.Do(t.Context(), plan(runtest.Phase("one", nil), runtest.Phase("two", nil)), run.Options{Readers: []run.Reader{&a, &b}})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"start Starting backup process.", "phase one<", "phase two<one", "phase completed<two",
		`end complete 0 "Backup completed" []`}
	same(t, a.told(), want)
	same(t, b.told(), want)
	for i, e := range a.Events() {
		if e.Seq != int64(i+1) {
			t.Errorf("event %d has seq %d", i+1, e.Seq)
		}
	}
}

// The first error is the answer, whatever follows it.
func TestFirstErrorRules(t *testing.T) {
	boom, second := code.New(code.Storage, "boom"), errors.New("second")
	tests := []struct {
		name    string
		do      func(cancel func(), t *run.Task) error
		cleanup func(cancel func()) error
		code    code.Code
		want    []string
	}{
		{"error", func(func(), *run.Task) error { return boom }, nil, code.Storage,
			[]string{"error 17 boom", `end error 17 "Operation aborted" ["boom"]`}},
		{"clean-up error is added", func(func(), *run.Task) error { return boom }, func(func()) error { return second }, code.Storage,
			[]string{"error 17 boom", "error 1 clean-up: second", `end error 17 "Operation aborted" ["boom" "clean-up: second"]`}},
		{"interruption pending when a step fails", func(c func(), _ *run.Task) error { c(); return boom }, nil, code.SIGINT,
			[]string{"error 130 " + interrupted, "note stopping led to: boom", `end cancelled 130 "Operation aborted" ["` + interrupted + `"]`}},
		{"interruption pending when a step succeeds", func(c func(), _ *run.Task) error { c(); return nil }, nil, code.SIGINT,
			[]string{"error 130 " + interrupted, `end cancelled 130 "Operation aborted" ["` + interrupted + `"]`}},
		{"the step says only that it was cancelled", func(c func(), _ *run.Task) error { c(); return fmt.Errorf("read: %w", context.Canceled) }, nil, code.SIGINT,
			[]string{"error 130 " + interrupted, `end cancelled 130 "Operation aborted" ["` + interrupted + `"]`}},
		{"interruption, then clean-up error", func(c func(), _ *run.Task) error { c(); return sigint }, func(func()) error { return second }, code.SIGINT,
			[]string{"error 130 " + interrupted, "error 1 clean-up: second", `end cancelled 130 "Operation aborted" ["` + interrupted + `" "clean-up: second"]`}},
		{"error, then interruption while unwinding", func(func(), *run.Task) error { return boom }, func(c func()) error { c(); return nil }, code.Storage,
			[]string{"error 17 boom", "error 130 " + interrupted, `end error 17 "Operation aborted" ["boom" "` + interrupted + `"]`}},
		{"interruption after commit", func(c func(), t *run.Task) error { t.Commit(); c(); return nil }, nil, code.Done,
			[]string{"note the interruption arrived after completion and changed nothing", `end complete 0 "Backup completed" []`}},
		{"cancelled step after commit", func(c func(), t *run.Task) error { t.Commit(); c(); return sigint }, nil, code.Done,
			[]string{"note the interruption arrived after completion and changed nothing", `end complete 0 "Backup completed" []`}},
		{"error after commit", func(_ func(), t *run.Task) error { t.Commit(); return boom }, nil, code.Done,
			[]string{"warning after completion: boom", `end complete_with_warnings 0 "Backup completed" []`}},
		{"clean-up error after success", func(func(), *run.Task) error { return nil }, func(func()) error { return second }, code.Done,
			[]string{"warning clean-up: second", `end complete_with_warnings 0 "Backup completed" []`}},
		{"interruption while cleaning up after success", func(func(), *run.Task) error { return nil }, func(c func()) error { c(); return nil }, code.Done,
			[]string{"note the interruption arrived after completion and changed nothing", `end complete 0 "Backup completed" []`}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			ctx, cancel := context.WithCancelCause(t.Context())
			stop := func() { cancel(sigint) }
			var seen tape
			work := runtest.Phase("work", func(_ context.Context, task *run.Task) error { return tt.do(stop, task) })
			if tt.cleanup != nil {
				work = work.Cleaning(func(context.Context, *run.Task, error) error { return tt.cleanup(stop) })
			}
			err := run.Do(ctx, plan(work), run.Options{Readers: []run.Reader{&seen}})
			if got := code.Of(err); got != tt.code {
				t.Errorf("answer %v has code %d, want %d", err, got, tt.code)
			}
			same(t, seen.told(run.KindNote, run.KindWarning, run.KindError, run.KindEnd), tt.want)
		})
	}
}

// A failure of our own that cancels the run (the lock is lost) is the answer even if
// the step did not notice.
func TestCancelledByOwnFailure(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	var seen tape
	err := run.Do(ctx, plan(runtest.Phase("work", func(context.Context, *run.Task) error {
		cancel(code.New(code.Lock, "lock lost"))
		return nil
	}), runtest.Phase("never", nil)), run.Options{Readers: []run.Reader{&seen}})
	if got := code.Of(err); got != code.Lock {
		t.Errorf("answer %v has code %d, want %d", err, got, code.Lock)
	}
	same(t, seen.told(run.KindPhase), []string{"phase work<", "phase failed<work"})
}

func TestPhasesAfterCommitAreFinished(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	finished := false
	err := run.Do(ctx, plan(
		runtest.Phase("store", func(_ context.Context, t *run.Task) error { t.Commit(); cancel(sigint); return nil }),
		runtest.Phase("tidy", func(ctx context.Context, _ *run.Task) error { finished = true; return ctx.Err() }),
	), run.Options{})
	if err != nil || !finished {
		t.Errorf("got %v, finished %v; want nil and the last phase carried out", err, finished)
	}
}

func TestGateIsAskedBeforeEachUnlockedPhase(t *testing.T) {
	var seen tape
	var asked []string
	gate := func(_ context.Context, e run.Event) error {
		asked = append(asked, fmt.Sprintf("%s<%s seq=%d quiet=%v", e.Phase, e.Previous, e.Seq, e.Quiet))
		return nil
	}
	locking, sync := runtest.Phase("locking", nil), runtest.Phase("syncing", nil)
	locking.Locks, sync.Locked = true, true
	err := run.Do(t.Context(), plan(runtest.Phase("copy", nil), locking, sync, runtest.Phase("store", nil)), run.Options{Gate: gate, Readers: []run.Reader{&seen}})
	if err != nil {
		t.Fatal(err)
	}
	same(t, asked, []string{"copy< seq=1 quiet=false", "locking<copy seq=2 quiet=true", "store<syncing seq=4 quiet=false"})
	var quiet []string
	for _, e := range seen.Events() {
		if e.Quiet {
			quiet = append(quiet, e.Phase)
		}
	}
	same(t, quiet, []string{"locking", "syncing"})
}

func TestVetoC27(t *testing.T) {
	var seen tape
	entered := false
	err := run.Do(t.Context(), plan(runtest.Phase("copy", nil), runtest.Phase("locking", func(context.Context, *run.Task) error { entered = true; return nil })), run.Options{
		Readers: []run.Reader{&seen},
		Gate: func(_ context.Context, e run.Event) error {
			if e.Phase == "locking" {
				return errors.New("not now")
			}
			return nil
		},
	})
	if code.Of(err) != code.Veto || entered {
		t.Errorf("got %v (code %d), entered %v; want a veto before the phase", err, code.Of(err), entered)
	}
	same(t, seen.told(run.KindPhase, run.KindEnd), []string{"phase copy<", "phase failed<copy",
		`end error 23 "Operation aborted" ["enter phase locking: not now"]`})
}

func TestInterruptedGate(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	entered := false
	err := run.Do(ctx, plan(runtest.Phase("copy", func(context.Context, *run.Task) error { entered = true; return nil })), run.Options{
		Gate: func(context.Context, run.Event) error { cancel(sigint); return nil },
	})
	if code.Of(err) != code.SIGINT || entered {
		t.Errorf("got %v, entered %v; want the interruption before the phase", err, entered)
	}
}

func TestPanicsDoNotSkipTheCleanup(t *testing.T) {
	cleaned := false
	p := plan(runtest.Phase("copy", func(context.Context, *run.Task) error { panic("bug") }).Cleaning(func(_ context.Context, _ *run.Task, failed error) error {
		cleaned = failed != nil
		panic("another")
	}))
	var seen tape
	err := run.Do(t.Context(), p, run.Options{Readers: []run.Reader{&seen, run.ReaderFunc(func(context.Context, run.Event) { panic("reader") })}})
	if err == nil || !strings.HasPrefix(err.Error(), "panic: bug") || !cleaned {
		t.Errorf("got %v, cleaned %v; want the first panic as error and a clean-up that knows it", err, cleaned)
	}
	if last := seen.Last(); last.Kind != run.KindEnd || len(last.Errors) != 2 {
		t.Errorf("last event is %s, want an end with both panics", render(last))
	}
}

func TestCleanupContextOutlivesTheInterruption(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	var alive, bounded bool
	p := plan(runtest.Phase("copy", func(context.Context, *run.Task) error { cancel(sigint); return nil }).Cleaning(func(ctx context.Context, _ *run.Task, _ error) error {
		_, bounded = ctx.Deadline()
		alive = ctx.Err() == nil
		return nil
	}))
	_ = run.Do(ctx, p, run.Options{})
	if !alive || !bounded {
		t.Errorf("clean-up context alive %v, bounded %v; want both", alive, bounded)
	}
}

func TestHurryEndsTheCleanup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hurry := make(chan struct{})
		p := plan(runtest.Phase("copy", func(context.Context, *run.Task) error { return errors.New("boom") }).Cleaning(
			func(ctx context.Context, _ *run.Task, _ error) error { close(hurry); <-ctx.Done(); return nil }))
		start := time.Now()
		err := run.Do(t.Context(), p, run.Options{Hurry: hurry})
		if err == nil || time.Since(start) != 0 {
			t.Errorf("got %v after %v, want the error at once", err, time.Since(start))
		}
	})
}

func TestNothingIsToldAfterTheEnd(t *testing.T) {
	var seen tape
	var late *run.Task
	straggler := run.ReaderFunc(func(_ context.Context, e run.Event) {
		if e.Kind == run.KindEnd {
			late.Warn("too late")
		}
	})
	p := plan(runtest.Phase("one", func(_ context.Context, task *run.Task) error { late = task; return nil }))
	if err := run.Do(t.Context(), p, run.Options{Readers: []run.Reader{straggler, &seen}}); err != nil {
		t.Fatal(err)
	}
	if got := seen.told(run.KindWarning); len(got) != 0 {
		t.Errorf("told %q after the end", got)
	}
}

func TestEndCarriesTheResultBesideItsOwnFields(t *testing.T) {
	var seen tape
	p := runtest.Result(plan(runtest.Phase("one", nil)), map[string]any{"lock_ms": 12.5})
	if err := run.Do(t.Context(), p, run.Options{Readers: []run.Reader{&seen}}); err != nil {
		t.Fatal(err)
	}
	line, err := json.Marshal(seen.Last())
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := json.Unmarshal(line, &got); err != nil {
		t.Fatal(err)
	}
	if got["event"] != "end" || got["state"] != "complete" || got["lock_ms"] != 12.5 {
		t.Errorf("end is %s", line)
	}
}

// What works beside the phases fails first; that an interruption arrives before the phase
// has noticed changes nothing about it (A18).
func TestFailOutranksALaterInterruptionA18(t *testing.T) {
	var seen tape
	ctx, cancel := context.WithCancelCause(t.Context())
	lost := code.New(code.Lock, "lock lost")
	p := plan(runtest.Phase("locked", func(ctx context.Context, task *run.Task) error {
		task.Fail(lost)
		task.Fail(errors.New("a consequence"))
		<-ctx.Done()
		cancel(&run.Interrupted{By: "SIGINT", Code: code.SIGINT})
		return context.Cause(ctx)
	}).Cleaning(func(_ context.Context, task *run.Task, failed error) error {
		if !errors.Is(failed, lost) {
			t.Errorf("clean-up after %v, want %v", failed, lost)
		}
		task.Fail(errors.New("one"))
		return errors.New("two")
	}))
	p.Left = func() run.Left { return run.Left{Text: "a file is left", Names: []string{"f"}} }
	err := run.Do(ctx, p, run.Options{Readers: []run.Reader{&seen}})
	if code.Of(err) != code.Lock {
		t.Errorf("got %v, want the lock's code", err)
	}
	end := seen.Last()
	want := []string{"lock lost", "operation has been interrupted (SIGINT)", "clean-up: one", "clean-up: two"}
	if !slices.Equal(end.Errors, want) || end.State != run.Failed || end.InterruptedBy != "SIGINT" || !slices.Equal(end.Leftovers, []string{"f"}) {
		t.Errorf("end is %+v, want errors %q", end, want)
	}
	if left := seen.Events()[len(seen.Events())-3]; left.Message != "a file is left" {
		t.Errorf("before the end comes %+v, want what is left", left)
	}
}

// Rule 2: an interruption that is pending outranks what fails because of it.
func TestFailAfterAnInterruptionIsAConsequence(t *testing.T) {
	var seen tape
	ctx, cancel := context.WithCancelCause(t.Context())
	err := run.Do(ctx, plan(runtest.Phase("one", func(_ context.Context, task *run.Task) error {
		cancel(&run.Interrupted{By: "SIGTERM", Code: code.SIGTERM})
		task.Fail(errors.New("a consequence"))
		return nil
	})), run.Options{Readers: []run.Reader{&seen}})
	if code.Of(err) != code.SIGTERM || len(seen.told(run.KindError)) != 1 {
		t.Errorf("got %v and %q, want the interruption alone", err, seen.told(run.KindError))
	}
}

func TestDestructiveIsRememberedBefore(t *testing.T) {
	var kept []run.Event
	var seen tape
	journal := func(_ context.Context, e run.Event) error { kept = append(kept, e); return nil }
	err := run.Do(t.Context(), plan(runtest.Phase("publish", func(ctx context.Context, task *run.Task) error {
		if err := task.Destructive(ctx); err != nil || len(kept) != 1 || !kept[0].Destructive || kept[0].Phase != "publish" {
			t.Errorf("got %v, kept %+v; want it kept when the call returns", err, kept)
		}
		return errors.New("no")
	})), run.Options{Readers: []run.Reader{&seen}, Journal: journal})
	if end := seen.Last(); err == nil || !end.Destructive {
		t.Errorf("got %v, end %+v; want a destructive end", err, end)
	}
	refuse := func(context.Context, run.Event) error { return errors.New("disk full") }
	seen = tape{}
	err = run.Do(t.Context(), plan(runtest.Phase("publish", func(ctx context.Context, task *run.Task) error { return task.Destructive(ctx) })),
		run.Options{Readers: []run.Reader{&seen}, Journal: refuse})
	if end := seen.Last(); err == nil || end.Destructive {
		t.Errorf("got %v, end %+v; want an error before anything was destroyed", err, end)
	}
}

// What was taken last is given back first, each though another fails, and a phase may be
// entered again.
func TestWhatIsTakenIsGivenBackNewestFirst(t *testing.T) {
	var seen tape
	var back []string
	take := func(name string, err error) runtest.Step {
		return runtest.Phase(name, nil).Cleaning(func(context.Context, *run.Task, error) error { back = append(back, name); return err })
	}
	p := plan(take("redo", nil), take("lock", errors.New("held")), take("copy", nil))
	do := p.Do
	var took []run.Took
	p.Do = func(r *run.Run) (any, error) {
		if _, err := do(r); err != nil {
			return nil, err
		}
		r.Note("beginning again")
		_, err := do(r)
		took = r.Took()
		return nil, err
	}
	if err := run.Do(t.Context(), p, run.Options{Readers: []run.Reader{&seen}}); err != nil {
		t.Fatal(err)
	}
	same(t, back, []string{"copy", "lock", "redo", "copy", "lock", "redo"})
	same(t, seen.told(run.KindPhase, run.KindNote, run.KindWarning), []string{
		"phase redo<", "phase lock<redo", "phase copy<lock", "note beginning again",
		"phase redo<copy", "phase lock<redo", "phase copy<lock",
		"warning clean-up: held", "warning clean-up: held", "phase completed<copy",
	})
	if len(took) != 6 || took[3].Name != "redo" {
		t.Errorf("took %v, want each of the six", took)
	}
}

func TestAPhaseThatIsNotInThePlanFails(t *testing.T) {
	p := plan(runtest.Phase("one", nil))
	p.Do = func(r *run.Run) (any, error) {
		return run.Enter(r, "two", func(context.Context, *run.Task) (any, error) { return nil, nil })
	}
	if err := run.Do(t.Context(), p, run.Options{}); err == nil || !strings.Contains(err.Error(), "phase two is not in the plan") {
		t.Errorf("got %v", err)
	}
}

// What is known before the run is told in its first phase, and told even if there is none.
func TestOpening(t *testing.T) {
	opening := []run.Event{{Kind: run.KindNote, Message: "one crashed"}, {Kind: run.KindWarning, Message: "it is empty"}}
	var seen tape
	if err := run.Do(t.Context(), plan(runtest.Phase("one", nil), runtest.Phase("two", nil)), run.Options{Readers: []run.Reader{&seen}, Opening: opening}); err != nil {
		t.Fatal(err)
	}
	same(t, seen.told(), []string{
		"start Starting backup process.", "phase one<", "note one crashed", "warning it is empty", "phase two<one",
		"phase completed<two", `end complete_with_warnings 0 "Backup completed" []`,
	})
	seen = tape{}
	no := func(context.Context, run.Event) error { return errors.New("no") }
	_ = run.Do(t.Context(), plan(runtest.Phase("one", nil)), run.Options{Readers: []run.Reader{&seen}, Opening: opening, Gate: no})
	same(t, seen.told(run.KindPhase, run.KindNote, run.KindWarning), []string{"note one crashed", "warning it is empty", "phase failed<"})
}
