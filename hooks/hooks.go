package hooks

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/remora-backup/remora/core/code"
	"github.com/remora-backup/remora/core/plug"
	"github.com/remora-backup/remora/core/run"
)

// Config is what Open needs.
type Config struct {
	Scripts []string        // paths, called in this order
	Timeout time.Duration   // of one call of one script; 0 means 5 s
	Memory  uint64          // bytes the child may take; 0 means 256 MiB
	Self    []string        // the command that runs ServeChild
	Config  json.RawMessage // an object: the table config of every script
	// IgnoreErrors lets a phase begin when before_phase failed or took too long. Without
	// it such a failure is a veto: a gate that cannot answer does not let pass.
	IgnoreErrors bool
	Notify       func(ctx context.Context, n plug.Notice) error // nil: notify.send fails
	Log          hclog.Logger                                   // nil: nothing is logged
	Metrics      *Metrics                                       // nil: kept and not shown
}

// Hooks are the loaded scripts. Event is a run.Reader, Gate a gate of run.Options.
type Hooks struct {
	cfg     Config
	load    load
	scripts []*hooked
	gates   bool // a script has before_phase

	calls sync.Mutex // held during a call; guards child and the scripts' strikes
	child *process

	mu      sync.Mutex // guards all below
	run     string     // id of the run that seen counts
	seen    int64      // Seq of the last event dealt with
	moved   chan struct{}
	quiet   bool  // the server may be locked
	quietAt int64 // since this Seq
	held    []told
	ended   bool // the end of the run was dealt with
}

// told is one call that an event makes due.
type told struct {
	script   int
	function string
	event    run.Event
}

// hooked is one script on the host's side.
type hooked struct {
	name      string
	functions []string
	strikes   int // calls that were killed in this run
}

func (s *hooked) defines(function string) bool { return slices.Contains(s.functions, function) }

// Open reads and loads the scripts; what is wrong in one is a code.Usage error that
// begins with file:line. Without scripts there is no process and nothing happens. The
// caller must call Close.
func Open(ctx context.Context, cfg Config) (*Hooks, error) { return open(ctx, cfg, false) }

func open(ctx context.Context, cfg Config, dry bool) (*Hooks, error) {
	cfg.Timeout = or(cfg.Timeout, 5*time.Second)
	cfg.Memory = or(cfg.Memory, 256<<20)
	if cfg.Log == nil {
		cfg.Log = hclog.NewNullLogger()
	}
	if cfg.Metrics == nil {
		cfg.Metrics = new(Metrics)
	}
	h := &Hooks{cfg: cfg, moved: make(chan struct{})}
	h.load = load{Config: cfg.Config, Memory: cfg.Memory, TimeoutMS: cfg.Timeout.Milliseconds(), DryRun: dry}
	for _, path := range cfg.Scripts {
		text, err := readScript(path)
		if err != nil {
			return nil, &code.Error{Code: code.Usage, Err: err}
		}
		h.load.Scripts = append(h.load.Scripts, source{Name: path, Text: text})
		h.scripts = append(h.scripts, &hooked{name: path})
	}
	if len(h.scripts) == 0 {
		return h, nil
	}
	h.calls.Lock()
	defer h.calls.Unlock()
	if err := h.startLocked(ctx); err != nil {
		return nil, code.Default(code.Usage, fmt.Errorf("load hooks: %w", err))
	}
	return h, nil
}

func readScript(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", fmt.Errorf("read hook script: %w", err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxScript+1))
	if err != nil {
		return "", fmt.Errorf("read hook script: %w", err)
	}
	if len(text) > maxScript {
		return "", fmt.Errorf("read hook script %s: more than %d bytes", path, maxScript)
	}
	return loadable(string(text)), nil
}

// loadable takes away what some editors and shells put at the beginning of a file; line
// numbers stay.
func loadable(text string) string {
	text = strings.TrimPrefix(text, "\uFEFF")
	if strings.HasPrefix(text, "#") {
		_, rest, _ := strings.Cut(text, "\n")
		return "\n" + rest
	}
	return text
}

// startLocked starts the child and loads the scripts, as they were when Open read them.
func (h *Hooks) startLocked(ctx context.Context) error {
	p, err := startProcess(h.cfg.Self)
	if err != nil {
		return err
	}
	within := h.cfg.Timeout*time.Duration(len(h.scripts)) + 10*time.Second
	m, err := p.ask(ctx, request{Load: &h.load}, within, h.effects(told{}))
	if err != nil {
		return err
	}
	if m.Loaded == nil || m.Loaded.Error != "" || len(m.Loaded.Functions) != len(h.scripts) {
		p.kill()
		p.end(ctx)
		if m.Loaded != nil && m.Loaded.Error != "" {
			return errors.New(m.Loaded.Error)
		}
		return errors.New("hook process gave a wrong answer")
	}
	for i, s := range h.scripts {
		s.functions = m.Loaded.Functions[i]
		h.gates = h.gates || s.defines(beforePhase)
	}
	h.child = p
	return nil
}

// Close ends the child process and waits for it, at most until ctx ends.
func (h *Hooks) Close(ctx context.Context) {
	h.mu.Lock()
	if h.run != "" && !h.ended && len(h.scripts) > 0 {
		h.cfg.Log.Warn("hook scripts took too long: the last events were not told to them")
	}
	h.mu.Unlock()
	h.calls.Lock()
	defer h.calls.Unlock()
	if h.child != nil {
		h.child.end(ctx)
		h.child = nil
	}
}

func or[T comparable](value, otherwise T) T {
	var zero T
	if value == zero {
		return otherwise
	}
	return value
}
