// Package schedule says when an operation is to be run, and why it is or is not.
//
// It has no clock, no goroutine and no memory: what the time is, what ran and what the server is
// are told to it, so that a sidecar that lost its state, was down or has a clock that leaps
// comes to the same answer.
package schedule

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"slices"
	"time"
)

// Settings is the section [schedule] of the configuration.
type Settings struct {
	Backup   string        `toml:"backup"`   // a line of cron; empty: none is run
	Verify   string        `toml:"verify"`   // the same
	Drill    string        `toml:"drill"`    // no operation yet
	Prune    string        `toml:"prune"`    // no operation yet
	On       string        `toml:"on"`       // which servers take backups: Replica, Primary or Any
	Spread   time.Duration `toml:"spread"`   // each server runs at its own offset within it; 0: at the time itself
	CatchUp  bool          `toml:"catch_up"` // what was missed is made up, once
	Fallback time.Duration `toml:"fallback"` // a group without a good backup for so long is backed up wherever; 0: never
}

// Defaults are those of a file that says nothing.
func Defaults() Settings {
	return Settings{On: Any, Spread: time.Hour, CatchUp: true, Fallback: 26 * time.Hour}
}

// The values of Settings.On.
const (
	Replica = "replica"
	Primary = "primary"
	Any     = "any"
)

// The operations of a schedule, in the order in which they are run when both are due.
const (
	Backup = "backup"
	Verify = "verify"
)

// CheckLine returns what is wrong with a line of cron, or nil. The empty line is none.
func CheckLine(text string) error {
	if text == "" {
		return nil
	}
	_, err := parseLine(text)
	return err
}

// Schedule is one server's. Its methods may be called from any goroutine.
type Schedule struct {
	settings Settings
	lines    []entry
	offset   time.Duration // this server's, less than settings.Spread
}

type entry struct {
	operation string
	line      line
}

// New reads the lines. The uuid is the server's and gives its offset; it is never that of
// another server in the same schedule, and the same at each start.
func New(s Settings, uuid string) (*Schedule, error) {
	made := &Schedule{settings: s, offset: offset(uuid, s.Spread)}
	for _, one := range []struct{ operation, text string }{{Backup, s.Backup}, {Verify, s.Verify}} {
		if one.text == "" {
			continue
		}
		l, err := parseLine(one.text)
		if err != nil {
			return nil, fmt.Errorf("read the schedule of %s, %q: %w", one.operation, one.text, err)
		}
		made.lines = append(made.lines, entry{one.operation, l})
	}
	return made, nil
}

// offset is a server's part of the spread, in whole seconds.
func offset(uuid string, spread time.Duration) time.Duration {
	seconds := uint64(spread / time.Second)
	if seconds == 0 {
		return 0
	}
	digest := sha256.Sum256([]byte(uuid))
	return time.Duration(binary.BigEndian.Uint64(digest[:8])%seconds) * time.Second
}

// Offset is how much later than its lines say this server runs.
func (s *Schedule) Offset() time.Duration { return s.offset }

// Run is a run to come.
type Run struct {
	Operation string
	Time      time.Time
}

// Next returns the first run of each operation after that time, the soonest first.
func (s *Schedule) Next(after time.Time) []Run {
	var all []Run
	for _, e := range s.lines {
		if t := e.line.next(after.Add(-s.offset)); !t.IsZero() {
			all = append(all, Run{e.operation, t.Add(s.offset)})
		}
	}
	slices.SortStableFunc(all, func(a, b Run) int { return a.Time.Compare(b.Time) })
	return all
}
