package hooks_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/remora-backup/remora/core/run"
	"github.com/remora-backup/remora/hooks"
)

// The test binary is its own hook process.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "hook-host" {
		if err := hooks.ServeChild(os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func self(t *testing.T) []string {
	t.Helper()
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return []string{path, "hook-host"}
}

// journal is a log that can be read while it is written.
type journal struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.b.Write(p)
}

// lines returns what scripts logged, and nothing else.
func (j *journal) lines() []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	var out []string
	for line := range strings.Lines(j.b.String()) {
		var l struct {
			Message string `json:"@message"`
			Err     string `json:"error"`
		}
		if json.Unmarshal([]byte(line), &l) == nil {
			out = append(out, strings.TrimSpace(l.Message+" "+l.Err))
		}
	}
	return out
}

func (j *journal) logger() hclog.Logger {
	return hclog.New(&hclog.LoggerOptions{Output: j, Level: hclog.Trace, JSONFormat: true})
}

func write(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// with opens hooks of one script.
func with(t *testing.T, cfg hooks.Config, script string) (*hooks.Hooks, *journal) {
	t.Helper()
	j := new(journal)
	cfg.Self, cfg.Log = self(t), j.logger()
	cfg.Scripts = append(cfg.Scripts, write(t, "s.lua", script))
	h, err := hooks.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.Close(t.Context()) }) // which is over: the process is killed, and a race detector does not sleep in it
	return h, j
}

func start(id string) run.Event {
	return run.Event{Seq: 1, Kind: run.KindStart, Operation: "backup", ID: id, Time: time.Unix(1795212900, 0)}
}

func entered(seq int64, phase string) run.Event {
	return run.Event{Seq: seq, Kind: run.KindPhase, Operation: "backup", ID: "1", Phase: phase, Time: time.Unix(1795212900, 0)}
}

func same(t *testing.T, got, want []string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("got\n\t%s\nwant\n\t%s", strings.Join(got, "\n\t"), strings.Join(want, "\n\t"))
	}
}

// mention fails unless one line of the log has all the words.
func mention(t *testing.T, j *journal, words ...string) {
	t.Helper()
	if !slices.ContainsFunc(j.lines(), func(line string) bool {
		return !slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(line, w) })
	}) {
		t.Errorf("no line of the log has %q:\n%s", words, strings.Join(j.lines(), "\n"))
	}
}
