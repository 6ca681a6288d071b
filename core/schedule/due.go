package schedule

import (
	"fmt"
	"time"
)

// Situation is what a decision depends on.
type Situation struct {
	Now         time.Time
	Up          time.Time // when the sidecar was started
	PausedUntil time.Time // zero: never was; a pause that is over counts too, what it held up is made up after it
	Running     string    // the operation that runs now; "": none
	Ran         []Ran     // what this server's history and repository tell of, in any order, failures too
	Newest      time.Time // when the newest good backup of the group was begun; zero: there is none

	// Role asks the server what it is. It is called only if the answer matters: a backup is due
	// and not every server takes them.
	Role func() (Role, error)
}

// Ran is a run that was begun.
type Ran struct {
	Operation string
	Slot      time.Time // the Decision.Slot that it was begun for; zero: not known, or by hand
	Started   time.Time
	Ended     time.Time // zero: not known
	Good      bool      // it ended well
}

// Role is what a server is at the moment. One that is neither (a member of a group that is
// recovering) takes no backup but where every server does.
type Role struct {
	Replica, Primary bool
	Text             string // "replica of db1:3306"
}

// Decision says whether an operation is to be run now.
type Decision struct {
	Operation string
	Due       bool
	Slot      time.Time // the scheduled time that was reached last; zero: none yet
	MadeUp    bool      // it is due, and was missed
	Next      time.Time // not due: when the answer may change by itself
	Reason    string    // in words
}

// late is how long after its time a run still is on time.
const late = 15 * time.Minute

// Decide returns a decision for each operation that has a line, at most one of them due. Who
// acts on it begins the operation and tells of it in Ran from then on, with its Slot; before
// anything is begun, what Ran and Newest are taken from is read again.
func (s *Schedule) Decide(now Situation) []Decision {
	if now.Newest.After(now.Now.Add(late)) {
		now.Newest = time.Time{} // of somebody's wrong clock: it proves no backup
	}
	var all []Decision
	for _, e := range s.lines {
		d := s.decide(e, now)
		if d.Due {
			now.Running = d.Operation
		}
		all = append(all, d)
	}
	return all
}

// Due returns the decision to run something, if there is one.
func Due(all []Decision) (Decision, bool) {
	for _, d := range all {
		if d.Due {
			return d, true
		}
	}
	return Decision{}, false
}

// decide asks in turn what may keep the last time that was reached from being run.
func (s *Schedule) decide(e entry, now Situation) Decision {
	base := e.line.last(now.Now.Add(-s.offset))
	d := Decision{Operation: e.operation}
	if next := e.line.next(now.Now.Add(-s.offset)); !next.IsZero() {
		d.Next = next.Add(s.offset)
	}
	if now.Now.Before(now.PausedUntil) {
		d.Next = now.PausedUntil
		return d.no("paused until %s", e.words(now.PausedUntil))
	}
	if base.IsZero() {
		return d.no("not due before %s", e.words(d.Next))
	}
	d.Slot = base.Add(s.offset)
	if ran := servedBy(d, now.Ran); ran != nil {
		return d.no("not due: the one of %s was begun at %s, the next is at %s", e.words(d.Slot), e.words(ran.Started), e.words(d.Next))
	}
	reason := "due since " + e.words(d.Slot)
	why, madeUp := s.missed(d.Slot, now)
	if why != "" {
		switch {
		case !s.settings.CatchUp:
			return d.no("not due: missed %s while %s, and catch_up is off", e.words(d.Slot), why)
		case now.Now.Before(madeUp):
			d.Next = earlier(d.Next, madeUp)
			return d.no("not due: missed %s while %s, is made up at %s", e.words(d.Slot), why, e.words(madeUp))
		}
		reason = fmt.Sprintf("made up: missed %s while %s", e.words(d.Slot), why)
	}
	if now.Running != "" {
		return d.no("waits: due since %s, and a %s is running", e.words(d.Slot), now.Running)
	}
	if e.operation == Backup && s.settings.On != Any {
		afterwards := why != "" || now.Now.Sub(d.Slot) > late
		if afterwards && !now.Newest.Before(base) {
			return d.no("not due: the group has a backup of %s, made since %s was missed", e.words(now.Newest), e.words(d.Slot))
		}
		fit, is, until := s.fit(now)
		if !fit {
			d.Next = earlier(d.Next, until)
			return d.no("%s", is)
		}
		if is != "" {
			reason += ": " + is
		}
	}
	d.Due, d.MadeUp, d.Next, d.Reason = true, why != "", time.Time{}, reason
	return d
}

func (e entry) words(t time.Time) string { return t.In(e.line.zone).Format("2006-01-02 15:04 MST") }

func (d Decision) no(format string, args ...any) Decision {
	d.Reason = fmt.Sprintf(format, args...)
	return d
}

// servedBy is the run that the time which was reached last had, or nil: one that was begun for
// it or since, or a good one that it fell into.
func servedBy(d Decision, ran []Ran) *Ran {
	for i, r := range ran {
		since := !r.Started.Before(d.Slot) && (d.Next.IsZero() || r.Started.Before(d.Next))
		within := r.Good && r.Started.Before(d.Slot) && !r.Ended.Before(d.Slot)
		if r.Operation == d.Operation && (since || within || r.Slot.Equal(d.Slot)) {
			return &ran[i]
		}
	}
	return nil
}

// missed says why nothing could be run at a time, "" if it could, and when that is made up: at
// the server's own offset again, else a fleet that comes back would run as one.
func (s *Schedule) missed(slot time.Time, now Situation) (why string, madeUp time.Time) {
	if slot.Before(now.Up) && !now.Up.After(now.Now) { // an Up to come is of a clock that was wrong
		why, madeUp = "the sidecar was down", s.own(now.Up)
	}
	if slot.Before(now.PausedUntil) && (why == "" || now.PausedUntil.After(now.Up)) {
		why, madeUp = "the schedule was paused", s.own(now.PausedUntil)
	}
	return why, madeUp
}

// own is the first moment at or after t that is this server's in the spread. It does not depend
// on t otherwise: a sidecar that is started again and again gets there all the same.
func (s *Schedule) own(t time.Time) time.Time {
	seconds := int64(s.settings.Spread / time.Second)
	if seconds == 0 {
		return t
	}
	from := t.Add(time.Second - 1).Unix()
	wait := (int64(s.offset/time.Second) - from) % seconds
	if wait < 0 {
		wait += seconds
	}
	return time.Unix(from+wait, 0)
}

// fit says whether this server is the one to take a backup, in words why although it is not
// of the kind asked for, and if not, when that changes without it.
func (s *Schedule) fit(now Situation) (fit bool, is string, until time.Time) {
	role, err := now.Role()
	if err != nil {
		return false, fmt.Sprintf("not due: what the server is cannot be read: %v", err), time.Time{}
	}
	if s.settings.On == Replica && role.Replica || s.settings.On == Primary && role.Primary {
		return true, "", time.Time{}
	}
	since, newest := now.Newest, "the newest backup of the group is %s old"
	if since.IsZero() {
		since, newest = now.Up, "the group has no backup, the sidecar is up for %s"
	}
	age := now.Now.Sub(since)
	is = fmt.Sprintf("not a %s but a %s: "+newest, s.settings.On, role.Text, ago(age))
	if s.settings.Fallback == 0 {
		return false, is, time.Time{}
	}
	return age >= s.settings.Fallback, is, since.Add(s.settings.Fallback)
}

// earlier is the earlier of two times that are known.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// ago is a duration as people say it: 3h, 45m.
func ago(d time.Duration) string {
	if d < time.Hour {
		return fmt.Sprintf("%dm", max(0, d)/time.Minute)
	}
	return fmt.Sprintf("%dh", d/time.Hour)
}
