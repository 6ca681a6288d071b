package hooks

import "encoding/json"

// The host and its child speak in JSON lines over the child's stdin and stdout. The host
// loads once, then calls one function at a time; while it runs, the child may send any
// number of effects before the outcome.

// request is one line from the host; exactly one field is set.
type request struct {
	Load  *load  `json:"load,omitempty"`
	Call  *call  `json:"call,omitempty"`
	Reply *reply `json:"reply,omitempty"`
}

type load struct {
	Scripts   []source        `json:"scripts"`
	Config    json.RawMessage `json:"config"`
	Memory    uint64          `json:"memory"` // bytes on top of what the process has
	TimeoutMS int64           `json:"timeout_ms"`
	DryRun    bool            `json:"dry_run"` // http requests are told and not sent
}

type source struct {
	Name string `json:"name"` // as in the configuration; begins error messages
	Text string `json:"text"`
}

type call struct {
	Script    int             `json:"script"`
	Function  string          `json:"function"`
	Event     json.RawMessage `json:"event"`
	TimeoutMS int64           `json:"timeout_ms"`
}

// reply answers an effect with Notify; Error is empty if it was passed on.
type reply struct {
	ID    int    `json:"id"`
	Error string `json:"error"`
}

// message is one line from the child; exactly one field is set.
type message struct {
	Log    *logLine `json:"log,omitempty"`
	Notify *notice  `json:"notify,omitempty"` // the child waits for a reply
	Metric *Sample  `json:"metric,omitempty"`
	HTTP   string   `json:"http,omitempty"` // what would be sent, in a dry run
	Loaded *loaded  `json:"loaded,omitempty"`
	Done   *outcome `json:"done,omitempty"`
}

type logLine struct {
	Level string `json:"level"`
	Text  string `json:"text"`
}

type notice struct {
	ID       int    `json:"id"`
	Severity string `json:"severity"`
	Text     string `json:"text"`
}

// loaded ends a load: Functions[i] are the event functions that script i defines.
type loaded struct {
	Functions [][]string `json:"functions"`
	Error     string     `json:"error,omitempty"` // begins with file:line
}

// outcome ends a call.
type outcome struct {
	Veto    bool   `json:"veto,omitempty"`
	Reason  string `json:"reason,omitempty"`
	Error   string `json:"error,omitempty"` // begins with file:line
	Timeout bool   `json:"timeout,omitempty"`
}

// Limits of what a script can make pass, in bytes unless said.
const (
	maxScript   = 1 << 20
	maxText     = 8 << 10 // a log line, a notification, a reason
	maxBody     = 1 << 20 // of an HTTP request or response, or a JSON text
	maxRepeat   = 1 << 20 // result of string.rep
	maxLine     = 4 << 20 // of the protocol
	maxEffects  = 500     // log lines, metrics and notifications of one call, each
	maxDepth    = 32      // nested tables
	maxSeries   = 1000    // metrics kept
	maxTimeouts = 3       // of one script before it is left out for the rest of the run
)

// The functions a script can define.
const (
	onPhase     = "on_phase"
	onProgress  = "on_progress"
	onStall     = "on_stall"
	onEnd       = "on_end"
	beforePhase = "before_phase"
)

var functions = []string{onPhase, onProgress, onStall, onEnd, beforePhase}

// cut shortens s to n bytes and makes control characters visible: what comes from a
// script ends in logs and on terminals.
func cut(s string, n int) string {
	out := make([]rune, 0, min(len(s), n))
	size := 0
	for _, r := range s {
		if r < ' ' && r != '\n' && r != '\t' || r == 0x7f || r >= 0x80 && r < 0xa0 {
			r = '\uFFFD'
		}
		size += len(string(r))
		if size > n {
			return string(out) + "..."
		}
		out = append(out, r)
	}
	return string(out)
}
