package repo

import (
	"errors"
	"time"

	"github.com/remora-backup/remora/core/plug"
)

// Listed is a backup as `remora list --json` and the API tell it; the names are those of the
// end event.
type Listed struct {
	ID             string    `json:"id"`
	State          string    `json:"state"` // "complete", "damaged" or "unreadable"
	Started        time.Time `json:"started,omitzero"`
	Finished       time.Time `json:"finished,omitzero"`
	ServerUUID     string    `json:"server_uuid,omitempty"`
	ServerVersion  string    `json:"server_version,omitempty"`
	Bytes          int64     `json:"bytes,omitempty"` // of the data
	StoredBytes    int64     `json:"stored_bytes"`
	LockMS         float64   `json:"lock_ms,omitempty"` // the server was locked this long
	BinlogFile     string    `json:"binlog_file,omitempty"`
	BinlogPosition uint64    `json:"binlog_position,omitempty"`
	GTIDExecuted   string    `json:"gtid_executed,omitempty"`
	LSN            uint64    `json:"lsn,omitempty"`
	VPTime         time.Time `json:"vp_time,omitzero"`           // the moment whose data it holds
	DataTime       time.Time `json:"data_time,omitzero"`         // how new the data are
	Bases          []string  `json:"bases,omitempty"`            // backups that it needs
	Excluded       []string  `json:"excluded_engines,omitempty"` // whose data was left out on purpose
	Error          string    `json:"error,omitempty"`            // why it is not complete
}

// Listed is s for scripts.
func (s Summary) Listed() Listed {
	m := s.Manifest
	l := Listed{
		ID: s.ID, State: "complete", Started: m.Started, Finished: m.Finished, ServerUUID: m.Server.UUID, ServerVersion: m.Server.Version,
		Bytes: m.Totals.Plain, StoredBytes: s.Size, LockMS: m.Lock.Held, BinlogFile: m.Binlog.File, BinlogPosition: m.Binlog.Position,
		GTIDExecuted: m.GTIDExecuted, LSN: m.LSN.End, VPTime: m.VPTime, DataTime: m.DataTime, Bases: m.Bases,
	}
	for _, e := range m.Engines {
		if e.Excluded {
			l.Excluded = append(l.Excluded, e.Name)
		}
	}
	if s.Err != nil {
		l.State, l.Error = "damaged", s.Err.Error()
	}
	if errors.Is(s.Err, plug.ErrPermission) {
		l.State = "unreadable"
	}
	return l
}
