package backup

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/remora-backup/remora/core/code"
	"github.com/remora-backup/remora/core/repo"
	"github.com/remora-backup/remora/core/run"
	"github.com/remora-backup/remora/core/server"
)

// freshness says how old the data of a replica may be.
type freshness struct {
	atMost time.Duration // the delay that is configured added
	refuse bool          // what is older; else it is warned of
}

// check tells, before anything is copied, of a replica that is stopped, broken, or too far
// behind its source.
func (f freshness) check(ctx context.Context, t *run.Task, s *server.Server) error {
	logs, err := s.LogStatus(ctx)
	if err != nil {
		return err
	}
	channels, err := channelsOf(ctx, s, logs.Channels, nil)
	if err != nil {
		return err
	}
	var stale []string
	for _, c := range channels {
		if why := f.stale(c); why != "" {
			stale = append(stale, why)
		}
	}
	if len(stale) == 0 {
		return nil
	}
	text := "the data of this replica are old: " + strings.Join(stale, "; ")
	if f.refuse {
		return code.Hint(code.Version, `let the replica catch up, or say [backup] stale = "warn"`, "%s", text)
	}
	t.Warn("%s", text)
	return nil
}

// stale says why the data that come by the channel are old, or "".
func (f freshness) stale(c server.Channel) string {
	name := fmt.Sprintf("channel %q of %s", c.Name, cmp.Or(c.SourceHost, "an unknown source"))
	if !c.Age.Applied.IsZero() {
		name += ", applied up to " + c.Age.Applied.UTC().Format(time.DateTime) + " UTC,"
	}
	switch {
	case !c.ApplierRunning:
		return name + " applies nothing" + because(c.Applier)
	case c.Receiver.State != "Yes":
		return name + " receives nothing" + because(c.Receiver)
	case !c.LagKnown:
		return name + " does not say how far it is behind"
	case c.Lag > f.atMost+c.Delay:
		return fmt.Sprintf("%s is %v behind, %v are allowed", name, c.Lag, f.atMost+c.Delay)
	}
	return ""
}

func because(t server.Thread) string {
	if t.Error == "" {
		return ""
	}
	return fmt.Sprintf(" (error %d: %.200s)", t.Errno, t.Error)
}

// dataTime is how new the data are at the sync point; zero if a replica cannot tell. status is
// that of a moment before, so nothing is called newer than it is.
func dataTime(point time.Time, status []server.Channel) time.Time {
	if len(status) == 0 {
		return point
	}
	var newest time.Time
	for _, c := range status {
		at := c.Age.Applied
		if at.IsZero() && c.ApplierRunning && c.Receiver.State == "Yes" && c.LagKnown {
			at = point.Add(-c.Lag)
		}
		if at.After(newest) {
			newest = at
		}
	}
	return newest
}

// channelsOf returns what the channels of log_status say of themselves: status, if it tells of
// the same ones, or what they say now. One can have been made or forgotten between the two; of
// one that only either of them names position or source would be unknown.
func channelsOf(ctx context.Context, s *server.Server, at, status []server.Channel) (_ []server.Channel, err error) {
	if server.SameChannels(at, status) == nil && len(status) > 0 {
		return status, nil
	}
	if status, err = s.ReplicaStatus(ctx); err != nil {
		return nil, err
	}
	if err := server.SameChannels(at, status); err != nil {
		return nil, code.Hint(code.Integrity, "back up again while no replication channel is made or reset; if it stays so, compare performance_schema.log_status with SHOW REPLICA STATUS",
			"look at the replication channels: %w", err)
	}
	return status, nil
}

// describeChannels puts what log_status says at the sync point and what the channels say of
// themselves together. Those of group replication say nothing.
func describeChannels(at, status []server.Channel) (all []repo.Channel) {
	for _, c := range at {
		d := repo.Channel{
			Name: c.Name, RelayLogFile: c.RelayLogFile, RelayLogPos: c.RelayLogPos, SourceLogFile: c.SourceLogFile, SourceLogPos: c.SourceLogPos,
		}
		if i := slices.IndexFunc(status, func(s server.Channel) bool { return s.Name == c.Name }); i >= 0 {
			s := status[i]
			if d.SourceLogFile == "" {
				d.SourceLogFile, d.SourceLogPos = s.SourceLogFile, s.SourceLogPos
			}
			d.SourceHost, d.SourcePort, d.SourceUUID = s.SourceHost, s.SourcePort, s.SourceUUID
			d.ExecutedGTIDs, d.RetrievedGTIDs = s.Executed, s.Received
			d.Receiver, d.Applier, d.Error = s.Receiver.State, s.Applier.State, cmp.Or(s.Applier.Error, s.Receiver.Error)
			d.Delay, d.Applied = s.Delay.Seconds(), s.Age.Applied
			if s.LagKnown {
				lag := s.Lag.Seconds()
				d.Lag = &lag
			}
		}
		all = append(all, d)
	}
	return all
}
