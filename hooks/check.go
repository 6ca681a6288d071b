package hooks

import (
	"bytes"
	"context"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/remora-backup/remora/core/code"
	"github.com/remora-backup/remora/core/run"
)

// The recordings are lines of --json; "locked" marks the phases that begin with the
// server locked, "result" holds what the end carries beside its own fields.
//
//go:embed recorded/*.jsonl
var recorded embed.FS

var recordings = []struct{ title, file string }{
	{"a backup that completes (with a stall)", "recorded/backup.jsonl"},
	{"a restore that completes", "recorded/restore.jsonl"},
	{"a backup that fails", "recorded/failure.jsonl"},
}

type recordedEvent struct {
	run.Event
	Locked bool            `json:"locked"`
	Result json.RawMessage `json:"result"`
}

// Check runs the scripts of cfg against recorded runs and writes to w, call by call, what
// they would do. Nothing is sent: HTTP requests and notifications are shown and seem to
// succeed. The error says how many calls failed; a veto is no failure.
func Check(ctx context.Context, cfg Config, w io.Writer) error {
	cfg.Notify, cfg.Log, cfg.Metrics = nil, nil, nil
	h, err := open(ctx, cfg, true)
	if err != nil {
		return err
	}
	defer h.Close(ctx)
	h.calls.Lock()
	c := &checker{h: h, w: w}
	for _, r := range recordings {
		if err = c.play(ctx, r.title, r.file); err != nil {
			break
		}
	}
	h.calls.Unlock()
	if err == nil && c.failed > 0 {
		err = code.New(code.Usage, "check hooks: %d of %d calls failed", c.failed, c.calls)
	}
	return err
}

// checker plays recordings to the scripts and writes down what they do.
type checker struct {
	h             *Hooks
	w             io.Writer
	calls, failed int
}

func (c *checker) play(ctx context.Context, title, file string) error {
	text, err := recorded.ReadFile(file)
	if err != nil {
		return fmt.Errorf("read recorded run: %w", err)
	}
	fmt.Fprintf(c.w, "== %s\n", title)
	for _, s := range c.h.scripts {
		s.strikes = 0
	}
	lines := json.NewDecoder(bytes.NewReader(text))
	for {
		var r recordedEvent
		if err := lines.Decode(&r); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return fmt.Errorf("read recorded run %s: %w", file, err)
		}
		if len(r.Result) > 0 {
			r.Event.Result = r.Result
		}
		if err := c.event(ctx, r); err != nil {
			return err
		}
	}
}

func (c *checker) event(ctx context.Context, r recordedEvent) error {
	var names []string
	last := r.Phase == run.PhaseCompleted || r.Phase == run.PhaseFailed || r.Phase == run.PhaseCancelled
	if r.Kind == run.KindPhase && !r.Locked && !last {
		names = append(names, beforePhase)
	}
	if name := function(r.Event); name != "" {
		names = append(names, name)
	}
	for _, name := range names {
		for i, s := range c.h.scripts {
			if !s.defines(name) {
				continue
			}
			c.call(ctx, told{i, name, r.Event})
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
		}
	}
	return nil
}

func (c *checker) call(ctx context.Context, due told) {
	c.calls++
	shown := &shown{}
	start := time.Now()
	done, err := c.h.callLocked(ctx, due, func(told) effects { return shown })
	took := time.Since(start)
	subject := due.event.Phase
	switch due.function {
	case onProgress:
		subject = "no percent yet"
		if due.event.Percent != nil {
			subject = fmt.Sprintf("%d%%", *due.event.Percent)
		}
	case onEnd:
		subject = string(due.event.State)
	case onStall:
		subject = fmt.Sprintf("%s, %.0f s idle", due.event.Phase, due.event.IdleSeconds)
	}
	fmt.Fprintf(c.w, "%-12s %s (%.1f ms)\n", due.function, subject, float64(took.Microseconds())/1000)
	switch {
	case err != nil:
		c.failed++
		shown.add("ERROR " + err.Error())
	case done.Veto:
		shown.add(fmt.Sprintf("VETO  %s (the %s would end here with exit code %d)", done.Reason, due.event.Operation, code.Veto))
	}
	for _, line := range shown.lines {
		fmt.Fprintf(c.w, "    %s\n", line)
	}
}

// shown are effects that are only written down.
type shown struct {
	mu    sync.Mutex
	lines []string
}

func (s *shown) add(line string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lines = append(s.lines, strings.ReplaceAll(line, "\n", "\n    "))
}

func (s *shown) take(m message) {
	switch {
	case m.Log != nil:
		s.add(fmt.Sprintf("log %s: %s", m.Log.Level, m.Log.Text))
	case m.Metric != nil:
		s.add(fmt.Sprintf("metric %s %s %v", m.Metric.Kind, m.Metric.series(), m.Metric.Value))
	case m.HTTP != "":
		s.add("http " + m.HTTP)
	}
}

func (s *shown) notify(_ context.Context, n notice) error {
	s.add(fmt.Sprintf("notify %s: %s", n.Severity, n.Text))
	return nil
}
