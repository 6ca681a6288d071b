package serve

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/remora-backup/remora/core/api"
	"github.com/remora-backup/remora/core/code"
	"github.com/remora-backup/remora/core/run"
	"github.com/remora-backup/remora/core/run/runtest"
	"github.com/remora-backup/remora/core/state"
)

const before = `{"operation":"restore","dir":"/t","as":"replica"}`

// left makes a state directory in which a sidecar left these operations.
func left(t *testing.T, all ...state.Operation) string {
	t.Helper()
	dir := t.TempDir()
	s, err := state.Open(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for _, o := range all {
		if err := s.Begin(t.Context(), o); err != nil {
			t.Fatal(err)
		}
		if o.State != "" {
			s.Event(t.Context(), run.Event{Seq: 1, Time: time.Now(), ID: o.ID, Kind: run.KindEnd, State: o.State, InterruptedBy: o.InterruptedBy})
		}
	}
	if err := s.Err(); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestARestoreThatTheEndOfTheSidecarInterruptedIsGoneOnWith(t *testing.T) {
	const known = "20261120T221500Z-7f3a"
	restore := state.Operation{ID: "r", Operation: "restore", Request: before, BackupID: known, Target: "/t"}
	as := func(change func(*state.Operation)) state.Operation {
		o := restore
		change(&o)
		return o
	}
	cases := map[string]struct {
		left   []state.Operation
		resume bool
		told   string
	}{
		"killed":                {[]state.Operation{restore}, true, "Restore r was interrupted by the end of the sidecar: going on with it."},
		"stopped":               {[]state.Operation{as(func(o *state.Operation) { o.State, o.InterruptedBy = run.Cancelled, "SIGTERM" })}, true, ""},
		"cancelled by a person": {[]state.Operation{as(func(o *state.Operation) { o.State, o.InterruptedBy = run.Cancelled, "api:anna" })}, false, ""},
		"failed":                {[]state.Operation{as(func(o *state.Operation) { o.State = run.Failed })}, false, ""},
		"complete":              {[]state.Operation{as(func(o *state.Operation) { o.State = run.Complete })}, false, ""},
		"of a command":          {[]state.Operation{as(func(o *state.Operation) { o.Request = "" })}, false, ""},
		"a backup":              {[]state.Operation{{ID: "b", Operation: "backup", Request: `{"operation":"backup"}`}}, false, "An earlier backup (b) crashed"},
		"something came after":  {[]state.Operation{restore, {ID: "b", Operation: "backup", State: run.Complete}}, false, ""},
		"killed again": {[]state.Operation{as(func(o *state.Operation) { o.Request = `{"operation":"restore","dir":"/t","resumes":"q"}` })}, false,
			"Restore r crashed, as q had before: it is not begun again by itself. The target: /t."},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			dir := left(t, c.left...)
			synctest.Test(t, func(t *testing.T) {
				s := newSteps()
				d := start(t, dir, s.plan("restore", "first"))
				synctest.Wait()
				st := d.Status()
				if (st.Operation == "restore") != c.resume {
					t.Fatalf("status is %+v, want it gone on with: %v", st, c.resume)
				}
				if c.told != "" {
					d.log.has(t, c.told)
				}
				if !c.resume {
					return
				}
				want := asked{Operation: "restore", Dir: "/t", As: "replica", Backup: known, Resumes: "r"}
				if got := d.running().asked; got != want {
					t.Errorf("asked for %+v, want %+v", got, want)
				}
				<-s.at
				s.on <- nil
				synctest.Wait()
			})
		})
	}
}

// What was begun and crashed is told once, and its lock is nobody's.
func TestACrashedOperationIsInNobodysWay(t *testing.T) {
	dir := left(t, state.Operation{ID: "b", Operation: "backup"})
	synctest.Test(t, func(t *testing.T) {
		d := start(t, dir, func(id string) run.Plan { return runtest.Plan("backup", id, runtest.Phase("first", nil)) })
		if o, err := d.Operation(t.Context(), "b"); err != nil || o.State != run.Crashed {
			t.Errorf("got %+v, %v", o, err)
		}
		if _, err := d.Start(t.Context(), api.Request{Operation: "backup"}, anna); err != nil {
			t.Error(err)
		}
	})
}

// While a sidecar waits at its start for an operation that has the lock file, it can be stopped.
func TestStoppedWhileItWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		beside, err := state.Lock(dir, state.Owner{Operation: "restore", ID: "beside", PID: 1})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = beside.Release() }()
		d := start(t, dir, nil)
		time.Sleep(time.Minute)
		if err := d.end(); code.Of(err) != code.SIGTERM {
			t.Errorf("got %v, want that it was stopped", err)
		}
	})
}
