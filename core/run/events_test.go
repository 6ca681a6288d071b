package run_test

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/remora-backup/remora/core/run"
	"github.com/remora-backup/remora/core/run/runtest"
)

func TestHangingReaderDelaysNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var seen tape
		released := make(chan struct{})
		hang := run.ReaderFunc(func(ctx context.Context, _ run.Event) { <-ctx.Done(); close(released) })
		var inRun time.Duration
		start := time.Now()
		err := run.Do(t.Context(), plan(runtest.Phase("one", nil), runtest.Phase("two", func(context.Context, *run.Task) error {
			inRun = time.Since(start)
			return nil
		})), run.Options{Readers: []run.Reader{hang, &seen}, DrainWithin: 3 * time.Second})
		<-released // told by its context
		if err != nil || inRun != 0 || time.Since(start) != 3*time.Second {
			t.Errorf("got %v, phases after %v, end after %v; want nil, 0s, 3s", err, inRun, time.Since(start))
		}
		if n := len(seen.told()); n != 5 {
			t.Errorf("the other reader saw %d events, want 5", n)
		}
	})
}

func TestPercentRules(t *testing.T) {
	percents := func(task *run.Task, list ...int) {
		for _, p := range list {
			task.Progress(run.Progress{Percent: &p})
		}
	}
	var seen tape
	err := run.Do(t.Context(), plan(
		runtest.Phase("prepare", func(_ context.Context, task *run.Task) error {
			task.Progress(run.Progress{})
			task.Progress(run.Progress{LSN: 5})
			percents(task, 0, 0, 3, 2, 3, 100, 150, 200)
			return nil
		}),
		runtest.Phase("again", func(_ context.Context, task *run.Task) error { percents(task, -5, 0, 1); return nil }),
	), run.Options{Readers: []run.Reader{&seen}})
	if err != nil {
		t.Fatal(err)
	}
	same(t, seen.told(run.KindPhase, run.KindProgress), []string{
		"phase prepare<", "progress nil", "progress 0", "progress 3", "progress 100",
		"phase again<prepare", "progress nil", "progress 0", "progress 1", "phase completed<again"})
}

// Many goroutines move bytes at once: each percent is told once, in order.
func TestAdvanceFromManyGoroutines(t *testing.T) {
	var seen tape
	var meter run.Meter
	err := run.Do(t.Context(), plan(runtest.Phase("copy", func(_ context.Context, task *run.Task) error {
		task.Total(1000)
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				for range 250 {
					task.Advance(1)
				}
			})
		}
		wg.Wait()
		if got := meter.Read(); got.Done != 1000 || got.Total != 1000 || *got.Percent != 100 {
			t.Errorf("meter shows %+v, want all of 1000", got)
		}
		return nil
	})), run.Options{Readers: []run.Reader{&seen}, Meter: &meter})
	if err != nil {
		t.Fatal(err)
	}
	last := -1
	for i, e := range seen.Events() {
		if e.Kind != run.KindProgress {
			continue
		}
		if e.Percent == nil {
			if last != -1 {
				t.Errorf("event %d has no percent after %d", i, last)
			}
			continue
		}
		if *e.Percent <= last {
			t.Errorf("percent %d after %d", *e.Percent, last)
		}
		last = *e.Percent
	}
	if last != 100 {
		t.Errorf("last percent is %d, want 100", last)
	}
}

func TestStallIsToldOncePerIdlePeriod(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var seen tape
		err := run.Do(t.Context(), plan(runtest.Phase("copy", func(_ context.Context, task *run.Task) error {
			task.Total(1 << 40)
			for range 10 { // moves, but never by a percent
				time.Sleep(50 * time.Second)
				task.Advance(1)
			}
			time.Sleep(200 * time.Second)
			return nil
		}), runtest.Phase("prepare", func(_ context.Context, task *run.Task) error {
			for lsn := range uint64(10) { // scans, but never a percent
				time.Sleep(50 * time.Second)
				task.Progress(run.Progress{LSN: lsn + 1})
			}
			return nil
		})), run.Options{Readers: []run.Reader{&seen}, StallAfter: time.Minute})
		if err != nil {
			t.Fatal(err)
		}
		if n := len(seen.told(run.KindStall)); n != 3 {
			t.Errorf("told %q, want 3 stalls in 200 s of silence", seen.told(run.KindStall))
		}
	})
}

// TestWhoAskedIsToldWithEveryEvent, the gate's question too: a script may refuse a scheduled run.
func TestWhoAskedIsToldWithEveryEvent(t *testing.T) {
	for _, by := range []string{"schedule", ""} {
		var seen runtest.Tape
		asked := "nobody"
		gate := func(_ context.Context, e run.Event) error { asked = e.RequestedBy; return nil }
		if err := run.Do(t.Context(), plan(runtest.Phase("one", nil)), run.Options{Readers: []run.Reader{&seen}, Gate: gate, RequestedBy: by}); err != nil {
			t.Fatal(err)
		}
		for _, e := range seen.Events() {
			if e.RequestedBy != by {
				t.Errorf("event %d: requested by %q, want %q", e.Seq, e.RequestedBy, by)
			}
		}
		if len(seen.Events()) == 0 || asked != by {
			t.Errorf("the gate's question was asked by %q, want %q", asked, by)
		}
	}
}
