package state

import (
	"cmp"
	"database/sql/driver"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/remora-backup/remora/core/run"
)

// The states of an operation that has not ended; the others are those of package run.
const (
	Starting run.State = "starting"
	Running  run.State = "running"
)

// Operation is a row of backup_history. The JSON names are the columns' names and those
// of the end event, from which most of them are taken.
type Operation struct {
	ID             string    `json:"id"`
	Operation      string    `json:"operation"`
	State          run.State `json:"state"`
	Phase          string    `json:"phase,omitempty"` // the last one that did work
	Databases      []string  `json:"databases,omitempty"`
	Started        time.Time `json:"started"`
	VPTime         time.Time `json:"vp_time,omitzero"` // validity point: the moment the backup shows
	Ended          time.Time `json:"ended,omitzero"`
	BinlogFile     string    `json:"binlog_file,omitempty"`
	BinlogPosition uint64    `json:"binlog_position,omitempty"`
	GTIDExecuted   string    `json:"gtid_executed,omitempty"`
	LSN            uint64    `json:"lsn,omitempty"`
	Bytes          int64     `json:"bytes,omitempty"`
	LockMS         *float64  `json:"lock_ms,omitempty"`
	LockWaitMS     *float64  `json:"lock_wait_ms,omitempty"`
	Code           int       `json:"code,omitempty"`
	Error          string    `json:"error,omitempty"` // the first
	Errors         []string  `json:"errors,omitempty"`
	InterruptedBy  string    `json:"interrupted_by,omitempty"`
	Destructive    bool      `json:"destructive,omitempty"` // a restore had begun to change existing data
	Leftovers      []string  `json:"leftovers,omitempty"`
	Target         string    `json:"target,omitempty"`
	BackupID       string    `json:"backup,omitempty"`          // as a restore's end event names it
	LockConnection uint64    `json:"lock_connection,omitempty"` // the session that held the server's lock last
	LockPID        int       `json:"lock_pid,omitempty"`        // of the process that had that session
	Tidied         bool      `json:"tidied,omitempty"`          // what a crash left was removed, or is told
	PID            int       `json:"pid,omitempty"`
	Host           string    `json:"host,omitempty"`
	RemoraVersion  string    `json:"remora_version,omitempty"`
	ServerVersion  string    `json:"server_version,omitempty"`
	ServerUUID     string    `json:"server_uuid,omitempty"`
	Plugins        []string  `json:"plugins,omitempty"`
	RequestedBy    string    `json:"requested_by,omitempty"` // of a sidecar: "schedule", "api:NAME"
	RequestKey     string    `json:"-"`                      // the same request said twice has the same
	Request        string    `json:"-"`                      // of a sidecar, as JSON: what it was asked for
}

// Ongoing reports whether no end of the operation is recorded.
func (o Operation) Ongoing() bool { return o.State == Starting || o.State == Running }

// Crash makes o what it is when its process is gone, and returns that in words. Nothing is
// recorded.
func (o *Operation) Crash() string {
	text := fmt.Sprintf("the process (pid %d on %s) ended without an answer", o.PID, o.Host)
	o.State = run.Crashed
	o.Errors = append(o.Errors, text)
	o.Error = cmp.Or(o.Error, text)
	return text
}

// Progress is a row of backup_progress.
type Progress struct {
	ID      string    `json:"id"`
	Seq     int64     `json:"seq"`
	Time    time.Time `json:"time"`
	Event   run.Kind  `json:"event"`
	State   run.State `json:"state,omitempty"`
	Phase   string    `json:"phase,omitempty"`
	Percent *int      `json:"percent,omitempty"`
	Message string    `json:"message,omitempty"`
}

// column pairs a column's name with where its value lives.
type column struct {
	name string
	at   any
}

func (o *Operation) columns() []column {
	return []column{
		{"id", text(&o.ID)}, {"operation", text(&o.Operation)}, {"state", text(&o.State)}, {"phase", text(&o.Phase)},
		{"databases", list{&o.Databases}}, {"started", moment{&o.Started}}, {"vp_time", moment{&o.VPTime}}, {"ended", moment{&o.Ended}},
		{"binlog_file", text(&o.BinlogFile)}, {"binlog_position", number(&o.BinlogPosition)}, {"gtid_executed", text(&o.GTIDExecuted)},
		{"lsn", number(&o.LSN)}, {"bytes", number(&o.Bytes)}, {"lock_ms", &o.LockMS}, {"lock_wait_ms", &o.LockWaitMS},
		{"code", number(&o.Code)}, {"error", text(&o.Error)}, {"errors", list{&o.Errors}}, {"interrupted_by", text(&o.InterruptedBy)},
		{"destructive", flag{&o.Destructive}}, {"leftovers", list{&o.Leftovers}}, {"target", text(&o.Target)}, {"backup_id", text(&o.BackupID)},
		{"lock_connection", number(&o.LockConnection)}, {"lock_pid", number(&o.LockPID)}, {"tidied", flag{&o.Tidied}}, {"pid", number(&o.PID)}, {"host", text(&o.Host)}, {"remora_version", text(&o.RemoraVersion)},
		{"server_version", text(&o.ServerVersion)}, {"server_uuid", text(&o.ServerUUID)}, {"plugins", list{&o.Plugins}},
		{"requested_by", text(&o.RequestedBy)}, {"request_key", text(&o.RequestKey)}, {"request", text(&o.Request)},
	}
}

func (p *Progress) columns() []column {
	return []column{
		{"id", text(&p.ID)}, {"seq", &p.Seq}, {"time", moment{&p.Time}}, {"event", text(&p.Event)}, {"state", text(&p.State)},
		{"phase", text(&p.Phase)}, {"percent", &p.Percent}, {"message", text(&p.Message)},
	}
}

func names(cols []column) string {
	all := make([]string, len(cols))
	for i, c := range cols {
		all[i] = c.name
	}
	return strings.Join(all, ", ")
}

func values(cols []column) []any {
	all := make([]any, len(cols))
	for i, c := range cols {
		all[i] = c.at
	}
	return all
}

// The types below store the zero value as NULL and read it back.

type textAt[T ~string] struct{ p *T }

func text[T ~string](p *T) textAt[T] { return textAt[T]{p} }

func (t textAt[T]) Value() (driver.Value, error) {
	if *t.p == "" {
		return nil, nil
	}
	return string(*t.p), nil
}

func (t textAt[T]) Scan(v any) error {
	s, err := asText(v)
	*t.p = T(s)
	return err
}

type numberAt[T int | int64 | uint64] struct{ p *T }

func number[T int | int64 | uint64](p *T) numberAt[T] { return numberAt[T]{p} }

func (n numberAt[T]) Value() (driver.Value, error) {
	if *n.p == 0 {
		return nil, nil
	}
	return int64(*n.p), nil
}

func (n numberAt[T]) Scan(v any) error {
	i, ok := v.(int64)
	if v != nil && !ok {
		return fmt.Errorf("want a number, have %T", v)
	}
	*n.p = T(i)
	return nil
}

type flag struct{ p *bool }

func (f flag) Value() (driver.Value, error) { return *f.p, nil }

func (f flag) Scan(v any) error {
	i, _ := v.(int64)
	*f.p = i != 0
	return nil
}

type list struct{ p *[]string }

func (l list) Value() (driver.Value, error) {
	if len(*l.p) == 0 {
		return nil, nil
	}
	text, err := json.Marshal(*l.p)
	return string(text), err
}

func (l list) Scan(v any) error {
	s, err := asText(v)
	if err != nil || s == "" {
		*l.p = nil
		return err
	}
	return json.Unmarshal([]byte(s), l.p)
}

type moment struct{ p *time.Time }

const timeFormat = "2006-01-02T15:04:05.000Z07:00"

func (m moment) Value() (driver.Value, error) {
	if m.p.IsZero() {
		return nil, nil
	}
	return m.p.UTC().Format(timeFormat), nil
}

func (m moment) Scan(v any) error {
	s, err := asText(v)
	if err != nil || s == "" {
		*m.p = time.Time{}
		return err
	}
	*m.p, err = time.Parse(time.RFC3339, s)
	return err
}

func asText(v any) (string, error) {
	switch v := v.(type) {
	case nil:
		return "", nil
	case string:
		return v, nil
	case []byte:
		return string(v), nil
	}
	return "", fmt.Errorf("want text, have %T", v)
}
