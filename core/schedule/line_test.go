package schedule

import (
	"slices"
	"strings"
	"testing"
	"time"

	cron "github.com/netresearch/go-cron"
)

// oracle is what a line means, asked of each minute: its times as the wall shows them, the
// first of two, later by as much as the clock leapt over them.
func oracle(t *testing.T, zone string, hours, minutes []int, every bool, from, to time.Time) []string {
	t.Helper()
	loc, err := time.LoadLocation(zone)
	if err != nil {
		t.Fatal(err)
	}
	match := func(hour, minute int) bool {
		return (every || slices.Contains(hours, hour)) && slices.Contains(minutes, minute)
	}
	shown := map[string]bool{}
	found := map[int64]bool{}
	for at := from.Add(-48 * time.Hour); !at.After(to); at = at.Add(time.Minute) {
		now, before := at.In(loc), at.Add(-time.Minute).In(loc)
		wall := now.Format("2006-01-02 15:04")
		if match(now.Hour(), now.Minute()) && (every || !shown[wall]) {
			found[at.Unix()] = true
		}
		shown[wall] = true
		_, is := now.Zone()
		_, was := before.Zone()
		for leapt := was; leapt < is; leapt += 60 { // what would have been shown in this minute and the next ones
			if gone := at.Add(time.Duration(leapt) * time.Second).UTC(); match(gone.Hour(), gone.Minute()) {
				found[at.Add(time.Duration(leapt-was)*time.Second).Unix()] = true
			}
		}
	}
	var all []string
	for at := from.Add(time.Minute); !at.After(to); at = at.Add(time.Minute) {
		if found[at.Unix()] {
			all = append(all, at.In(loc).Format(time.RFC3339))
		}
	}
	return all
}

func TestLinesMeanTheSameOnDaysWhenTheClockIsChanged(t *testing.T) {
	for _, c := range []struct {
		line           string
		hours, minutes []int
		every          bool
	}{
		{"15 2 * * *", []int{2}, []int{15}, false},
		{"0 0 * * *", []int{0}, []int{0}, false},
		{"@daily", []int{0}, []int{0}, false},
		{"5,45 1-3 * * *", []int{1, 2, 3}, []int{5, 45}, false},
		{"0 */2 * * *", []int{0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22}, []int{0}, false},
		{"20 * * * *", nil, []int{20}, true},
		{"@hourly", nil, []int{0}, true},
		{"*/15 * * * *", nil, []int{0, 15, 30, 45}, true},
	} {
		for zone, days := range map[string][]string{
			"Europe/Berlin":       {"2026-03-29", "2026-10-25"},
			"America/New_York":    {"2026-03-08", "2026-11-01"},
			"America/Sao_Paulo":   {"2018-11-04", "2018-02-18"}, // at midnight
			"Australia/Lord_Howe": {"2026-10-04", "2026-04-05"}, // by half an hour
			"Asia/Kathmandu":      {"2026-03-29"},
			"UTC":                 {"2026-03-29"},
		} {
			for _, day := range days {
				from, err := time.Parse(time.DateOnly, day)
				if err != nil {
					t.Fatal(err)
				}
				from = from.Add(-36 * time.Hour)
				to := from.Add(96 * time.Hour)
				l, err := parseLine("CRON_TZ=" + zone + " " + c.line)
				if err != nil {
					t.Fatal(err)
				}
				var got []string
				for at := l.next(from); !at.After(to); at = l.next(at) {
					got = append(got, at.Format(time.RFC3339))
				}
				if want := oracle(t, zone, c.hours, c.minutes, c.every, from, to); !slices.Equal(got, want) {
					t.Errorf("%s in %s about %s: only got %v, only want %v", c.line, zone, day, without(got, want), without(want, got))
				}
			}
		}
	}
}

func without(all, these []string) []string {
	return slices.DeleteFunc(slices.Clone(all), func(s string) bool { return slices.Contains(these, s) })
}

// TestLastIsTheOneBeforeNext asks at each half minute: what is last has next, and nothing between.
func TestLastIsTheOneBeforeNext(t *testing.T) {
	for _, text := range []string{
		"CRON_TZ=Europe/Berlin 15 2 * * *", "CRON_TZ=Australia/Lord_Howe 20 * * * *", "CRON_TZ=America/New_York 0 1 1 * *", "TZ=UTC 0 12 * * SUN",
	} {
		l, err := parseLine(text)
		if err != nil {
			t.Fatal(err)
		}
		for at := time.Date(2026, 10, 24, 12, 0, 30, 0, time.UTC); at.Before(time.Date(2026, 10, 26, 12, 0, 0, 0, time.UTC)); at = at.Add(7 * time.Minute) {
			last, next := l.last(at), l.next(at)
			if last.After(at) || !next.After(at) || !l.next(last).Equal(next) || !l.last(last).Equal(last) || !l.last(next).Equal(next) {
				t.Fatalf("%s at %v: last is %v, next is %v", text, at, last, next)
			}
		}
	}
}

// TestLastIsFoundInFewSteps: a line of many times in one month is asked for in another.
func TestLastIsFoundInFewSteps(t *testing.T) {
	l, err := parseLine("TZ=UTC * * * 1 *")
	if err != nil {
		t.Fatal(err)
	}
	counting := &counter{Schedule: l.wall}
	l.wall = counting
	if got, want := l.last(time.Date(2026, 12, 20, 0, 0, 30, 0, time.UTC)), time.Date(2026, 1, 31, 23, 59, 0, 0, time.UTC); !got.Equal(want) || counting.steps > 200 {
		t.Errorf("got %v after %d steps, want %v", got, counting.steps, want)
	}
}

// counter counts the steps of the library.
type counter struct {
	cron.Schedule
	steps int
}

func (c *counter) Next(t time.Time) time.Time {
	c.steps++
	return c.Schedule.Next(t)
}

func TestEitherDayIsMeantAsInCrontab(t *testing.T) {
	l, err := parseLine("TZ=UTC 0 0 13 * FRI")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for at := l.next(time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)); at.Month() == time.November; at = l.next(at) {
		got = append(got, at.Format("2"))
	}
	if want := "6 13 20 27"; strings.Join(got, " ") != want {
		t.Errorf("got %v, want %s", got, want)
	}
}

func FuzzLine(f *testing.F) {
	for _, s := range []string{"CRON_TZ=Europe/Berlin 15 2 * * *", "TZ=", "CRON_TZ= ", "@daily", "@every 1h", "* * * * *", "0 0 31 2 *", "TZ=UTC TZ=UTC @daily", "H H * * *"} {
		f.Add(s)
	}
	at := time.Date(2026, 3, 29, 0, 30, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, text string) {
		l, err := parseLine(text)
		if err != nil {
			return
		}
		if next := l.next(at); !next.IsZero() && (!next.After(at) || !l.last(next).Equal(next)) {
			t.Errorf("%q: after %v comes %v, whose last is %v", text, at, next, l.last(next))
		}
	})
}
