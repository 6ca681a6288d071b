package serve

import (
	"context"
	"encoding/json"
	"sync"
	"time"

	"github.com/remora-backup/remora/core/api"
	"github.com/remora-backup/remora/core/run"
	"github.com/remora-backup/remora/core/schedule"
	"github.com/remora-backup/remora/core/state"
)

// Scheduling is what a schedule asks a configuration for.
type Scheduling interface {
	// Schedule is nil if nothing is scheduled. It may need the server, for its uuid.
	Schedule(ctx context.Context) (*schedule.Schedule, error)
	// Stored is what the repository tells of runs, and when the newest good backup was begun.
	Stored(ctx context.Context) (ran []schedule.Ran, newest time.Time, err error)
	Role(ctx context.Context) (schedule.Role, error)
}

// timetable begins what is due. The repository and the history say what was run; what this life
// of the sidecar began is known without them.
type timetable struct {
	up      time.Time // when the sidecar was started
	works   func() Scheduling
	now     func() (running string, paused time.Time, server string)
	history func(context.Context) ([]state.Operation, error)
	begin   func(asked) error
	say     func(string)
	wake    chan struct{}

	ran    []schedule.Ran // begun in this life
	newest time.Time
	again  time.Time // what could not be begun is not tried before
	said   string

	mu   sync.Mutex
	next *api.Scheduled
}

// Timings of the timetable.
const (
	turnAtLeast = 10 * time.Minute // it looks again this often, and
	turnWaiting = time.Minute      // while something that is due waits
	turnWithin  = 2 * time.Minute  // bounds what one look asks the server and the repository
	mostRan     = 20               // runs that are remembered without the history
)

// follow looks at the clock until ctx ends.
func (t *timetable) follow(ctx context.Context) {
	for {
		turn, cancel := context.WithTimeout(ctx, turnWithin)
		until := t.turn(turn)
		cancel()
		wait := turnWaiting
		if !until.IsZero() {
			wait = min(max(time.Until(until), time.Second), turnAtLeast)
		}
		select {
		case <-time.After(wait):
		case <-t.wake:
		case <-ctx.Done():
			return
		}
	}
}

// look lets it look at once.
func (t *timetable) look() {
	select {
	case t.wake <- struct{}{}:
	default:
	}
}

// following is the next run.
func (t *timetable) following() *api.Scheduled {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.next
}

// turn begins what is due, and returns when to look again.
func (t *timetable) turn(ctx context.Context) time.Time {
	if time.Now().Before(t.again) {
		return t.again
	}
	works := t.works()
	plan, err := works.Schedule(ctx)
	if err != nil {
		t.tell("The schedule waits: " + err.Error())
		return time.Time{}
	}
	t.foresee(plan)
	if plan == nil {
		return time.Now().Add(turnAtLeast) // a reload wakes it
	}
	if t.newest.IsZero() { // else the time without a backup would be counted from our own start
		if _, newest, err := works.Stored(ctx); err == nil {
			t.newest = newest
		}
	}
	all := t.decide(ctx, plan, works, nil)
	d, due := schedule.Due(all)
	if !due {
		return soonest(all)
	}
	stored, newest, err := works.Stored(ctx) // others back up the same group
	if err != nil {
		t.tell("The " + d.Operation + " that is due waits for the repository: " + err.Error())
		return time.Time{}
	}
	t.newest = newest
	all = t.decide(ctx, plan, works, stored)
	if d, due = schedule.Due(all); !due {
		return soonest(all)
	}
	if _, _, server := t.now(); server != up {
		t.tell("The " + d.Operation + " that is due waits for the server.")
		return time.Time{}
	}
	t.start(d)
	return time.Time{}
}

func (t *timetable) start(d schedule.Decision) {
	a := asked{Operation: d.Operation, Slot: d.Slot.UTC().Format(time.RFC3339)}
	if d.Operation == schedule.Verify {
		a.Backup = "latest"
	}
	if err := t.begin(a); err != nil {
		t.tell("The " + d.Operation + " that is due could not be begun: " + err.Error())
		t.again = time.Now().Add(turnWaiting)
		return
	}
	t.ran = append(t.ran, schedule.Ran{Operation: d.Operation, Slot: d.Slot, Started: time.Now()})
	t.ran = t.ran[max(0, len(t.ran)-mostRan):]
	t.tell("A " + d.Operation + " begins: " + d.Reason)
}

func (t *timetable) decide(ctx context.Context, plan *schedule.Schedule, works Scheduling, stored []schedule.Ran) []schedule.Decision {
	running, paused, _ := t.now()
	ran := append(append([]schedule.Ran{}, t.ran...), stored...)
	if all, err := t.history(ctx); err == nil { // without it the repository tells of backups
		cut := map[time.Time]bool{}
		for _, o := range all {
			r := ranOf(o)
			if cutShort(o) && !r.Slot.IsZero() && !cut[r.Slot] {
				cut[r.Slot] = true // it is begun again, once
				continue
			}
			ran = append(ran, r)
		}
	}
	return plan.Decide(schedule.Situation{
		Now: time.Now(), Up: t.up, PausedUntil: paused, Running: running, Ran: ran, Newest: t.newest,
		Role: func() (schedule.Role, error) { return works.Role(ctx) },
	})
}

func ranOf(o state.Operation) schedule.Ran {
	var a asked
	_ = json.Unmarshal([]byte(o.Request), &a) // of a command there is none
	slot, _ := time.Parse(time.RFC3339, a.Slot)
	return schedule.Ran{
		Operation: o.Operation, Slot: slot, Started: o.Started, Ended: o.Ended,
		Good: o.State == run.Complete || o.State == run.CompleteWithWarnings,
	}
}

func (t *timetable) foresee(plan *schedule.Schedule) {
	var next *api.Scheduled
	if plan != nil {
		if all := plan.Next(time.Now()); len(all) > 0 {
			next = &api.Scheduled{Operation: all[0].Operation, Time: all[0].Time}
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.next = next
}

// soonest is when one of the decisions may change by itself; the zero time if none does.
func soonest(all []schedule.Decision) (first time.Time) {
	for _, d := range all {
		if !d.Next.IsZero() && (first.IsZero() || d.Next.Before(first)) {
			first = d.Next
		}
	}
	return first
}

// tell says what is new.
func (t *timetable) tell(text string) {
	if text != t.said {
		t.said = text
		t.say(text)
	}
}
