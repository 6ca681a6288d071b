package backup_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/remora-backup/remora/core/backup"
	"github.com/remora-backup/remora/core/code"
	"github.com/remora-backup/remora/core/mysqld/mysqldtest"
	"github.com/remora-backup/remora/core/needs"
	"github.com/remora-backup/remora/core/run"
	"github.com/remora-backup/remora/core/syncpoint"
)

// A backup of a replica says how new its data are, and one whose applier is stopped is warned of
// before anything is copied, or refused.
func TestDataAge(t *testing.T) {
	needs.Server(t)
	l := newLab(t)
	source := mysqldtest.Start(t, mysqldtest.TCP())
	source.Exec("CREATE DATABASE d", "CREATE TABLE d.t (i INT PRIMARY KEY)", "INSERT INTO d.t VALUES (1)")
	l.source.Exec(fmt.Sprintf("CHANGE REPLICATION SOURCE TO SOURCE_HOST='127.0.0.1', SOURCE_PORT=%d, SOURCE_USER='root', SOURCE_SSL=1, SOURCE_AUTO_POSITION=1", source.Port), "START REPLICA")
	caughtUp := func() {
		set := source.QueryString("SELECT @@gtid_executed")
		if missed := l.source.QueryString("SELECT WAIT_FOR_EXECUTED_GTID_SET(?, 100)", set); missed != "0" {
			t.Fatal("the replica does not catch up")
		}
	}
	caughtUp()
	old := func(events []run.Event) (warnings []string) {
		for _, e := range events {
			if e.Kind == run.KindWarning && strings.Contains(e.Message, "the data of this replica are old") {
				warnings = append(warnings, e.Phase+": "+e.Message)
			}
		}
		return warnings
	}
	res, events, err := l.backup()
	if err != nil {
		t.Fatal(err)
	}
	m := l.manifest()
	if len(m.Channels) != 1 || m.Channels[0].Applier != "Yes" || m.Channels[0].SourceHost != "127.0.0.1" || m.Channels[0].ExecutedGTIDs == "" || m.Channels[0].Lag == nil {
		t.Errorf("channels: %+v, want one that runs", m.Channels)
	}
	if m.DataTime.IsZero() || m.DataTime.After(m.VPTime) || !res.DataTime.Equal(m.DataTime) || len(old(events)) > 0 {
		t.Errorf("data time %v, in the result %v, sync point %v, warnings %q", m.DataTime, res.DataTime, m.VPTime, old(events))
	}

	l.source.Exec("STOP REPLICA SQL_THREAD")
	source.Exec("INSERT INTO d.t VALUES (2)")
	stopped := time.Now()
	_, _, err = l.backup(func(c *backup.Config) { c.RefuseStale = true })
	if code.Of(err) != code.Version || !strings.Contains(err.Error(), `channel "" of 127.0.0.1`) || !strings.Contains(err.Error(), "applies nothing") {
		t.Errorf("refused: %v (code %d), want code %d and the channel", err, code.Of(err), code.Version)
	}
	if _, events, err = l.backup(); err != nil {
		t.Fatal(err)
	}
	if got := old(events); len(got) != 1 || !strings.HasPrefix(got[0], "preflight: ") {
		t.Errorf("warnings: %q, want one before anything is copied", got)
	}
	if m := l.manifest(); m.Channels[0].Applier != "No" || m.DataTime.After(stopped) || m.DataTime.After(m.VPTime) {
		t.Errorf("stopped: %+v, data time %v, sync point %v", m.Channels, m.DataTime, m.VPTime)
	}

	// One that is behind on purpose, and no further than that, is not old.
	l.source.Exec("CHANGE REPLICATION SOURCE TO SOURCE_DELAY=3600", "START REPLICA")
	if _, _, err = l.backup(func(c *backup.Config) { c.MaxDataAge, c.RefuseStale = time.Second, true }); err != nil {
		t.Errorf("delayed on purpose: %v", err)
	}
	if m := l.manifest(); m.Channels[0].Delay != 3600 {
		t.Errorf("channels: %+v, want the delay", m.Channels)
	}
}

// A channel that was made after the channels were asked, and before the position was taken, is
// described all the same; one that is gone before it can be is an error.
func TestChannelsAreThoseOfThePosition(t *testing.T) {
	needs.Server(t)
	l := newLab(t)
	change := "CHANGE REPLICATION SOURCE TO SOURCE_HOST='%s', SOURCE_USER='u' FOR CHANNEL '%s'"
	l.source.Exec(fmt.Sprintf(change, "early.example", "early"))
	l.hold(syncpoint.LockBefore, 1, func() { l.source.Exec(fmt.Sprintf(change, "late.example", "late")) })
	if _, _, err := l.backup(); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, c := range l.manifest().Channels {
		got = append(got, c.Name+" of "+c.SourceHost)
	}
	if want := "[early of early.example late of late.example]"; fmt.Sprint(got) != want {
		t.Errorf("channels: got %v, want %s", got, want)
	}

	l.next(syncpoint.LockBefore, func() { l.source.Exec(fmt.Sprintf(change, "brief.example", "brief")) })
	l.next(syncpoint.LockSyncPoint, func() { l.source.Exec("RESET REPLICA ALL FOR CHANNEL 'brief'") })
	_, _, err := l.backup()
	if code.Of(err) != code.Integrity || !strings.Contains(err.Error(), `"brief"`) {
		t.Errorf("a channel that came and went: got %v (code %d), want code %d and its name", err, code.Of(err), code.Integrity)
	}
	l.allHeld()
}
