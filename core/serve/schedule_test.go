package serve

import (
	"context"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/remora-backup/remora/core/api"
	"github.com/remora-backup/remora/core/run"
	"github.com/remora-backup/remora/core/run/runtest"
	"github.com/remora-backup/remora/core/schedule"
	"github.com/remora-backup/remora/core/state"
)

// A backup at once, as there is none, then one each night, one by hand between them, and a state directory that vanishes. The
// nights have one run each.
func TestTheScheduleRunsOnceANight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "state")
		var begun []time.Time
		d := start(t, dir, func(id string) run.Plan {
			begun = append(begun, time.Now().UTC())
			return runtest.Plan("backup", id, runtest.Phase("first", nil))
		})
		d.scheduled(t)
		time.Sleep(time.Hour)
		if n := d.Status().Next; n == nil || n.Operation != "backup" || n.Time.UTC().Format("15:04") != "02:15" {
			t.Errorf("the next is %+v", n)
		}
		for night := range 6 {
			time.Sleep(24 * time.Hour)
			switch night {
			case 1:
				if _, err := d.Start(t.Context(), api.Request{Operation: "backup"}, anna); err != nil {
					t.Error(err)
				}
			case 3, 4:
				synctest.Wait() // nobody has it open
				if err := os.RemoveAll(dir); err != nil {
					t.Fatal(err)
				}
			}
		}
		synctest.Wait()
		at := 0
		for _, b := range begun {
			if b.Format("15:04") == "02:15" {
				at++
			}
		}
		if at != 6 || len(begun) != 8 {
			t.Errorf("%d runs, %d of them at 02:15: %v", len(begun), at, begun)
		}
	})
}

// scheduled gives d a schedule of one backup each night.
func (d *daemon) scheduled(t *testing.T, change ...func(*schedule.Settings)) {
	t.Helper()
	settings := schedule.Defaults()
	settings.Backup, settings.Spread = "CRON_TZ=UTC 15 2 * * *", 0
	for _, c := range change {
		c(&settings)
	}
	times, err := schedule.New(settings, "u-u")
	if err != nil {
		t.Fatal(err)
	}
	d.works = &works{name: "scheduled", plan: d.works.plan, times: times, newest: d.works.newest, log: d.log}
	if _, err := d.Reload(t.Context(), anna); err != nil {
		t.Fatal(err)
	}
	synctest.Wait()
}

// A scheduled backup that the end of its sidecar cuts short is begun again by the next one, once:
// a backup that ends its host each time is not taken for ever.
func TestABackupThatIsCutShortIsBegunAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir, begun := t.TempDir(), new(atomic.Int32)
		plan := func(id string) run.Plan {
			begun.Add(1)
			return runtest.Plan("backup", id, runtest.Phase("first", func(ctx context.Context, _ *run.Task) error {
				<-ctx.Done()
				return context.Cause(ctx)
			}))
		}
		for life, want := range []int{1, 2, 2} {
			d := start(t, dir, plan)
			d.scheduled(t)
			time.Sleep(2 * time.Minute)
			if begun := int(begun.Load()); begun != want {
				t.Errorf("life %d: %d were begun so far, want %d", life+1, begun, want)
			}
			if err := d.end(); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// While an operation beside the sidecar has the lock file a scheduled one is not begun, and not
// forgotten either.
func TestAnOperationBesideIsWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir, begun := t.TempDir(), new(atomic.Int32)
		d := start(t, dir, func(id string) run.Plan {
			begun.Add(1)
			return runtest.Plan("backup", id, runtest.Phase("first", nil))
		})
		beside, err := state.Lock(dir, state.Owner{Operation: "export", ID: "beside", PID: 1})
		if err != nil {
			t.Fatal(err)
		}
		d.scheduled(t)
		time.Sleep(10 * time.Minute)
		if begun.Load() != 0 {
			t.Errorf("begun beside another operation")
		}
		d.log.has(t, "could not be begun")
		if err := beside.Release(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Minute)
		if begun.Load() != 1 {
			t.Errorf("%d were begun after it, want 1", begun.Load())
		}
	})
}

// The time without a good backup is counted from the newest one, not from the start of the
// sidecar: one that is started anew each day would never take it.
func TestTheFallbackOutlivesTheSidecar(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var begun atomic.Int32
		d := start(t, t.TempDir(), func(id string) run.Plan {
			begun.Add(1)
			return runtest.Plan("backup", id, runtest.Phase("first", nil))
		})
		d.works.newest = time.Now().Add(-30 * time.Hour)
		d.scheduled(t, func(s *schedule.Settings) { s.On, s.Fallback = "replica", 26*time.Hour }) // and this is none
		time.Sleep(15 * time.Minute)
		if n := begun.Load(); n != 1 {
			t.Errorf("%d backups were begun, want 1", n)
		}
	})
}
