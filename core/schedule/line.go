package schedule

import (
	"errors"
	"fmt"
	"strings"
	"time"
	_ "time/tzdata" // a host or container without time zones still knows them

	cron "github.com/netresearch/go-cron"
)

// line is one line of cron in its time zone. The library reads it and steps through the times
// that a clock on the wall shows; which instants those are on a day when that clock is changed
// is decided here:
//
//   - a time that the clock leaps over is an hour later by that clock, as long after the time
//     before it as it would have been;
//   - a time that the clock shows twice is the first of the two, unless the line says every
//     hour: then both are meant, an hour apart.
type line struct {
	wall  cron.Schedule // of times in UTC that stand for what a clock on the wall shows
	zone  *time.Location
	twice bool
}

// change is more than any zone's clock is changed by at once.
const change = 3 * time.Hour

// parseLine reads the five fields of crontab(5) or a word such as @daily, after "CRON_TZ=ZONE "
// if they are not of the host's own zone. As in crontab(5) a line that restricts both the day
// of the month and that of the week means either.
func parseLine(text string) (line, error) {
	l := line{zone: time.Local}
	rest := strings.TrimSpace(text)
	if name, ok := zoneOf(rest); ok {
		var err error
		if l.zone, err = loadZone(name); err != nil {
			return line{}, err
		}
		_, rest, _ = strings.Cut(rest, " ")
		rest = strings.TrimSpace(rest)
	}
	if strings.HasPrefix(rest, "@every") {
		return line{}, errors.New("@every depends on when the sidecar was started: write five fields, such as \"0 * * * *\"")
	}
	parser, err := cron.TryNewParser(cron.Minute | cron.Hour | cron.Dom | cron.Month | cron.Dow | cron.Descriptor | cron.DowOrDom)
	if err != nil {
		return line{}, err
	}
	if _, ok := zoneOf(rest); ok {
		return line{}, errors.New("two time zones")
	}
	if l.wall, err = parser.Parse("CRON_TZ=UTC " + rest); err != nil {
		return line{}, err
	}
	fields := strings.Fields(rest)
	l.twice = fields[0] == "@hourly" || len(fields) > 1 && fields[1] == "*"
	if l.wall.Next(time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)).IsZero() {
		return line{}, errors.New("no such day ever comes")
	}
	return l, nil
}

func zoneOf(text string) (string, bool) {
	first, _, _ := strings.Cut(text, " ")
	name, ok := strings.CutPrefix(first, "CRON_TZ=")
	if !ok {
		name, ok = strings.CutPrefix(first, "TZ=")
	}
	return name, ok
}

func loadZone(name string) (*time.Location, error) {
	if name == "" || strings.EqualFold(name, "local") {
		return nil, fmt.Errorf("want a time zone by name, such as Europe/Berlin or UTC, have %q", name)
	}
	zone, err := time.LoadLocation(name)
	if err != nil {
		return nil, fmt.Errorf("no time zone %q is known, want one such as Europe/Berlin or UTC", name)
	}
	return zone, nil
}

// next is the first instant of the line after that one; zero if there is none for years.
func (l line) next(after time.Time) time.Time {
	from := l.shown(after)
	if l.offset(after.Add(-change)) != l.offset(after.Add(change)) {
		from = from.Add(-change) // what will be shown again, or comes late, stands before it on the wall
	}
	var best time.Time
	for wall := l.wall.Next(from); !wall.IsZero(); wall = l.wall.Next(wall) {
		if !best.IsZero() && wall.After(l.shown(best).Add(change)) {
			break
		}
		for _, t := range l.instants(wall) {
			if t.After(after) && (best.IsZero() || t.Before(best)) {
				best = t
			}
		}
		if !best.IsZero() && l.offset(best.Add(-change)) == l.offset(best.Add(change)) {
			break
		}
	}
	return best
}

// last is the last instant of the line that is not after that one; zero if there was none for years.
func (l line) last(until time.Time) time.Time {
	const day = 24 * time.Hour
	for _, back := range []time.Duration{time.Hour, day, 8 * day, 32 * day, 367 * day, 5 * 366 * day} {
		if at := l.next(until.Add(-back)); !at.IsZero() && !at.After(until) {
			return l.between(at, until)
		}
	}
	return time.Time{}
}

// between is the last instant that is not after until, if at is one that is not.
func (l line) between(at, until time.Time) time.Time {
	none := until // nothing lies after it, up to until
	for {
		next := l.next(at)
		if next.IsZero() || next.After(until) {
			return at
		}
		at = next
		if half := at.Add(none.Sub(at) / 2); half.After(at) {
			if next := l.next(half); next.IsZero() || next.After(until) {
				none = half
			} else {
				at = next
			}
		}
	}
}

// instants are those that the line means by what the wall shows.
func (l line) instants(wall time.Time) []time.Time {
	near := time.Date(wall.Year(), wall.Month(), wall.Day(), wall.Hour(), wall.Minute(), 0, 0, l.zone)
	before, after := l.offset(near.Add(-change)), l.offset(near.Add(change))
	first := wall.Add(-before).In(l.zone)
	second := wall.Add(-after).In(l.zone)
	switch shownFirst, shownSecond := l.shown(first).Equal(wall), l.shown(second).Equal(wall); {
	case shownFirst && shownSecond && !first.Equal(second) && l.twice:
		return []time.Time{first, second}
	case !shownFirst && shownSecond:
		return []time.Time{second}
	}
	return []time.Time{first}
}

// shown is what a clock on the wall shows, as a time in UTC.
func (l line) shown(t time.Time) time.Time { return t.UTC().Add(l.offset(t)) }

func (l line) offset(t time.Time) time.Duration {
	_, seconds := t.In(l.zone).Zone()
	return time.Duration(seconds) * time.Second
}
