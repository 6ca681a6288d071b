package schedule

import (
	"strings"
	"testing"
	"time"
)

// TestDecide holds single situations; what a life of them comes to is told by the sidecar.
func TestDecide(t *testing.T) {
	slot := at(t, "2026-11-10T02:15:00Z")
	nightly := Settings{Backup: "TZ=UTC 15 2 * * *", On: Any, CatchUp: true}
	up := slot.Add(-time.Hour)
	replica := func() (Role, error) { return Role{Replica: true, Text: "replica"}, nil }
	onReplica := nightly
	onReplica.On = Replica
	spread := nightly
	spread.Spread = 20 * time.Minute // of which this server's part is 7m6s or so
	for _, c := range []struct {
		name     string
		settings Settings
		now      Situation
		want     string // the reason of the backup, with "due: " before it if it is
	}{
		{"a failure that the time fell into is none", nightly, Situation{Now: slot.Add(time.Hour), Up: up,
			Ran: []Ran{{Operation: Backup, Started: slot.Add(-time.Minute), Ended: slot.Add(time.Minute)}}}, "due: due since 2026-11-10 02:15 UTC"},
		{"a good one is", nightly, Situation{Now: slot.Add(time.Hour), Up: up,
			Ran: []Ran{{Operation: Backup, Started: slot.Add(-time.Minute), Ended: slot.Add(time.Minute), Good: true}}}, "not due: the one of 2026-11-10 02:15 UTC"},
		{"one that ended before is not", nightly, Situation{Now: slot.Add(time.Hour), Up: up,
			Ran: []Ran{{Operation: Backup, Started: slot.Add(-2 * time.Minute), Ended: slot.Add(-time.Minute), Good: true}}}, "due: due since"},
		{"that of another operation is not", nightly, Situation{Now: slot.Add(time.Hour), Up: up,
			Ran: []Ran{{Operation: Verify, Started: slot.Add(time.Minute), Good: true}}}, "due: due since"},
		{"begun for it, by a clock that went back meanwhile", nightly, Situation{Now: slot.Add(time.Hour), Up: up,
			Ran: []Ran{{Operation: Backup, Slot: slot, Started: slot.Add(-3 * time.Second), Ended: slot.Add(-time.Second)}}}, "not due: the one of"},
		{"by hand since", nightly, Situation{Now: slot.Add(5 * time.Hour), Up: slot.Add(4 * time.Hour),
			Ran: []Ran{{Operation: Backup, Started: slot.Add(3 * time.Hour), Good: true}}}, "not due: the one of"},
		{"a fit member leaves nothing to another in time", onReplica, Situation{Now: slot.Add(time.Minute), Up: up, Newest: slot.Add(30 * time.Second), Role: replica}, "due: due since"},
		{"but late", onReplica, Situation{Now: slot.Add(time.Hour), Up: up, Newest: slot.Add(30 * time.Second), Role: replica}, "not due: the group has a backup"},
		{"after a pause in the server's own moment", spread, Situation{Now: slot.Add(time.Hour), Up: up, PausedUntil: slot.Add(45 * time.Minute)}, "due: made up: missed 2026-11-10 02:21 UTC while the schedule was paused"},
		{"not before", spread, Situation{Now: slot.Add(46 * time.Minute), Up: up, PausedUntil: slot.Add(45 * time.Minute)}, "not due: missed 2026-11-10 02:21 UTC while the schedule was paused, is made up at 2026-11-10 03:0"},
		{"while another runs", nightly, Situation{Now: slot.Add(time.Minute), Up: up, Running: "restore"}, "waits: due since 2026-11-10 02:15 UTC, and a restore is running"},
	} {
		s, err := New(c.settings, "3e11fa47-71ca-11e1-9e33-c80aa9429562")
		if err != nil {
			t.Fatal(err)
		}
		d := s.Decide(c.now)[0]
		got := d.Reason
		if d.Due {
			got = "due: " + got
		}
		if !strings.HasPrefix(got, c.want) {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
}

func TestOnlyOneIsDueAtOnce(t *testing.T) {
	s, err := New(Settings{Backup: "TZ=UTC 15 2 * * *", Verify: "TZ=UTC 15 2 * * *", On: Any}, "")
	if err != nil {
		t.Fatal(err)
	}
	now := at(t, "2026-11-10T02:15:30Z")
	all := s.Decide(Situation{Now: now, Up: now.Add(-time.Hour)})
	if !all[0].Due || all[1].Due || !strings.HasPrefix(all[1].Reason, "waits: due since 2026-11-10 02:15 UTC, and a backup is running") {
		t.Errorf("got %+v", all)
	}
}

// TestOwnIsNeverBefore: not even within the second.
func TestOwnIsNeverBefore(t *testing.T) {
	s, err := New(Settings{Spread: 20 * time.Minute}, "3e11fa47-71ca-11e1-9e33-c80aa9429562")
	if err != nil {
		t.Fatal(err)
	}
	mine := s.own(at(t, "2026-11-10T02:15:00Z"))
	for _, c := range []struct{ from, want time.Time }{
		{mine, mine}, {mine.Add(-time.Nanosecond), mine}, {mine.Add(time.Nanosecond), mine.Add(20 * time.Minute)}, {mine.Add(-20*time.Minute + time.Second), mine},
	} {
		if got := s.own(c.from); !got.Equal(c.want) {
			t.Errorf("own moment from %v: got %v, want %v", c.from, got, c.want)
		}
	}
}
