package run

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"time"
)

// Kind says what an event tells.
type Kind string

const (
	KindStart    Kind = "start"    // the operation began
	KindPhase    Kind = "phase"    // Phase was entered, Previous was left
	KindProgress Kind = "progress" // Percent of Phase changed; nil on the first of a phase
	KindNote     Kind = "note"
	KindWarning  Kind = "warning"
	KindError    Kind = "error" // one of the errors, in order
	KindStall    Kind = "stall" // nothing moved for IdleSeconds
	KindEnd      Kind = "end"   // the last one, with State
)

// State is how an operation ended.
type State string

const (
	Complete             State = "complete"
	CompleteWithWarnings State = "complete_with_warnings"
	Failed               State = "error"
	Cancelled            State = "cancelled"
	Crashed              State = "crashed" // found out later: the owner is gone
)

// The phase names in which every operation ends.
const (
	PhaseCompleted = "completed"
	PhaseFailed    = "failed"
	PhaseCancelled = "cancelled"
)

// Event is one thing that happened. As JSON it is one line of --json; the fields of
// Result stand beside the others there. Readers must not change what it points to.
type Event struct {
	Seq         int64     `json:"seq"` // 1, 2, 3 ... within the run
	Time        time.Time `json:"time"`
	Kind        Kind      `json:"event"`
	Operation   string    `json:"operation"`
	ID          string    `json:"id"`
	Phase       string    `json:"phase,omitempty"`
	Previous    string    `json:"previous,omitempty"`
	Databases   []string  `json:"databases,omitempty"`
	Percent     *int      `json:"percent,omitempty"` // 0..100
	LSN         uint64    `json:"lsn,omitempty"`
	TargetLSN   uint64    `json:"target_lsn,omitempty"`
	ETASeconds  *float64  `json:"eta_seconds,omitempty"`
	IdleSeconds float64   `json:"idle_seconds,omitempty"`
	Message     string    `json:"message,omitempty"`
	State       State     `json:"state,omitempty"`
	Code        int       `json:"code,omitempty"` // exit code, on errors and the end
	Error       string    `json:"error,omitempty"`
	Hint        string    `json:"hint,omitempty"`
	Errors      []string  `json:"errors,omitempty"`           // on the end: all, in order of time
	Duration    float64   `json:"duration_seconds,omitempty"` // on the end
	// RequestedBy says who asked for the operation: "schedule", "api:anna"; empty by hand.
	RequestedBy string `json:"requested_by,omitempty"`
	// InterruptedBy says who interrupted ("SIGINT", "api:anna"), on that error and the end.
	InterruptedBy string `json:"interrupted_by,omitempty"`
	// Destructive: existing data is about to be changed, or at the end: was being changed.
	Destructive bool `json:"destructive,omitempty"`
	// Leftovers names, on the end of a run that failed, what could not be removed or is kept.
	Leftovers []string `json:"leftovers,omitempty"`
	// LockConnection is the server's id of the session that holds the lock since now.
	LockConnection uint64 `json:"lock_connection,omitempty"`
	// Quiet: the server is or may be locked, so nobody may run code of users because of
	// this event until one comes that is not Quiet.
	Quiet bool `json:"-"`
	// Result is an object whose fields the end of a successful run carries.
	Result any `json:"-"`
}

// MarshalJSON puts the fields of Result beside the event's own.
func (e Event) MarshalJSON() ([]byte, error) {
	type plain Event
	own, err := json.Marshal(plain(e))
	if err != nil || e.Result == nil {
		return own, err
	}
	more, err := json.Marshal(e.Result)
	if err != nil {
		return nil, err
	}
	more = bytes.TrimSpace(more)
	if len(more) < 2 || more[0] != '{' {
		return nil, fmt.Errorf("result of %s %s is not a JSON object", e.Operation, e.ID)
	}
	if string(more) == "{}" {
		return own, nil
	}
	return append(append(own[:len(own)-1], ','), more[1:]...), nil
}

// ParseEvent reads what MarshalJSON wrote. Result is what stands beside the event's own fields,
// as json.RawMessage, nil if nothing does. The end of a run has no LSN of its own: that of an end
// is its result's.
func ParseEvent(text []byte) (e Event, err error) {
	type plain Event
	if err := json.Unmarshal(text, (*plain)(&e)); err != nil {
		return e, fmt.Errorf("read an event: %w", err)
	}
	own := map[string]bool{}
	for f := range reflect.TypeFor[Event]().Fields() {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		own[name] = true
	}
	if e.Kind == KindEnd {
		e.LSN, own["lsn"] = 0, false
	}
	more := []byte{'{'}
	d := json.NewDecoder(bytes.NewReader(text))
	for _, err = d.Token(); err == nil && d.More(); { // the brace, then names and values
		var name json.Token
		var value json.RawMessage
		if name, err = d.Token(); err != nil {
			break
		}
		if err = d.Decode(&value); err != nil {
			break
		}
		if key := name.(string); !own[key] {
			if len(more) > 1 {
				more = append(more, ',')
			}
			quoted, _ := json.Marshal(key) // a string always can be
			more = append(append(append(more, quoted...), ':'), value...)
		}
	}
	if err != nil {
		return e, fmt.Errorf("read an event: %w", err)
	}
	if len(more) > 1 {
		e.Result = json.RawMessage(append(more, '}'))
	}
	return e, nil
}
