package serve

import (
	"errors"
	"testing"
	"testing/synctest"

	"github.com/remora-backup/remora/core/code"
)

// Each phase of each operation: a reload is done at once, or at the end of the phase if that
// is one of a restore which must not be disturbed.
func TestReloadInEveryPhase(t *testing.T) {
	operations := map[string][]string{
		"backup":  {"preflight", "following_redo", "copying_tablespaces", "catching_up", "locking", "sync_point", "cutting_logs", "storing_manifest"},
		"restore": {"getting_backup_info", phaseFetch, phasePrepare, "finalizing"},
	}
	risky := map[string]bool{phaseFetch: true, phasePrepare: true}
	for operation, phases := range operations {
		for _, phase := range phases {
			t.Run(operation+"/"+phase, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					s := newSteps()
					d := start(t, t.TempDir(), s.plan(operation, phase, "last"))
					d.begin(t, operation)
					<-s.at
					d.works = &works{name: "second", plan: d.works.plan, log: d.log}
					got, err := d.Reload(t.Context(), anna)
					if err != nil {
						t.Fatal(err)
					}
					synctest.Wait()
					inForce := d.Configuration()["name"]
					switch {
					case risky[phase] && (got.State != "postponed" || got.Phase != phase || got.Reason == "" || inForce != "first" || !d.Status().Postponed):
						t.Errorf("got %+v, in force is %v, status %+v; want it postponed", got, inForce, d.Status())
					case !risky[phase] && (got.State != "done" || inForce != "second" || d.Status().Postponed):
						t.Errorf("got %+v, in force is %v; want it done", got, inForce)
					}
					s.on <- nil
					<-s.at
					synctest.Wait()
					if inForce := d.Configuration()["name"]; inForce != "second" || d.Status().Postponed {
						t.Errorf("after the phase %v is in force", inForce)
					}
					s.on <- nil
				})
			})
		}
	}
}

func TestAReloadThatIsPostponedIsDoneWhenTheRestoreFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSteps()
		d := start(t, t.TempDir(), s.plan("restore", phasePrepare))
		d.begin(t, "restore")
		<-s.at
		if got, err := d.Reload(t.Context(), anna); err != nil || got.State != "postponed" {
			t.Fatalf("got %+v, %v", got, err)
		}
		d.works = &works{name: "newest", plan: d.works.plan, log: d.log} // read at the moment it is done
		s.on <- errBroken
		synctest.Wait()
		if got := d.Configuration()["name"]; got != "newest" {
			t.Errorf("%v is in force", got)
		}
		d.log.has(t, "The reload (anna) is postponed until the phase preparing_backup has ended")
		d.log.has(t, "The configuration was reloaded (postponed).")
	})
}

// A configuration that is wrong changes nothing, in whatever phase, and its reason is told.
func TestABadConfigurationChangesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSteps()
		d := start(t, t.TempDir(), s.plan("restore", phaseFetch))
		bad := code.Hint(code.Usage, "did you mean", "remora.toml:3: unknown key")
		refused := func() {
			t.Helper()
			if _, err := d.Reload(t.Context(), anna); !errors.Is(err, bad) {
				t.Errorf("got %v", err)
			}
			if got := d.Configuration()["name"]; got != "first" || d.Status().Postponed {
				t.Errorf("%v is in force, postponed is %v", got, d.Status().Postponed)
			}
		}
		d.bad = bad
		refused()
		d.log.has(t, "warning: The reload was refused, the configuration of before stays in force: remora.toml:3: unknown key")
		d.begin(t, "restore")
		<-s.at
		refused()
		d.bad = nil
		d.cfg.Use = func(Works) error { return bad }
		s.on <- nil
		synctest.Wait()
		refused()
		if r := d.boss.reloading.Load(); r != 3 || d.boss.ready.Load() != r+1 {
			t.Errorf("the supervisor heard of %d reloads, and %d times that it is ready", r, d.boss.ready.Load())
		}
	})
}
