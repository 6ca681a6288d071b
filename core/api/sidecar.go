// Package api serves the sidecar over HTTP: what runs, what was, what is to be started, to
// whom it is allowed. It knows no operation, no schedule and no configuration file: what it
// serves is a Sidecar.
package api

import (
	"context"
	"encoding/json"
	"math"
	"time"

	"github.com/remora-backup/remora/core/repo"
	"github.com/remora-backup/remora/core/run"
	"github.com/remora-backup/remora/core/state"
)

// Sidecar is what is served. Its methods may be called from any goroutine. Status, Restore and
// Ready answer from memory and never wait, whatever a plugin, the server or the storage does;
// the others end when ctx does. Errors carry their code: Usage for a bad request, Busy while
// another operation runs; ErrUnknown and ErrEnded say what they say.
type Sidecar interface {
	Status() Status
	Restore() RestoreStatus
	// Start begins an operation and returns when it has an id; it does not wait for its end.
	// Two requests with one Request.Key, which is not empty, begin one operation; it is ErrReused
	// if the second one asks for something else.
	Start(ctx context.Context, r Request, by Actor) (Started, error)
	// Cancel interrupts the operation with that id, or whatever runs if id is empty.
	Cancel(ctx context.Context, id string, by Actor) (Status, error)
	Reload(ctx context.Context, by Actor) (Reloaded, error)
	// Yield gives the server's lock back and lets none be asked for until d has passed.
	Yield(ctx context.Context, d time.Duration, by Actor) (Yielded, error)
	// Pause keeps the schedule from starting anything before until; the zero time ends a pause.
	Pause(ctx context.Context, until time.Time, by Actor) error
	// Operations are those of the history, the newest first, at most limit, begun before the
	// operation called before if that is not empty.
	Operations(ctx context.Context, limit int, before string) ([]state.Operation, error)
	Operation(ctx context.Context, id string) (state.Operation, error)
	// Backups are those of the repository, the newest first.
	Backups(ctx context.Context) ([]repo.Listed, error)
	Backup(ctx context.Context, id string) (Backup, error)
	DeleteBackup(ctx context.Context, id string, by Actor) error
	// Configuration is what is in force, secrets left out.
	Configuration() map[string]any
	// Events follows what happens, from the event after the one with that number on, as far as
	// it is still kept, or from Now on. The caller closes what it gets.
	Events(after uint64) Subscription
	// Ready is nil when operations can be started, else why they cannot.
	Ready() error
	// Live is nil while the sidecar does its work: its loop came round lately.
	Live() error
}

// Actor is who asks.
type Actor struct {
	Name string // "root", the name of a token or of a certificate
	From string // "socket", or the address
	Role Role
}

// Backup is all that the repository knows of a backup.
type Backup struct {
	repo.Listed
	Manifest json.RawMessage `json:"manifest,omitempty"` // as `remora show --json` prints it
}

// Request asks for an operation.
type Request struct {
	Operation string // "backup", "restore", "verify"
	Key       string // the same request said twice has the same key, and two people never; may be empty
	Backup    string // id or "latest", of restore and verify
	Target    string // of a restore: the name that the configuration gives to a directory
	Dir       string // of a restore asked for by an Admin on the socket: the directory itself
	As        string // of a restore: "inert", "primary" or "replica"
}

// Started is an operation that has begun.
type Started struct {
	ID        string `json:"id"`
	Operation string `json:"operation"`
	// Repeated: it had been begun by an earlier request with the same key.
	Repeated bool `json:"repeated,omitempty"`
}

// Status is what the sidecar does now. The fields of an operation are empty while none runs.
type Status struct {
	State         string    `json:"state"` // "idle", "running", "cancelling"
	Operation     string    `json:"operation,omitempty"`
	ID            string    `json:"id,omitempty"`
	PID           int       `json:"pid"`
	Started       time.Time `json:"started,omitzero"`
	RequestedBy   string    `json:"requested_by,omitempty"` // "schedule", "api:NAME"
	Phase         string    `json:"phase,omitempty"`
	Percent       *int      `json:"percent,omitempty"`
	Bytes         int64     `json:"bytes,omitempty"` // moved in this phase
	TotalBytes    int64     `json:"total_bytes,omitempty"`
	ETASeconds    float64   `json:"eta_seconds,omitempty"`
	Databases     []string  `json:"databases,omitempty"`
	Target        string    `json:"target,omitempty"`
	InterruptedBy string    `json:"interrupted_by,omitempty"`

	Server      string     `json:"server"` // "up", "away" or "unknown"
	Next        *Scheduled `json:"next,omitempty"`
	PausedUntil time.Time  `json:"paused_until,omitzero"`
	Postponed   bool       `json:"reload_postponed,omitempty"` // a reload waits for a safe phase
	Since       time.Time  `json:"since"`                      // when the sidecar was started
	Version     string     `json:"version"`                    // of remora
}

// Scheduled is a run to come.
type Scheduled struct {
	Operation string    `json:"operation"`
	Time      time.Time `json:"time"`
}

// Preparing is the phase in which a restore has a percentage of its own.
const Preparing = "preparing_backup"

// RestoreStatus is a restore in the words of MyHoard's API. What does not apply is null.
type RestoreStatus struct {
	Phase              string `json:"phase"`                       // of the live restore, else "idle"
	PrepareProgress    *int   `json:"basebackup_prepare_progress"` // 0..100, only in preparing_backup
	BytesDownloaded    int64  `json:"basebackup_bytes_downloaded"`
	BytesTotal         int64  `json:"basebackup_bytes_total"`
	BinlogsBeing       int    `json:"binlogs_being_restored"`
	BinlogsPending     int    `json:"binlogs_pending"`
	BinlogsRestored    int    `json:"binlogs_restored"`
	ID                 string `json:"id,omitempty"`
	BaseBackupsStarted int    `json:"basebackups_started"` // base-backup operations of this restore
}

// Reloaded is what became of a reload.
type Reloaded struct {
	State  string `json:"state"`            // "done", "postponed"
	Phase  string `json:"phase,omitempty"`  // the one for whose end it waits
	Reason string `json:"reason,omitempty"` // why it is postponed
}

// Yielded is what yielding did.
type Yielded struct {
	Held  bool      `json:"held"` // a lock was held or asked for
	Until time.Time `json:"until"`
}

// Now is newer than any event: who begins with it gets only what is still to come.
const Now = math.MaxUint64

// Event is one that any operation told, or the sidecar itself, under a number of its own that
// grows by one and is what Last-Event-ID names.
type Event struct {
	Number uint64
	run.Event
}

// Subscription is one reader of events.
type Subscription interface {
	// Next waits for the next event. It returns ErrBehind once the reader was dropped because it
	// was too slow, and ctx's error when that ends.
	Next(ctx context.Context) (Event, error)
	// Lost reports whether events after the number asked for are kept no more.
	Lost() bool
	// Newest is the number of the newest event when the subscription was made, 0 if there was none.
	Newest() uint64
	Close()
}
