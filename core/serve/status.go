package serve

import (
	"fmt"
	"os"
	"time"

	"github.com/remora-backup/remora/core/api"
)

// The phases of a restore that a reload waits for, and of which the API tells.
const (
	phaseFetch   = "restoring_basebackup"
	phasePrepare = "preparing_backup"
)

// Status is api.Sidecar's. It takes no lock of an operation.
func (s *Sidecar) Status() api.Status {
	s.mu.Lock()
	j := s.now
	st := api.Status{
		State: "idle", PID: os.Getpid(), Server: s.server, PausedUntil: s.pausedLocked(), Postponed: s.postponed,
		Since: s.since, Version: s.cfg.Version, Next: s.table.following(),
	}
	s.mu.Unlock()
	if j == nil {
		return st
	}
	now := j.op.Status()
	st.State, st.Operation, st.ID, st.Started, st.RequestedBy = "running", now.Operation, j.id(), now.Started, j.by
	st.Phase, st.Percent, st.Bytes, st.TotalBytes, st.ETASeconds = now.Phase, now.Percent, now.Bytes, now.TotalBytes, now.ETASeconds
	st.Databases, st.Target, st.InterruptedBy = now.Databases, now.Target, now.InterruptedBy
	if now.InterruptedBy != "" {
		st.State = "cancelling"
	}
	return st
}

// Restore is api.Sidecar's. The percent is that of the live phase, or null: one that has failed
// or ended, another phase and another base backup of the same restore have none of it.
func (s *Sidecar) Restore() api.RestoreStatus {
	idle := api.RestoreStatus{Phase: "idle"}
	j := s.running()
	if j == nil || j.asked.Operation != "restore" {
		return idle
	}
	now := j.meter.Read()
	if now.State != "" {
		return idle
	}
	st := api.RestoreStatus{Phase: now.Phase, ID: j.id(), BaseBackupsStarted: int(j.fetches.Load())}
	fetch := j.meter.Last(phaseFetch)
	switch now.Phase {
	case "":
		st.Phase = "starting"
	case phaseFetch:
		fetch = now
	case phasePrepare:
		st.PrepareProgress = now.Percent
	}
	st.BytesDownloaded, st.BytesTotal = fetch.Done, fetch.Total
	return st
}

// pausedLocked is until when the schedule is paused, the zero time if it is not.
func (s *Sidecar) pausedLocked() time.Time {
	if time.Now().Before(s.paused) {
		return s.paused
	}
	return time.Time{}
}

// statusLine is what a supervisor shows.
func (s *Sidecar) statusLine() string {
	st := s.Status()
	text := "Idle."
	if st.Operation != "" {
		text = fmt.Sprintf("%s %s: %s", st.Operation, st.ID, st.State)
		if st.Phase != "" {
			text += ", " + st.Phase
		}
		if st.Percent != nil {
			text += fmt.Sprintf(" %d%%", *st.Percent)
		}
	}
	if st.Server == away {
		text += " The server is away."
	}
	return text
}
