package api

import (
	"time"

	"github.com/remora-backup/remora/core/repo"
	"github.com/remora-backup/remora/core/state"
)

// Health is the answer of the probes.
type Health struct {
	Status string `json:"status"` // "ok"
}

// BackupList is what the repository has.
type BackupList struct {
	Backups []repo.Listed `json:"backups"` // the newest first
}

// OperationList is what the history has.
type OperationList struct {
	Operations []state.Operation `json:"operations"` // the newest first
}

// RestoreRequest asks for a restore.
type RestoreRequest struct {
	Backup string `json:"backup,omitempty"` // id or "latest", which is the default
	// Target is the name that the configuration gives to a directory. An admin on the socket may
	// name the directory itself, absolute.
	Target string `json:"target"`
	As     string `json:"as,omitempty"` // "inert", the default, "primary" or "replica"
}

// YieldRequest asks for the server's lock to be given back.
type YieldRequest struct {
	For string `json:"for,omitempty"` // how long none is asked for, as "5m", the default
}

// PauseRequest pauses the schedule.
type PauseRequest struct {
	Until *time.Time `json:"until"` // null ends a pause
}
