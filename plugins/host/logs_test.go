package host

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/remora-backup/remora/core/plug"
)

func TestFloodOfLogs(t *testing.T) {
	var lines bytes.Buffer
	opts := options(t)
	opts.Logger = hclog.New(&hclog.LoggerOptions{Output: &lines})
	p := start(t, oddSpec(t, map[string]any{"flood": 100_000}), opts) // 100 MB
	if _, err := p.Storage().Stat(t.Context(), "x"); !errors.Is(err, plug.ErrNotExist) {
		t.Errorf("got %v, want ErrNotExist", err)
	}
	if err := p.Close(t.Context()); err != nil {
		t.Errorf("close: %v", err)
	}
	if n := lines.Len(); n > 20<<20 || n < 100_000 {
		t.Errorf("logged %d bytes of 100 MB", n)
	}
	if !strings.Contains(lines.String(), "logs too much") {
		t.Error("what was left out was not told")
	}
}

func TestStrayOutputIsLogged(t *testing.T) {
	var lines bytes.Buffer
	opts := options(t)
	opts.Logger = hclog.New(&hclog.LoggerOptions{Output: &lines})
	p := start(t, oddSpec(t, map[string]any{"stray": "left\x1b[31mover"}), opts)
	_, _ = p.Storage().Stat(t.Context(), "x")
	logged := func() bool {
		p.proc.logs.mu.Lock()
		defer p.proc.logs.mu.Unlock()
		return len(p.proc.logs.last) > 0
	}
	for end := time.Now().Add(20 * time.Second); !logged() && time.Now().Before(end); {
		time.Sleep(5 * time.Millisecond)
	}
	if err := p.Close(t.Context()); err != nil {
		t.Errorf("close: %v", err)
	}
	if got := lines.String(); !strings.Contains(got, `left\x1b[31mover`) {
		t.Errorf("logged %q", got)
	}
}
