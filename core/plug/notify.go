package plug

import (
	"context"
	"encoding/json"
	"time"
)

// Notice is one event as a notify plugin gets it.
type Notice struct {
	Time      time.Time       `json:"time"`
	Severity  string          `json:"severity"` // "info", "warning" or "error"
	Operation string          `json:"operation,omitempty"`
	ID        string          `json:"id,omitempty"`
	Text      string          `json:"text"`            // one line for people
	Event     json.RawMessage `json:"event,omitempty"` // the event itself, as in --json
}

// Notify passes one notice on. A notice may be sent more than once after a crash.
type Notify interface {
	Send(ctx context.Context, n Notice) error
}
