package serve

import (
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/remora-backup/remora/core/api"
	"github.com/remora-backup/remora/core/run"
	"github.com/remora-backup/remora/core/run/runtest"
	"github.com/remora-backup/remora/core/schedule"
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
		settings := schedule.Defaults()
		settings.Backup, settings.Spread = "CRON_TZ=UTC 15 2 * * *", 0
		times, err := schedule.New(settings, "u-u")
		if err != nil {
			t.Fatal(err)
		}
		d.works = &works{name: "scheduled", plan: d.works.plan, times: times, log: d.log}
		if _, err := d.Reload(t.Context(), anna); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
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
