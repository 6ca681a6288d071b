package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/remora-backup/remora/core/code"
)

// Error is the answer to a call that was not carried out.
type Error struct {
	Error string `json:"error"`
	Hint  string `json:"hint,omitempty"` // the remedy
	Code  int    `json:"code"`           // the exit code of the command line for the same error
	// Request is the name under which the log has the reason, where that is not for who asks.
	Request string `json:"request,omitempty"`
}

// Entry is a line for the log.
type Entry struct {
	Time    time.Time
	Request string // its name, if the answer tells it
	By      Actor  // without a name: nobody could tell who
	What    string // method and path, and what was asked for; no secret is in it
	Status  int    // of the answer
	Err     error  // why it was not carried out
	ID      string // of the operation that was begun
}

// failure is an error that has a status of its own.
type failure struct {
	status int
	error
}

func (f failure) Unwrap() error { return f.error }

func fail(status int, c code.Code, format string, args ...any) error {
	return failure{status, code.New(c, format, args...)}
}

// bad is a request that is wrong itself.
func bad(hint, format string, args ...any) error {
	return failure{http.StatusBadRequest, code.Hint(code.Usage, hint, format, args...)}
}

// panicked is a fault of ours. Where it is, is for the log alone.
type panicked struct {
	value any
	stack []byte
}

func (p *panicked) Error() string { return fmt.Sprintf("panic: %v\n%s", p.value, p.stack) }

// statusOf is the HTTP status that says of err what can be said in three digits.
func statusOf(err error) int {
	var own failure
	switch {
	case errors.As(err, &own):
		return own.status
	case errors.Is(err, ErrUnknown):
		return http.StatusNotFound
	case errors.Is(err, ErrEnded):
		return http.StatusConflict
	case errors.Is(err, ErrReused):
		return http.StatusUnprocessableEntity
	case errors.Is(err, context.DeadlineExceeded):
		return http.StatusServiceUnavailable
	}
	switch code.Of(err) {
	case code.Usage:
		return http.StatusBadRequest
	case code.Busy, code.Target, code.Veto:
		return http.StatusConflict
	case code.ServerGone:
		return http.StatusServiceUnavailable
	}
	return http.StatusInternalServerError
}

// codeOf is the exit code's number: that of an answer that says no is never 0.
func codeOf(err error) int {
	if c := code.Of(err); c != code.Unclassified {
		return int(c)
	}
	switch {
	case errors.Is(err, ErrUnknown), errors.Is(err, ErrReused):
		return int(code.Usage)
	}
	return int(code.Unclassified)
}

// told is err for somebody with that role: who may only read learns no paths and no texts.
// What we say of the request itself is no secret to who made it; what a Sidecar says may be.
func told(err error, role Role) Error {
	e := Error{Error: err.Error(), Hint: code.HintOf(err), Code: codeOf(err)}
	var own failure
	var fault *panicked
	ours := errors.As(err, &own) && own.status != http.StatusServiceUnavailable
	if errors.As(err, &fault) || role < Operate && !ours {
		e.Error, e.Hint = strings.ToLower(http.StatusText(statusOf(err))), ""
	}
	return e
}

// sent stands for an answer that was written already.
type sent struct{}

// send writes v as JSON; nil is no body.
func send(w http.ResponseWriter, status int, v any) {
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	if v == nil {
		w.WriteHeader(status)
		return
	}
	text, err := json.Marshal(v)
	if err != nil {
		status, text = http.StatusInternalServerError, []byte(`{"error":"the answer cannot be written as JSON","code":1}`)
	}
	h.Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(append(text, '\n')) // who asked may be gone
}
