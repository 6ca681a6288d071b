package serve

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/remora-backup/remora/core/api"
	"github.com/remora-backup/remora/core/code"
	"github.com/remora-backup/remora/core/run"
	"github.com/remora-backup/remora/core/run/runtest"
	"github.com/remora-backup/remora/core/state"
)

func percent(p int) run.Progress { return run.Progress{Percent: &p} }

// The percent of a prepare is shown while it is being prepared, and never else.
func TestTheRestorePercentIsThatOfTheLivePhase(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSteps()
		d := start(t, t.TempDir(), s.plan("restore", "getting_backup_info", phaseFetch, phasePrepare, phaseFetch, phasePrepare, "finalizing"))
		shows := func(phase string, want int, fetches int) {
			t.Helper()
			got := d.Restore()
			have := -1
			if got.PrepareProgress != nil {
				have = *got.PrepareProgress
			}
			if got.Phase != phase || have != want || got.BaseBackupsStarted != fetches {
				t.Errorf("got %s %d after %d base backups, want %s %d after %d", got.Phase, have, got.BaseBackupsStarted, phase, want, fetches)
			}
		}
		const null = -1
		shows("idle", null, 0)
		d.begin(t, "restore")
		task := <-s.at
		task.Progress(percent(33))
		synctest.Wait()
		shows("getting_backup_info", null, 0)
		s.on <- nil
		for _, fetches := range []int{1, 2} {
			task = <-s.at
			task.Total(1000)
			task.Advance(700)
			synctest.Wait()
			shows(phaseFetch, null, fetches) // though a percent is known
			if st := d.Restore(); st.BytesDownloaded != 700 || st.BytesTotal != 1000 {
				t.Errorf("got %d of %d bytes, want 700 of 1000", st.BytesDownloaded, st.BytesTotal)
			}
			s.on <- nil
			task = <-s.at
			synctest.Wait()
			shows(phasePrepare, null, fetches)
			if st := d.Restore(); st.BytesDownloaded != 700 || st.BytesTotal != 1000 {
				t.Errorf("while preparing: got %d of %d bytes, want 700 of 1000", st.BytesDownloaded, st.BytesTotal)
			}
			for _, p := range []int{0, 42, 100} {
				task.Progress(percent(p))
				shows(phasePrepare, p, fetches)
			}
			s.on <- nil
		}
		task = <-s.at
		task.Progress(percent(66))
		synctest.Wait()
		shows("finalizing", null, 2)
		s.on <- nil
		synctest.Wait()
		shows("idle", null, 0)
	})
}

func TestARestoreThatFailsOrIsCancelledShowsNoPercent(t *testing.T) {
	for _, cancelled := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			s := newSteps()
			held := make(chan struct{})
			d := start(t, t.TempDir(), func(id string) run.Plan {
				return runtest.Plan("restore", id, runtest.Phase(phasePrepare, s.do).Cleaning(func(context.Context, *run.Task, error) error { <-held; return nil }))
			})
			id := d.begin(t, "restore").ID
			(<-s.at).Progress(percent(77))
			if got := d.Restore(); got.PrepareProgress == nil || *got.PrepareProgress != 77 {
				t.Fatalf("got %+v, want 77 %%", got)
			}
			if cancelled {
				if st, err := d.Cancel(t.Context(), id, anna); err != nil || st.State != "cancelling" || st.InterruptedBy != "api:anna" {
					t.Errorf("got %+v, %v", st, err)
				}
			} else {
				s.on <- errBroken
			}
			close(held)
			synctest.Wait()
			if got := d.Restore(); got.PrepareProgress != nil || got.Phase != "idle" {
				t.Errorf("got %+v, want nothing of it", got)
			}
			if d.begin(t, "backup"); d.Restore().Phase != "idle" {
				t.Error("a backup shows as a restore")
			}
		})
	}
}

// Who heard of the end may begin the next at once, and sees nothing of the first any more.
func TestAnOperationThatHasEndedIsWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSteps()
		d := start(t, t.TempDir(), s.plan("restore", phasePrepare))
		d.works.hold = make(chan struct{})
		d.begin(t, "restore")
		(<-s.at).Progress(percent(100))
		s.on <- nil
		synctest.Wait()
		if d.running() == nil || d.Restore().Phase != "idle" || d.Restore().PrepareProgress != nil {
			t.Errorf("got %+v", d.Restore())
		}
		go func() { time.Sleep(time.Second); close(d.works.hold) }()
		began := time.Now()
		d.begin(t, "backup")
		if took := time.Since(began); took < time.Second {
			t.Errorf("it began after %v", took)
		}
	})
}

func TestOneAtATimeAndEachAnswerIsKnown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir, s := t.TempDir(), newSteps()
		d := start(t, dir, s.plan("backup", "first"))
		one, err := d.Start(t.Context(), api.Request{Operation: "backup", Key: "anna/1"}, anna)
		if err != nil || one.ID == "" || one.Repeated {
			t.Fatalf("got %+v, %v", one, err)
		}
		<-s.at
		if _, err := d.Start(t.Context(), api.Request{Operation: "restore"}, anna); code.Of(err) != code.Busy || !strings.Contains(err.Error(), one.ID) {
			t.Errorf("another one: got %v, want 11 that names %s", err, one.ID)
		}
		again, err := d.Start(t.Context(), api.Request{Operation: "backup", Key: "anna/1"}, anna)
		if err != nil || again.ID != one.ID || !again.Repeated {
			t.Errorf("the same again: got %+v, %v", again, err)
		}
		if _, err := d.Start(t.Context(), api.Request{Operation: "restore", Key: "anna/1"}, anna); !errors.Is(err, api.ErrReused) {
			t.Errorf("the key for another request: got %v", err)
		}
		if _, err := d.Cancel(t.Context(), "20000101T000000Z-0000", anna); !errors.Is(err, api.ErrUnknown) {
			t.Errorf("cancel of an unknown one: got %v", err)
		}
		if st := d.Status(); st.State != "running" || st.ID != one.ID || st.Phase != "first" || st.RequestedBy != "api:anna" {
			t.Errorf("got %+v", st)
		}
		s.on <- nil
		synctest.Wait()
		if _, err := d.Cancel(t.Context(), one.ID, anna); !errors.Is(err, api.ErrEnded) {
			t.Errorf("cancel of one that has ended: got %v", err)
		}
		if _, err := d.Start(t.Context(), api.Request{Operation: "dance"}, anna); code.Of(err) != code.Usage {
			t.Errorf("got %v, want 10", err)
		}
		if err := d.end(); err != nil {
			t.Error(err)
		}

		// Another life of it knows the key by the history.
		d = start(t, dir, s.plan("backup", "first"))
		again, err = d.Start(t.Context(), api.Request{Operation: "backup", Key: "anna/1"}, anna)
		if err != nil || again.ID != one.ID || !again.Repeated {
			t.Errorf("after a restart: got %+v, %v", again, err)
		}
		all, err := d.Operations(t.Context(), 10, "")
		if err != nil || len(all) != 1 || all[0].RequestedBy != "api:anna" || all[0].State != run.Complete {
			t.Errorf("got %+v, %v", all, err)
		}
	})
}

// Whatever panics is an answer like another, and the sidecar lives on.
func TestAPanicIsAnAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := start(t, t.TempDir(), func(id string) run.Plan {
			return runtest.Plan("backup", id, runtest.Phase("first", func(context.Context, *run.Task) error { panic("in a phase") }))
		})
		phase := d.begin(t, "backup").ID
		synctest.Wait()
		d.works.plan = func(string) run.Plan { panic("while planning") }
		planning := d.begin(t, "backup").ID
		synctest.Wait()
		for id, want := range map[string]string{phase: "in a phase", planning: "while planning"} {
			if o, err := d.Operation(t.Context(), id); err != nil || o.State != run.Failed || !strings.Contains(o.Error, want) {
				t.Errorf("got %+v, %v, want %q", o, err, want)
			}
		}
	})
}

// The state directory may be lost between any two operations: that costs history, nothing else.
func TestTheStateMayVanish(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "state")
		d := start(t, dir, func(id string) run.Plan { return runtest.Plan("backup", id, runtest.Phase("first", nil)) })
		for range 3 {
			id := d.begin(t, "backup").ID
			synctest.Wait()
			if o, err := d.Operation(t.Context(), id); err != nil || o.State != run.Complete {
				t.Errorf("got %+v, %v", o, err)
			}
			if err := os.RemoveAll(dir); err != nil {
				t.Fatal(err)
			}
			if all, err := d.Operations(t.Context(), 5, ""); err != nil || len(all) != 0 {
				t.Errorf("got %+v, %v, want an empty history", all, err)
			}
		}
	})
}

func TestTheEndInterruptsWhatRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir, s := t.TempDir(), newSteps()
		d := start(t, dir, s.plan("backup", "first"))
		id := d.begin(t, "backup").ID
		<-s.at
		if err := d.end(); err != nil {
			t.Error(err)
		}
		o, err := d.Operation(t.Context(), id)
		if err != nil || o.State != run.Cancelled || o.InterruptedBy != "SIGTERM" || o.Code != 143 {
			t.Errorf("got %+v, %v", o, err)
		}
		if _, err := d.Start(t.Context(), api.Request{Operation: "backup"}, anna); code.Of(err) != code.Busy || d.Ready() == nil {
			t.Errorf("after the end: got %v, ready is %v", err, d.Ready())
		}
	})
}

// A clean-up that never ends does not keep the sidecar.
func TestTheEndIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		free := make(chan struct{})
		s := newSteps()
		d := start(t, t.TempDir(), func(id string) run.Plan {
			return runtest.Plan("backup", id, runtest.Phase("first", s.do).Cleaning(func(context.Context, *run.Task, error) error { <-free; return nil }))
		})
		d.begin(t, "backup")
		<-s.at
		began := time.Now()
		if err := d.end(); err != nil {
			t.Error(err)
		}
		if took := time.Since(began); took > finishWithin+2*time.Second {
			t.Errorf("it took %v", took)
		}
		close(free)
	})
}

// An operation that was begun without the sidecar is waited for; meanwhile nothing begins.
func TestTheSidecarWaitsForWhoHasTheLock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		l, err := state.Lock(dir, state.Owner{PID: 7, Operation: "backup", ID: "one", Host: "here"})
		if err != nil {
			t.Fatal(err)
		}
		d := start(t, dir, func(id string) run.Plan { return runtest.Plan("backup", id, runtest.Phase("first", nil)) })
		d.log.has(t, "backup one (pid 7 on here")
		if d.Ready() == nil {
			t.Error("it is ready")
		}
		if err := l.Release(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		if err := d.Ready(); err != nil {
			t.Error(err)
		}
		if err := New(d.cfg, new(Yield)).Run(t.Context()); code.Of(err) != code.Busy {
			t.Errorf("a second sidecar: got %v, want 11", err)
		}
		// and one that begins later beside it
		if l, err = state.Lock(dir, state.Owner{PID: 8, Operation: "export", ID: "two", Host: "here"}); err != nil {
			t.Fatal(err)
		}
		if _, err := d.Start(t.Context(), api.Request{Operation: "backup"}, anna); code.Of(err) != code.Busy || !strings.Contains(err.Error(), "export two") {
			t.Errorf("got %v, want 11", err)
		}
		l.Release()
		synctest.Wait()
		d.begin(t, "backup")
	})
}

// A server that is away is waited for, ever more patiently.
func TestTheServerIsWaitedForWithoutSpinning(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var back atomic.Bool
		var asked atomic.Int32
		d := start(t, t.TempDir(), nil)
		if st := d.Status(); st.Server != up {
			t.Errorf("the server is %s", st.Server)
		}
		reach := func() error {
			asked.Add(1)
			if back.Load() {
				return nil
			}
			return errors.New("connection refused")
		}
		d.works.reach.Store(&reach)
		time.Sleep(time.Hour)
		if st, n := d.Status(), asked.Load(); st.Server != away || n > 130 || n < 100 {
			t.Errorf("the server is %s, asked %d times in an hour", st.Server, n)
		}
		d.log.has(t, "The server is away: connection refused")
		back.Store(true)
		time.Sleep(lookLately)
		if st := d.Status(); st.Server != up {
			t.Errorf("the server is %s", st.Server)
		}
		d.log.has(t, "The server is there again.")
	})
}

func TestTheWatchdogIsFedByTheLoop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := start(t, t.TempDir(), nil)
		before := d.boss.alive.Load()
		time.Sleep(time.Minute)
		if n := d.boss.alive.Load() - before; n < 10 || n > 20 {
			t.Errorf("alive %d times a minute", n)
		}
		if err := d.Live(); err != nil {
			t.Error(err)
		}
		free := make(chan struct{})
		d.boss.hold.Store(&free) // the loop stands still
		time.Sleep(time.Minute)
		stuck := d.boss.alive.Load()
		time.Sleep(time.Minute)
		if d.boss.alive.Load() != stuck || d.Live() == nil {
			t.Error("a loop that stands still counts as alive")
		}
		d.boss.hold.Store(nil)
		close(free)
	})
}
