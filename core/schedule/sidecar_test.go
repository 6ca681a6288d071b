package schedule

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
)

// sidecar is a daemon in a world whose time is simulated: true time goes on, minute by minute,
// and the clock shows it wrong by as much as the world says.
type sidecar struct {
	t        *testing.T
	schedule *Schedule
	round    time.Duration // from one look at the clock to the next
	up       time.Time
	paused   time.Time
	role     Role
	others   time.Time // the newest backup that another server of the group took
	takes    time.Duration
	fails    bool
	ran      []Ran
	busy     *Ran
	began    []string // each run in words
	reasons  []string // of each decision, where it differs from the one before
}

func newSidecar(t *testing.T, s Settings) *sidecar {
	t.Helper()
	made, err := New(s, "3e11fa47-71ca-11e1-9e33-c80aa9429562")
	if err != nil {
		t.Fatal(err)
	}
	return &sidecar{t: t, schedule: made, round: time.Minute, takes: 30 * time.Minute, role: Role{Replica: true, Text: "replica of db1"}}
}

// live is one round of the daemon's loop, when the clock shows that time.
func (d *sidecar) live(clock time.Time) {
	d.t.Helper()
	if d.up.IsZero() {
		d.up = clock
	}
	if d.busy != nil && clock.Sub(d.busy.Started) >= d.takes {
		d.busy.Ended, d.busy.Good = clock, !d.fails
		d.ran = append(d.ran, *d.busy)
		d.busy = nil
	}
	now := Situation{Now: clock, Up: d.up, PausedUntil: d.paused, Ran: d.ran, Newest: d.others, Role: func() (Role, error) { return d.role, nil }}
	if d.busy != nil {
		now.Running, now.Ran = d.busy.Operation, append(slices.Clone(d.ran), *d.busy)
	}
	for _, r := range d.ran {
		if r.Operation == Backup && r.Good && r.Started.After(now.Newest) {
			now.Newest = r.Started
		}
	}
	all := d.schedule.Decide(now)
	d.look(now, all)
	if run, ok := Due(all); ok {
		if d.busy != nil {
			d.t.Fatalf("%v: %s begins while %s runs", clock, run.Operation, d.busy.Operation)
		}
		d.busy = &Ran{Operation: run.Operation, Slot: run.Slot, Started: clock}
		word := run.Operation + " " + clock.Format(time.RFC3339)
		if run.MadeUp {
			word += " made up"
		}
		d.began = append(d.began, word)
	}
}

// look holds what every decision must keep.
func (d *sidecar) look(now Situation, all []Decision) {
	d.t.Helper()
	due := 0
	for _, one := range all {
		if one.Due {
			due++
		}
		if one.Reason == "" || !one.Due && !one.Next.IsZero() && one.Next.Before(now.Now) && now.Role == nil {
			d.t.Fatalf("%v: no reason, or one that is over: %+v", now.Now, one)
		}
		if words := one.Operation + ": " + one.Reason; !slices.Contains(d.reasons[max(0, len(d.reasons)-2):], words) {
			d.reasons = append(d.reasons, words)
		}
	}
	if due > 1 {
		d.t.Fatalf("%v: %d are due at once", now.Now, due)
	}
}

func (d *sidecar) die() { // with all that it had in memory; what is stored tells no slots
	if d.busy != nil {
		d.ran = append(d.ran, *d.busy)
		d.busy = nil
	}
	for i := range d.ran {
		d.ran[i].Slot = time.Time{}
	}
	d.up = time.Time{}
}

func (d *sidecar) lived(from, to time.Time) {
	d.t.Helper()
	for at := from; at.Before(to); at = at.Add(d.round) {
		d.live(at)
	}
}

func (d *sidecar) want(want ...string) {
	d.t.Helper()
	if !slices.Equal(d.began, want) {
		d.t.Errorf("%d runs, %d wanted; only got %q, only want %q; the decisions say\n  %s", len(d.began), len(want), without(d.began, want), without(want, d.began),
			strings.Join(d.reasons, "\n  "))
	}
}

func (d *sidecar) wantReason(want string) {
	d.t.Helper()
	if !slices.ContainsFunc(d.reasons, func(s string) bool { return strings.Contains(s, want) }) {
		d.t.Errorf("no decision says %q, they say\n  %s", want, strings.Join(d.reasons, "\n  "))
	}
}

func at(t *testing.T, text string) time.Time {
	t.Helper()
	moment, err := time.Parse(time.RFC3339, text)
	if err != nil {
		t.Fatal(err)
	}
	return moment
}

// TestSixtyDays lives through both changes of the clock in two zones: a run for each day at its
// time on the wall, and nothing else.
func TestSixtyDays(t *testing.T) {
	for _, c := range []struct{ zone, from string }{
		{"Europe/Berlin", "2026-03-01T00:00:00Z"}, {"Europe/Berlin", "2026-10-01T00:00:00Z"},
		{"America/New_York", "2026-02-20T00:00:00Z"}, {"America/New_York", "2026-10-10T00:00:00Z"},
	} {
		s := Defaults()
		s.Backup, s.Verify = "CRON_TZ="+c.zone+" 15 2 * * *", "CRON_TZ="+c.zone+" 0 5 * * SUN"
		d := newSidecar(t, s)
		from := at(t, c.from)
		d.ran = []Ran{{Operation: Backup, Started: from.Add(-time.Hour), Good: true}, {Operation: Verify, Started: from.Add(-time.Hour)}}
		d.round = 5 * time.Minute
		d.lived(from, from.AddDate(0, 0, 60))
		loc, err := time.LoadLocation(c.zone)
		if err != nil {
			t.Fatal(err)
		}
		var want []string
		for day := from.In(loc); day.Before(from.AddDate(0, 0, 62)); day = day.AddDate(0, 0, 1) {
			for _, one := range []struct {
				operation string
				time      time.Time
				is        bool
			}{
				{Backup, quarterPastTwo(time.Date(day.Year(), day.Month(), day.Day(), 0, 0, 0, 0, loc)), true},
				{Verify, time.Date(day.Year(), day.Month(), day.Day(), 5, 0, 0, 0, loc), day.Weekday() == time.Sunday},
			} {
				slot := one.time.Add(d.schedule.Offset()).UTC()
				if began := slot.Add(d.round - 1).Truncate(d.round); one.is && !began.Before(from) && began.Before(from.AddDate(0, 0, 60)) {
					want = append(want, one.operation+" "+began.Format(time.RFC3339))
				}
			}
		}
		if len(want) < 66 {
			t.Fatalf("only %d runs are wanted", len(want))
		}
		d.want(want...)
	}
}

// quarterPastTwo is when the wall shows it first, or as long after midnight if the clock leaps over it.
func quarterPastTwo(midnight time.Time) time.Time {
	for at := midnight; at.Day() == midnight.Day(); at = at.Add(time.Minute) {
		if at.Hour() == 2 && at.Minute() == 15 {
			return at
		}
	}
	return midnight.Add(2*time.Hour + 15*time.Minute)
}

// TestTwentyFourHours: each half hour, over the night in which Lord Howe's clock goes back.
func TestTwentyFourHours(t *testing.T) {
	s := Settings{Backup: "CRON_TZ=Australia/Lord_Howe */30 * * * *", On: Any, CatchUp: true}
	d := newSidecar(t, s)
	d.takes = 10 * time.Minute
	from := at(t, "2026-04-04T12:00:00Z")
	d.lived(from, from.Add(24*time.Hour))
	var want []string
	for slot := from; slot.Before(from.Add(24 * time.Hour)); slot = slot.Add(30 * time.Minute) {
		want = append(want, "backup "+slot.Format(time.RFC3339))
	}
	d.want(want...)
}

func TestWhatIsMissedIsMadeUpOnce(t *testing.T) {
	s := Settings{Backup: "TZ=UTC 15 2 * * *", On: Any, CatchUp: true}
	night := at(t, "2026-11-10T00:00:00Z")
	down := func(s Settings) *sidecar { // from the morning of the 10th to the afternoon of the 13th
		d := newSidecar(t, s)
		d.ran = []Ran{{Operation: Backup, Started: night.Add(-20 * time.Hour), Good: true}}
		d.lived(night, night.Add(5*time.Hour))
		d.die()
		d.lived(at(t, "2026-11-13T14:00:00Z"), at(t, "2026-11-13T15:00:00Z"))
		d.die()
		d.lived(at(t, "2026-11-13T15:01:00Z"), at(t, "2026-11-14T05:00:00Z"))
		return d
	}
	d := down(s)
	d.want("backup 2026-11-10T02:15:00Z", "backup 2026-11-13T14:00:00Z made up", "backup 2026-11-14T02:15:00Z")
	d.wantReason("made up: missed 2026-11-13 02:15 UTC while the sidecar was down")
	s.CatchUp = false
	d = down(s)
	d.want("backup 2026-11-10T02:15:00Z", "backup 2026-11-14T02:15:00Z")
	d.wantReason("missed 2026-11-13 02:15 UTC while the sidecar was down, and catch_up is off")
	s.CatchUp, s.Spread = true, 20*time.Minute
	d = down(s)
	d.wantReason("missed 2026-11-13 02:21 UTC while the sidecar was down, is made up at 2026-11-13 14:0")
	d.want("backup 2026-11-10T02:22:00Z", "backup 2026-11-13T14:07:00Z made up", "backup 2026-11-14T02:22:00Z")
}

func TestAPauseHoldsUpAndIsMadeUpFor(t *testing.T) {
	d := newSidecar(t, Settings{Backup: "TZ=UTC 15 2 * * *", On: Any, CatchUp: true})
	night := at(t, "2026-11-10T00:00:00Z")
	d.ran = []Ran{{Operation: Backup, Started: night.Add(-20 * time.Hour), Good: true}}
	d.paused = at(t, "2026-11-12T06:00:00Z")
	d.lived(night, at(t, "2026-11-13T12:00:00Z"))
	d.want("backup 2026-11-12T06:00:00Z made up", "backup 2026-11-13T02:15:00Z")
	d.wantReason("paused until 2026-11-12 06:00 UTC")
	d.wantReason("made up: missed 2026-11-12 02:15 UTC while the schedule was paused")
}

func TestARunLongerThanTheInterval(t *testing.T) {
	d := newSidecar(t, Settings{Backup: "TZ=UTC 0 * * * *", Verify: "TZ=UTC 30 4 * * *", On: Any, CatchUp: true})
	d.takes = 90 * time.Minute
	night := at(t, "2026-11-10T00:00:00Z")
	d.ran = []Ran{{Operation: Verify, Started: night.Add(-time.Hour)}}
	d.lived(night, night.Add(8*time.Hour))
	// What a good backup ran into is done; what a verification was in the way of is not.
	d.want("backup 2026-11-10T00:00:00Z", "backup 2026-11-10T02:00:00Z", "backup 2026-11-10T04:00:00Z",
		"verify 2026-11-10T05:30:00Z", "backup 2026-11-10T07:00:00Z")
	d.wantReason("backup: waits: due since 2026-11-10 06:00 UTC, and a verify is running")
	d.wantReason("verify: waits: due since 2026-11-10 04:30 UTC, and a backup is running")
}

func TestAFailureIsNotRepeatedBeforeItsNextTime(t *testing.T) {
	d := newSidecar(t, Settings{Backup: "TZ=UTC 15 2 * * *", On: Any, CatchUp: true})
	night := at(t, "2026-11-10T00:00:00Z")
	d.ran, d.fails = []Ran{{Operation: Backup, Started: night.Add(-20 * time.Hour)}}, true
	d.lived(night, night.Add(12*time.Hour))
	d.die()
	d.lived(night.Add(13*time.Hour), night.Add(27*time.Hour))
	d.want("backup 2026-11-10T02:15:00Z", "backup 2026-11-11T02:15:00Z")
}

func TestClocksThatLeap(t *testing.T) {
	s := Settings{Backup: "TZ=UTC 15 2 * * *", On: Any, CatchUp: true}
	night := at(t, "2026-11-10T00:00:00Z")
	begin := func() *sidecar {
		d := newSidecar(t, s)
		d.ran = []Ran{{Operation: Backup, Started: night.Add(-20 * time.Hour), Good: true}}
		return d
	}
	t.Run("back over the time of the run", func(t *testing.T) {
		d := begin()
		d.lived(night, night.Add(3*time.Hour))
		d.lived(night.Add(time.Hour), night.Add(10*time.Hour))
		d.want("backup 2026-11-10T02:15:00Z")
	})
	t.Run("back while it begins", func(t *testing.T) {
		d := begin()
		d.lived(night, night.Add(2*time.Hour+15*time.Minute))
		d.live(night.Add(2*time.Hour + 15*time.Minute))
		d.busy.Started = d.busy.Started.Add(-3 * time.Second)
		d.lived(night.Add(2*time.Hour+14*time.Minute), night.Add(10*time.Hour))
		d.want("backup 2026-11-10T02:15:00Z")
	})
	t.Run("forward over some days", func(t *testing.T) {
		d := begin()
		d.lived(night, night.Add(time.Hour))
		d.lived(night.Add(75*time.Hour), night.Add(100*time.Hour))
		d.want("backup 2026-11-13T03:00:00Z", "backup 2026-11-14T02:15:00Z")
	})
	t.Run("years forward, a backup, and back", func(t *testing.T) {
		d := begin()
		d.lived(night.AddDate(4, 0, 0), night.AddDate(4, 0, 0).Add(3*time.Hour))
		d.lived(night, night.Add(30*time.Hour))
		d.want("backup 2030-11-10T00:00:00Z made up", "backup 2030-11-10T02:15:00Z", "backup 2026-11-10T02:15:00Z", "backup 2026-11-11T02:15:00Z")
	})
	t.Run("from the epoch at boot", func(t *testing.T) {
		d := begin()
		d.lived(time.Unix(60, 0).UTC(), time.Unix(600, 0).UTC())
		d.began = nil
		d.lived(night, night.Add(10*time.Hour))
		d.want("backup 2026-11-10T02:15:00Z")
	})
}

func TestOnAReplica(t *testing.T) {
	s := Settings{Backup: "TZ=UTC 15 2 * * *", On: Replica, CatchUp: true, Fallback: 26 * time.Hour}
	night := at(t, "2026-11-10T00:00:00Z")
	primary := Role{Primary: true, Text: "primary"}
	t.Run("a primary leaves it to others", func(t *testing.T) {
		d := newSidecar(t, s)
		d.role = primary
		for day := range 5 {
			d.others = night.AddDate(0, 0, day-1).Add(3 * time.Hour)
			d.lived(night.AddDate(0, 0, day).Add(2*time.Hour), night.AddDate(0, 0, day).Add(3*time.Hour))
		}
		d.want()
		d.wantReason("not a replica but a primary: the newest backup of the group is 23h old")
	})
	t.Run("until they do not", func(t *testing.T) {
		d := newSidecar(t, s)
		d.role, d.others = primary, night.Add(3*time.Hour)
		d.lived(night.Add(4*time.Hour), night.Add(60*time.Hour))
		d.want("backup 2026-11-11T05:00:00Z", "backup 2026-11-12T07:00:00Z")
		d.wantReason("due since 2026-11-11 02:15 UTC: not a replica but a primary: the newest backup of the group is 26h old")
	})
	t.Run("never", func(t *testing.T) {
		s := s
		s.Fallback = 0
		d := newSidecar(t, s)
		d.role, d.others = primary, night.Add(3*time.Hour)
		d.lived(night.Add(4*time.Hour), night.Add(200*time.Hour))
		d.want()
	})
	t.Run("no backup at all", func(t *testing.T) {
		d := newSidecar(t, s)
		d.role = primary
		d.lived(night, night.Add(27*time.Hour))
		d.want("backup 2026-11-11T02:00:00Z")
		d.wantReason("the group has no backup, the sidecar is up for 3h")
	})
	t.Run("nobody believes a backup to come", func(t *testing.T) {
		d := newSidecar(t, s)
		d.role, d.others = primary, night.AddDate(1, 0, 0)
		d.lived(night, night.Add(27*time.Hour))
		d.want("backup 2026-11-11T02:00:00Z")
	})
	t.Run("after a failover by day", func(t *testing.T) {
		d := newSidecar(t, s)
		d.role, d.others = primary, night.Add(2*time.Hour+20*time.Minute)
		d.lived(night.Add(2*time.Hour), night.Add(9*time.Hour))
		d.role = Role{Replica: true, Text: "replica of db2"}
		d.lived(night.Add(9*time.Hour), night.Add(27*time.Hour))
		d.want("backup 2026-11-11T02:15:00Z")
		d.wantReason("not due: the group has a backup of 2026-11-10 02:20 UTC, made since 2026-11-10 02:15 UTC was missed")
	})
	t.Run("recovering", func(t *testing.T) {
		d := newSidecar(t, s)
		d.role, d.others = Role{Text: "group member that is RECOVERING"}, night.Add(-22*time.Hour)
		d.lived(night.Add(2*time.Hour), night.Add(3*time.Hour))
		d.role = Role{Replica: true}
		d.lived(night.Add(3*time.Hour), night.Add(4*time.Hour))
		d.want("backup 2026-11-10T03:00:00Z")
	})
	t.Run("the server is away", func(t *testing.T) {
		d := newSidecar(t, s)
		now := Situation{Now: night.Add(3 * time.Hour), Up: night, Role: func() (Role, error) { return Role{}, fmt.Errorf("connection refused") }}
		if _, due := Due(d.schedule.Decide(now)); due {
			t.Error("due without knowing what the server is")
		}
	})
}

// TestAnySchedule draws lines, downtimes, leaps and lengths. Whatever they are: one run at a time,
// none twice for one slot, and none missing where the sidecar was up and the clock went well.
func TestAnySchedule(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	draw := rand.New(rand.NewPCG(seed, 0))
	pick := func(all ...string) string { return all[draw.IntN(len(all))] }
	for range 60 {
		s := Settings{On: Any, CatchUp: draw.IntN(4) > 0, Spread: time.Duration(draw.IntN(90)) * time.Minute}
		s.Backup = "CRON_TZ=" + pick("Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "UTC") + " " +
			fmt.Sprint(draw.IntN(60)) + " " + pick("*", "2", "*/3", "1,14", "0") + " * * *"
		d := newSidecar(t, s)
		d.takes = time.Duration(1+draw.IntN(100)) * time.Minute
		from := at(t, pick("2026-03-28T00:00:00Z", "2026-03-07T00:00:00Z", "2026-10-24T00:00:00Z", "2026-10-31T00:00:00Z", "2026-04-04T00:00:00Z"))
		now, slots := from, map[string]bool{}
		step := func() {
			before := len(d.began)
			d.live(now)
			if len(d.began) == before {
				return
			}
			slot := d.busy.Slot.String()
			if slots[slot] {
				t.Fatalf("%s: twice for %s\n%s", s.Backup, slot, strings.Join(d.began, "\n"))
			}
			slots[slot] = true
		}
		for now.Before(from.AddDate(0, 0, 4)) {
			switch draw.IntN(300) {
			case 0:
				d.die()
				now = now.Add(time.Duration(draw.IntN(2000)) * time.Minute)
			case 1:
				now = now.Add(-time.Duration(draw.IntN(50)) * time.Second)
			default:
				now = now.Add(time.Duration(1+draw.IntN(60)) * time.Second * 2)
			}
			step()
		}
		served(t, d, s, from, now)
	}
}

// served makes sure that each time of the schedule at which the sidecar had been up for long, and idle, was run.
func served(t *testing.T, d *sidecar, s Settings, from, to time.Time) {
	t.Helper()
	for _, next := 0, d.schedule.Next(d.up); len(next) > 0 && next[0].Time.Before(to.Add(-5*time.Minute)); next = d.schedule.Next(next[0].Time) {
		slot := next[0].Time
		all := d.ran
		if d.busy != nil {
			all = append(slices.Clone(all), *d.busy)
		}
		if !slices.ContainsFunc(all, func(r Ran) bool {
			return r.Slot.Equal(slot) || r.Started.Before(slot) && (r.Ended.IsZero() || !r.Ended.Before(slot)) || !r.Started.Before(slot) && r.Started.Before(d.schedule.Next(slot)[0].Time)
		}) {
			t.Errorf("%s, spread %v, from %v, up since %v: nothing for %v\n%s\n%s", s.Backup, s.Spread, from, d.up, slot, strings.Join(d.began, "\n"), strings.Join(d.reasons, "\n"))
		}
	}
}

func TestEachServerHasItsOwnOffset(t *testing.T) {
	const servers = 200
	hit := map[time.Duration]int{}
	for i := range servers {
		s, err := New(Settings{Spread: time.Hour}, fmt.Sprintf("3e11fa47-71ca-11e1-9e33-%012d", i))
		if err != nil {
			t.Fatal(err)
		}
		if s.Offset() < 0 || s.Offset() >= time.Hour {
			t.Fatalf("offset %v", s.Offset())
		}
		hit[s.Offset().Truncate(10*time.Minute)]++
	}
	for slot := time.Duration(0); slot < time.Hour; slot += 10 * time.Minute {
		if n := hit[slot]; n < servers/12 || n > servers/3 {
			t.Errorf("%d of %d servers run in the ten minutes from %v on", n, servers, slot)
		}
	}
}
