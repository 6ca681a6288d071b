package cmd

// The rules of our terminal, kept by this file, bar.go and text.go:
//
//   - Standard output says what happens, one line for one event; standard error says why a
//     command failed, and the log. A person who sees both on one terminal reads an error once.
//   - What cannot be written is dropped and the work goes on: a reader that went away, or a
//     full disk below a log, costs no backup.
//   - Without a terminal there is no bar and no control sequence, but a line every ten percent.
//     The bar is drawn from the meter, never from events, and is gone before the last line.
//   - What comes from elsewhere (names, words of a server or plugin) cannot steer the terminal,
//     and stays on its line.
//   - With --json each line of standard output is one event, the end last; nothing else is
//     printed there.
//   - Ctrl-C is answered at once, by a line, before anything is cleaned up.

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/remora-backup/remora/core/operate"
	"github.com/remora-backup/remora/core/run"
)

// display tells a person, or a script, what happens in an operation.
type display interface {
	operate.Listener
	// log is where log lines go while the display is in use.
	log() io.Writer
}

func (a *app) display(asJSON bool, meter gauge) display {
	if asJSON {
		return &jsonLines{env: a.env}
	}
	h := &human{out: a.env.Stdout, err: a.env.Stderr, logs: a.env.Stderr, onOne: a.env.Terminal && a.env.LogTerminal}
	if a.env.Terminal {
		h.bar = newBar(a.env.Stdout, meter)
		h.out = h.bar
		if a.env.LogTerminal {
			h.logs = h.bar // or the two would overwrite each other
		}
	}
	return h
}

// jsonLines prints each event as a JSON object on a line of its own, the end last.
type jsonLines struct {
	env   Env
	facts startFacts
}

// startFacts stand in the start event beside its own fields.
type startFacts struct {
	ServerUUID    string   `json:"server_uuid,omitempty"`
	ServerVersion string   `json:"server_version,omitempty"`
	Backup        string   `json:"backup,omitempty"` // that is read
	Target        string   `json:"target,omitempty"`
	Plugins       []string `json:"plugins,omitempty"`
}

func (j *jsonLines) Event(_ context.Context, e run.Event) {
	switch e.Kind {
	case run.KindStart:
		e.Result = j.facts
	case run.KindProgress:
		e.Databases = nil // thousands of names, hundreds of times: the other events have them
	}
	text, err := json.Marshal(e)
	if err != nil {
		e.Result = nil // the end must be told whatever its result is
		text, _ = json.Marshal(e)
	}
	if e.Kind == run.KindEnd && e.Error != "" {
		printError(j.env.Stderr, e.Error, e.Hint)
	}
	_, _ = j.env.Stdout.Write(append(text, '\n'))
}

func (j *jsonLines) Starts(f operate.Facts) {
	j.facts = startFacts{ServerUUID: f.ServerUUID, ServerVersion: f.ServerVersion, Backup: f.Backup, Target: f.Target, Plugins: f.Plugins}
}

func (j *jsonLines) Interrupted(*run.Interrupted) {}
func (j *jsonLines) Closed()                      {}
func (j *jsonLines) log() io.Writer               { return j.env.Stderr }

// human prints lines; a progress bar below them if there is a terminal, else one line
// every ten percent.
type human struct {
	out, err, logs io.Writer
	bar            *bar // nil without a terminal
	onOne          bool // terminal are out and err: what out says, err need not

	facts     string
	databases bool // told
	tenth     int  // the last one told in this phase
}

func (h *human) Starts(f operate.Facts) { h.facts = " (" + strings.Join(f.Named, ", ") + ")" }

func (h *human) Event(_ context.Context, e run.Event) {
	l := operate.LineOf(e)
	if !h.databases && len(e.Databases) > 0 {
		h.databases = true
		if strings.Contains(e.Message, " database(s) ") {
			h.print(l) // the engine says it itself
			return
		}
		h.print(operate.Line{Level: operate.Note, Operation: l.Operation, Text: databasesText(e.Operation, e.Databases)})
	}
	switch e.Kind {
	case run.KindStart:
		l.Text += h.facts
	case run.KindPhase:
		h.tenth = 0
	case run.KindProgress:
		if h.bar != nil {
			h.bar.progress(e)
			return
		}
		if e.Percent == nil || *e.Percent/10 <= h.tenth {
			return
		}
		h.tenth = *e.Percent / 10
	case run.KindEnd:
		if h.bar != nil {
			h.bar.stop()
		}
		switch {
		case e.Error != "" && h.onOne:
			printHint(h.err, e.Hint)
		case e.Error != "":
			printError(h.err, e.Error, e.Hint)
		default:
			h.print(operate.Line{Level: operate.Note, Operation: l.Operation, Text: summary(e)})
		}
	}
	h.print(l)
}

func (h *human) print(l operate.Line) {
	if l.Text == "" {
		return
	}
	l.Text = printable(strings.ReplaceAll(l.Text, "\n", " | "))
	fmt.Fprintln(h.out, l)
}

func (h *human) Interrupted(*run.Interrupted) {
	if h.bar != nil {
		h.bar.home()
	}
	fmt.Fprintln(h.out, "Interrupted, cleaning up (release lock, discard what is not whole). Press Ctrl-C again to leave at once.")
}

func (h *human) log() io.Writer { return h.logs }

func (h *human) Closed() {
	if h.bar != nil {
		h.bar.stop()
	}
}

// summary is the line before the last one of a run that went well.
func summary(e run.Event) string {
	var r struct {
		Backup, Target string
		Bytes          int64
		LockMS         *float64 `json:"lock_ms"`
		BinlogFile     string   `json:"binlog_file"`
		BinlogPosition uint64   `json:"binlog_position"`
		LSN            uint64
	}
	text, err := json.Marshal(e.Result)
	if err != nil || json.Unmarshal(text, &r) != nil {
		return ""
	}
	var parts []string
	add := func(format string, args ...any) { parts = append(parts, fmt.Sprintf(format, args...)) }
	switch {
	case e.Operation == "prepare":
		add("%s is prepared", r.Target)
	case r.Target != "":
		add("backup %s is in %s", r.Backup, r.Target)
	default:
		add("backup %s", e.ID)
	}
	if r.Bytes > 0 {
		add("%s", size(r.Bytes))
	}
	if r.LockMS != nil && e.Operation == "backup" {
		add("locked %.1f ms", *r.LockMS)
	}
	if r.BinlogFile != "" {
		add("binlog %s:%d", r.BinlogFile, r.BinlogPosition)
	}
	if r.LSN > 0 {
		add("LSN %d", r.LSN)
	}
	return strings.Join(parts, ", ")
}
