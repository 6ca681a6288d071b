package hooks_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/remora-backup/remora/core/code"
	"github.com/remora-backup/remora/core/plug"
	"github.com/remora-backup/remora/core/run"
	"github.com/remora-backup/remora/core/run/runtest"
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

// A whole run against a script: every transition in order, every percent once, gates
// between them, and the end.
func TestWholeRunInOrder(t *testing.T) {
	h, j := with(t, hooks.Config{}, `
function on_phase(e) log.info("phase", e.phase, e.previous) end
function on_progress(e) log.info("progress", e.percent, e.lsn_text) end
function before_phase(e) log.info("before", e.phase, e.previous) end
function on_end(e) log.info("end", e.state, e.lock_ms, #e.errors, #e.databases, e.databases[2], table.concat(e.databases, "+")) end`)
	plan := runtest.Result(runtest.Plan("restore", "1",
		runtest.Phase("restoring_basebackup", func(_ context.Context, t *run.Task) error {
			t.Databases([]string{"a", "b"})
			for p := range 101 {
				t.Progress(run.Progress{Percent: &p})
			}
			return nil
		}),
		runtest.Phase("preparing_backup", func(_ context.Context, t *run.Task) error {
			for p := range 101 {
				t.Progress(run.Progress{Percent: &p, LSN: 1<<60 + uint64(p)})
			}
			return nil
		}),
	), map[string]any{"lock_ms": 1.5})
	if err := run.Do(t.Context(), plan, run.Options{Readers: []run.Reader{h}, Gate: h.Gate}); err != nil {
		t.Fatal(err)
	}
	want := []string{"before restoring_basebackup nil", "phase restoring_basebackup nil",
		"before preparing_backup restoring_basebackup", "phase preparing_backup restoring_basebackup",
		"progress nil 1152921504606846976"}
	for p := range 101 {
		want = append(want, fmt.Sprintf("progress %d %d", p, 1<<60+uint64(p)))
	}
	same(t, j.lines(), append(want, "phase completed preparing_backup", "end complete 1.5 0 2 b a+b"))
}

// A hook that is slow is behind the run, never in front of it.
func TestSlowHookDoesNotDelayARun(t *testing.T) {
	asked := make(chan struct{})
	answer := make(chan struct{})
	notify := func(ctx context.Context, _ plug.Notice) error { close(asked); <-answer; return nil }
	h, j := with(t, hooks.Config{Notify: notify}, `
function on_phase(e) if e.phase == "one" then notify.send("waiting") end log.info(e.phase) end`)
	plan := runtest.Plan("backup", "1",
		runtest.Phase("one", nil),
		runtest.Phase("two", func(context.Context, *run.Task) error { <-asked; return nil }),
		runtest.Phase("three", func(context.Context, *run.Task) error { close(answer); return nil }), // the hook was waiting until here
	)
	if err := run.Do(t.Context(), plan, run.Options{Readers: []run.Reader{h}, Gate: h.Gate}); err != nil {
		t.Fatal(err)
	}
	same(t, j.lines(), []string{"one", "two", "three", "completed"})
}

func TestEndlessLoopsC21(t *testing.T) {
	for name, body := range map[string]string{
		"loop":      `while true do end`,
		"pcall":     `while true do pcall(function() while true do end end) end`,
		"recursion": `local function f() pcall(f) while true do end end f()`,
		"top level": `local loop = e.phase == "x" while loop or true do end`,
	} {
		t.Run(name, func(t *testing.T) {
			h, j := with(t, hooks.Config{Timeout: 500 * time.Millisecond}, "function on_phase(e)\n"+body+"\nend")
			h.Event(t.Context(), start("1"))
			h.Event(t.Context(), entered(2, "x"))
			mention(t, j, "hook failed", "s.lua:2: ", "took too long")
		})
	}
}

// A pattern cannot be interrupted from inside: its process is killed, and the next call
// finds a new one.
func TestPathologicalPatternC22(t *testing.T) {
	h, j := with(t, hooks.Config{Timeout: 500 * time.Millisecond}, `
function on_phase(e)
  if e.phase == "bad" then string.find(string.rep("a", 35), string.rep("a?", 35) .. string.rep(".-", 10) .. "b") end
  log.info("alive in " .. e.phase)
end`)
	h.Event(t.Context(), start("1"))
	h.Event(t.Context(), entered(2, "bad"))
	mention(t, j, "hook failed", "s.lua", "its process was killed")
	h.Event(t.Context(), entered(3, "good"))
	mention(t, j, "alive in good")
}

// After three killed calls the script is left out, once said, and gates of it refuse.
func TestScriptIsLeftOutC22(t *testing.T) {
	h, j := with(t, hooks.Config{Timeout: 300 * time.Millisecond}, `
function on_phase(e) while true do end end
function before_phase(e) end`)
	h.Event(t.Context(), start("1"))
	for seq := range int64(5) {
		h.Event(t.Context(), entered(seq+2, "x"))
	}
	var failed, left int
	for _, line := range j.lines() {
		if strings.HasPrefix(line, "hook failed") {
			failed++
		}
		if strings.Contains(line, "left out for the rest") {
			left++
		}
	}
	if failed != 3 || left != 1 {
		t.Errorf("%d calls failed and leaving out was said %d times, want 3 and 1", failed, left)
	}
	if err := h.Gate(t.Context(), entered(6, "y")); code.Of(err) != code.Veto {
		t.Errorf("gate of a script that is left out says %v, want a veto", err)
	}
	h.Event(t.Context(), start("1")) // the next run asks it again
	if err := h.Gate(t.Context(), entered(1, "y")); err != nil {
		t.Errorf("gate in the next run says %v, want nil", err)
	}
}

func resident(t *testing.T) int {
	t.Helper()
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		t.Fatal(err)
	}
	var size, pages int
	if _, err := fmt.Sscan(string(text), &size, &pages); err != nil {
		t.Fatal(err)
	}
	return pages * os.Getpagesize()
}

func TestMemoryBombC23(t *testing.T) {
	for name, body := range map[string]string{
		"string": `local s = string.rep("x", 1024) while true do s = s .. s end`,
		"table":  `local t = {} for i = 1, 1e12 do t[i] = "item" .. i end`,
	} {
		t.Run(name, func(t *testing.T) {
			h, j := with(t, hooks.Config{Timeout: time.Minute, Memory: 64 << 20}, "function on_phase(e)\n if e.phase == 'bad' then "+body+" end log.info('alive') end")
			before := resident(t)
			h.Event(t.Context(), start("1"))
			h.Event(t.Context(), entered(2, "bad"))
			mention(t, j, "hook failed", "took too much memory")
			if grown := resident(t) - before; grown > 32<<20 {
				t.Errorf("the host grew by %d bytes", grown)
			}
			h.Event(t.Context(), entered(3, "good"))
			mention(t, j, "alive")
		})
	}
}

func TestScriptErrorsC24(t *testing.T) {
	tests := []struct{ name, body, want string }{
		{"error", `error("boom")`, "s.lua:2: boom"},
		{"error without place", `error("boom", 0)`, "s.lua:2: boom"},
		{"error table", `error({code = 7})`, `s.lua:2: {"code":7}`},
		{"nil index", `local x = e.nothing.here`, "s.lua:2: attempt to index"},
		{"wrong argument", `string.rep()`, "s.lua:2: bad argument"},
		{"typo of a global", `ocunt = 1`, `s.lua:2: unknown global "ocunt"`},
		{"event is read only", `e.id = "../x"`, `s.lua:2: field "id" cannot be set`},
		{"config is read only", `config.a = 1`, `s.lua:2: field "a" cannot be set`},
		{"rep is bounded", `string.rep("xx", 1e6)`, "s.lua:2: string.rep of more than"},
		{"method rep is bounded", `("xx"):rep(1e9)`, "s.lua:2: string.rep of more than"},
		{"cyclic table", `local t = {} t.t = t json.encode(t)`, "s.lua:2: json.encode: tables are nested deeper"},
		{"deep recursion", `local function f() return 1 + f() end f()`, "s.lua:2: stack overflow"},
		{"protected globals", `setmetatable(_G, nil)`, "s.lua:2: cannot change a protected metatable"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h, j := with(t, hooks.Config{}, "function on_phase(e)\n"+tt.body+"\nend")
			h.Event(t.Context(), start("1"))
			h.Event(t.Context(), entered(2, "x"))
			mention(t, j, "hook failed", tt.want)
		})
	}
}

func TestLostEventsAreSaid(t *testing.T) {
	const lost = "the last events were not told"
	end := run.Event{Seq: 3, Kind: run.KindEnd, Operation: "backup", ID: "1", State: run.Complete}
	stopped, cancel := context.WithCancel(t.Context())
	cancel()
	for name, c := range map[string]struct {
		ctx  context.Context
		want bool
	}{"in time": {t.Context(), false}, "too late": {stopped, true}} {
		h, j := with(t, hooks.Config{}, "function on_end(e) end")
		h.Event(t.Context(), start("1"))
		h.Event(c.ctx, end)
		h.Close(t.Context())
		if got := strings.Contains(strings.Join(j.lines(), "\n"), lost); got != c.want {
			t.Errorf("%s: said that events were lost: got %v, want %v", name, got, c.want)
		}
	}
}

func TestWrongReturnC24(t *testing.T) {
	for body, want := range map[string]string{
		`return 0`:           "s.lua:1: before_phase returned a number",
		`return "no"`:        `s.lua:1: before_phase returned a reason without false before it: write return false, "no"`,
		`return nil, 5`:      "s.lua:1: before_phase returned a number as reason",
		`return false, {}`:   "s.lua:1: before_phase returned a table as reason",
		`return {}, "a"`:     "s.lua:1: before_phase returned a table",
		`error("no answer")`: "s.lua:1: no answer",
	} {
		h, _ := with(t, hooks.Config{}, "function before_phase(e) "+body+" end")
		h.Event(t.Context(), start("1"))
		if err := h.Gate(t.Context(), entered(1, "x")); code.Of(err) != code.Veto || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want a veto with %q", body, err, want)
		}
		h, j := with(t, hooks.Config{IgnoreErrors: true}, "function before_phase(e) "+body+" end")
		h.Event(t.Context(), start("1"))
		if err := h.Gate(t.Context(), entered(1, "x")); err != nil {
			t.Errorf("%s: got %v where errors are ignored", body, err)
		}
		mention(t, j, "hook failed", want)
	}
}

func TestBadScriptsAreRefusedC24(t *testing.T) {
	tests := []struct{ name, text, want string }{
		{"syntax", "function on_phase(e)\n if then\nend", `s.lua:2: syntax error near "then"`},
		{"end missing", "function on_phase(e)\n\n", "s.lua:1: syntax error at the end of the file"},
		{"not Lua", "\x1bLua\x00binary", "s.lua:1: "},
		{"top level error", "\nerror('no')", "s.lua:2: no"},
		{"typo in a name", "function on_phsae(e) end", `s.lua:1: unknown global "on_phsae": is on_phase meant?`},
		{"helper without local", "function helper() end", `s.lua:1: unknown global "helper": write local before it`},
		{"nothing defined", "local x = 1", "s.lua:1: defines none of on_phase, "},
		{"top level loop", "while true do end", "s.lua:1: took too long"},
		{"require", "local x = require('socket')", "s.lua:1: attempt to call a non-function"},
		{"long", strings.Repeat("-", 2<<20), "more than 1048576 bytes"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h, err := hooks.Open(t.Context(), hooks.Config{Scripts: []string{write(t, "s.lua", tt.text)}, Self: self(t), Timeout: time.Second})
			if err == nil {
				h.Close(t.Context())
			}
			if code.Of(err) != code.Usage || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v (code %d), want code 10 and %q", err, code.Of(err), tt.want)
			}
		})
	}
	_, err := hooks.Open(t.Context(), hooks.Config{Scripts: []string{"/nonexistent.lua"}, Self: self(t)})
	if code.Of(err) != code.Usage || !errors.Is(err, os.ErrNotExist) {
		t.Errorf("missing script: got %v, want code 10", err)
	}
}

// The list is exact: whatever a library adds one day has to be looked at first.
func TestGlobalsC25(t *testing.T) {
	h, j := with(t, hooks.Config{}, `
local function list(t, skip)
  local names = {}
  for k in pairs(t) do if not (skip and skip[k]) then names[#names + 1] = k end end
  table.sort(names)
  return table.concat(names, " ")
end
function on_phase(e)
  log.info("_G: " .. list(_G))
  for _, name in ipairs({"string", "table", "math", "log", "json", "http", "notify", "metrics", "time"}) do
    log.info(name .. ": " .. list(_G[name]))
  end
end`)
	h.Event(t.Context(), start("1"))
	h.Event(t.Context(), entered(2, "x"))
	same(t, j.lines(), []string{
		"_G: _G _GOPHER_LUA_VERSION _VERSION assert config error getmetatable http ipairs json log math metrics next notify on_phase pairs pcall print rawequal rawget rawset select setmetatable string table time tonumber tostring type unpack xpcall",
		"string: __index byte char find format gmatch gsub len lower match rep reverse sub upper",
		"table: concat getn insert maxn remove sort",
		"math: abs acos asin atan atan2 ceil cos cosh deg exp floor fmod frexp huge ldexp log log10 max min mod modf pi pow rad random randomseed sin sinh sqrt tan tanh",
		"log: debug error info warn",
		"json: array decode encode null",
		"http: get post",
		"notify: send",
		"metrics: count gauge",
		"time: date",
	})
}

// What a script hands out is taken as hostile.
func TestHostileValuesC26(t *testing.T) {
	var got []plug.Notice
	h, j := with(t, hooks.Config{Notify: func(_ context.Context, n plug.Notice) error { got = append(got, n); return nil }}, `
function before_phase(e) return false, string.rep("r", 1e6) .. "\27[31m" end
function on_phase(e)
  log.info("\27[31mred\0")
  assert(notify.send(string.rep("t", 1e6)))
  assert(not pcall(metrics.count, "../x"))
  assert(not pcall(metrics.count, "x", -1))
  assert(not pcall(metrics.gauge, "x", 0/0))
  assert(not pcall(metrics.gauge, "x", 1, {["../x"] = "a"}))
  assert(not pcall(notify.send, {text = "a", severity = "../x"}))
  assert(http.get("file:///etc/passwd") == nil)
  assert(http.get("../x") == nil)
  for i = 1, 1000 do log.debug(i) end
end`)
	h.Event(t.Context(), start("1"))
	h.Event(t.Context(), entered(2, "x"))
	err := h.Gate(t.Context(), entered(2, "y"))
	if code.Of(err) != code.Veto || len(err.Error()) > 9000 || strings.Contains(err.Error(), "\x1b") {
		t.Errorf("reason of %d bytes came through", len(err.Error()))
	}
	if len(got) != 1 || len(got[0].Text) > 9000 {
		t.Errorf("got %d notices, want one that is cut", len(got))
	}
	lines := j.lines()
	if lines[0] != "\uFFFD[31mred\uFFFD" || len(lines) > 600 {
		t.Errorf("%d lines, the first %q; want them bounded and made harmless", len(lines), lines[0])
	}
	if slices.ContainsFunc(lines, func(l string) bool { return strings.HasPrefix(l, "hook failed") }) {
		t.Errorf("the script failed: %s", lines[len(lines)-1])
	}
}

func TestVetoC27(t *testing.T) {
	h, _ := with(t, hooks.Config{}, `function before_phase(e) if e.phase == "locking" then return false, "not during the sale" end end`)
	locked := false
	plan := runtest.Plan("backup", "1",
		runtest.Phase("copying_tablespaces", nil),
		runtest.Step{Phase: run.Phase{Name: "locking", Locks: true}, Do: func(context.Context, *run.Task) error { locked = true; return nil }},
	)
	var end run.Event
	last := run.ReaderFunc(func(_ context.Context, e run.Event) { end = e })
	err := run.Do(t.Context(), plan, run.Options{Readers: []run.Reader{h, last}, Gate: h.Gate})
	if code.Of(err) != code.Veto || locked || end.State != run.Failed || !strings.Contains(end.Error, "s.lua: not during the sale") {
		t.Errorf("got %v, locked %v, end %+v; want code 23, the hook's words, and no lock", err, locked, end)
	}
}

// From the moment before the lock until after it no script runs; then everything is
// told, in order, before the next gate.
func TestNothingRunsWhileLockedC28(t *testing.T) {
	for _, gates := range []string{"", `function before_phase(e) notify.send("before " .. e.phase) end `} {
		var mu sync.Mutex
		var calls []string
		locked := false
		notify := func(_ context.Context, n plug.Notice) error {
			mu.Lock()
			defer mu.Unlock()
			if locked {
				t.Errorf("%q while the server is locked", n.Text)
			}
			calls = append(calls, n.Text)
			return nil
		}
		setLocked := func(v bool) { mu.Lock(); locked = v; mu.Unlock() }
		h, _ := with(t, hooks.Config{Notify: notify}, gates+`function on_phase(e) notify.send(e.phase) end`)
		drained := make(chan struct{}) // a second reader: the first has been given the same events
		plan := runtest.Plan("backup", "1",
			runtest.Phase("copying", nil),
			runtest.Step{Phase: run.Phase{Name: "locking", Locks: true}, Do: func(context.Context, *run.Task) error { setLocked(true); return nil }},
			runtest.Step{Phase: run.Phase{Name: "synchronizing", Locked: true}, Do: func(context.Context, *run.Task) error {
				<-drained
				setLocked(false)
				return nil
			}},
			runtest.Phase("storing", nil),
		)
		both := run.ReaderFunc(func(ctx context.Context, e run.Event) {
			h.Event(ctx, e)
			if e.Phase == "synchronizing" && e.Kind == run.KindPhase {
				close(drained)
			}
		})
		if err := run.Do(t.Context(), plan, run.Options{Readers: []run.Reader{both}, Gate: h.Gate}); err != nil {
			t.Fatal(err)
		}
		want := []string{"copying", "locking", "synchronizing", "storing", "completed"}
		if gates != "" {
			want = []string{"before copying", "copying", "before locking", "locking", "synchronizing", "before storing", "storing", "completed"}
		}
		same(t, calls, want)
	}
}

// A call that is being made when the lock is about to be taken is waited for.
func TestLockWaitsForTheCallC28(t *testing.T) {
	in, out := make(chan struct{}), make(chan struct{})
	var over atomic.Bool
	h, _ := with(t, hooks.Config{Notify: func(context.Context, plug.Notice) error { close(in); <-out; over.Store(true); return nil }}, `
function on_phase(e) notify.send("x") end`)
	h.Event(t.Context(), start("1"))
	told := make(chan struct{})
	go func() { defer close(told); h.Event(t.Context(), entered(2, "copying")) }()
	<-in
	lock := entered(2, "locking")
	lock.Quiet = true
	gate := make(chan bool)
	go func() {
		if err := h.Gate(t.Context(), lock); err != nil {
			t.Error(err)
		}
		gate <- over.Load()
	}()
	time.Sleep(20 * time.Millisecond) // gives a gate that does not wait the time to show it
	close(out)
	if !<-gate {
		t.Error("the gate let the lock be taken during a call")
	}
	<-told
}

func TestHTTP(t *testing.T) {
	var asked []string
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body := new(bytes.Buffer)
		_, _ = body.ReadFrom(r.Body)
		asked = append(asked, fmt.Sprintf("%s %s %s %s %s", r.Method, r.URL.Path, r.Header.Get("Content-Type"), r.Header.Get("X-Token"), body))
		switch r.URL.Path {
		case "/hang":
			<-r.Context().Done()
		case "/big":
			_, _ = w.Write(make([]byte, 2<<20))
		default:
			w.WriteHeader(201)
			fmt.Fprint(w, `{"ok":true}`)
		}
	}))
	defer srv.Close()
	settings, err := json.Marshal(map[string]string{"url": srv.URL})
	if err != nil {
		t.Fatal(err)
	}
	h, j := with(t, hooks.Config{Config: settings}, `
function on_phase(e)
  local r = http.post(config.url .. "/a", {id = e.id, list = {1, 2.5, "x"}}, {headers = {["X-Token"] = "t"}})
  log.info(r.status, json.decode(r.body).ok, r.headers["content-length"])
  log.info(http.get(config.url .. "/b").status)
  log.info("result", http.get(config.url .. "/big"))
  log.info("result", http.get(config.url .. "/hang", {timeout = 0.05}))
  log.info("result", http.get("http://127.0.0.1:1/secret"))
end`)
	h.Event(t.Context(), start("1"))
	h.Event(t.Context(), entered(2, "x"))
	srv.Close() // its handlers are done
	same(t, asked, []string{`POST /a application/json t {"id":"1","list":[1,2.5,"x"]}`, "GET /b   ", "GET /big   ", "GET /hang   "})
	host := strings.TrimPrefix(srv.URL, "http://")
	same(t, j.lines(), []string{
		"201 true 11", "201",
		"http.get: read the answer of " + host + ": more than 1048576 bytes", "result nil read the answer of " + host + ": more than 1048576 bytes",
		"http.get: ask " + host + ": context deadline exceeded", "result nil ask " + host + ": context deadline exceeded",
		"http.get: ask 127.0.0.1:1: dial tcp 127.0.0.1:1: connect: connection refused", "result nil ask 127.0.0.1:1: dial tcp 127.0.0.1:1: connect: connection refused",
	})
}

func TestNotifyAndMetrics(t *testing.T) {
	var got plug.Notice
	metrics := new(hooks.Metrics)
	fail := false
	h, j := with(t, hooks.Config{Metrics: metrics, Notify: func(_ context.Context, n plug.Notice) error {
		got = n
		if fail {
			return errors.New("nobody listens")
		}
		return nil
	}}, `
function on_phase(e)
  log.info("sent", notify.send({text = "hello", severity = "warning"}))
  metrics.count("calls", 1, {phase = e.phase})
  metrics.gauge("unix", e.unix)
end`)
	h.Event(t.Context(), start("1"))
	h.Event(t.Context(), entered(2, "x"))
	fail = true
	h.Event(t.Context(), entered(3, "x"))
	var event map[string]any
	if err := json.Unmarshal(got.Event, &event); err != nil || event["phase"] != "x" {
		t.Errorf("notice carries %s (%v), want the event", got.Event, err)
	}
	if got.Text != "hello" || got.Severity != "warning" || got.Operation != "backup" || got.ID != "1" || got.Time.IsZero() {
		t.Errorf("got notice %+v", got)
	}
	same(t, j.lines(), []string{"sent true", "sent nil nobody listens"})
	snapshot := fmt.Sprint(metrics.Snapshot())
	if want := "[{counter calls map[phase:x] 2} {gauge unix map[] 1.7952129e+09}]"; snapshot != want {
		t.Errorf("metrics are %s, want %s", snapshot, want)
	}
}

// Nothing is remembered between calls, and scripts do not see each other.
func TestFreshStateForEachCall(t *testing.T) {
	script := `
local n = 0
function on_phase(e) n = n + 1; log.info(n, ("x"):upper()); string.upper = function() return "poisoned" end; rawset(_G, "left", n); log.info(left) end`
	h, j := with(t, hooks.Config{Scripts: []string{write(t, "first.lua", script)}}, script)
	h.Event(t.Context(), start("1"))
	h.Event(t.Context(), entered(2, "x"))
	h.Event(t.Context(), entered(3, "y"))
	same(t, j.lines(), []string{"1 X", "1", "1 X", "1", "1 X", "1", "1 X", "1"})
}

// A call that is under way ends with its context, and the next one is served.
func TestCancelledCall(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	h, j := with(t, hooks.Config{Notify: func(context.Context, plug.Notice) error { cancel(); return nil }}, `
function on_phase(e)
  if e.phase == "x" then notify.send("now") while true do end end
  log.info(e.phase)
end`)
	h.Event(t.Context(), start("1"))
	h.Event(ctx, entered(2, "x"))
	h.Event(t.Context(), entered(3, "y"))
	mention(t, j, "y")
}

// The child has nothing of its host: no environment, no terminal's group; and when a
// call is cancelled nothing of it goes on.
func TestChildIsAlone(t *testing.T) {
	t.Setenv("SECRET", "x")
	looping := make(chan struct{})
	h, _ := with(t, hooks.Config{Timeout: time.Minute, Notify: func(context.Context, plug.Notice) error { close(looping); return nil }}, `
function on_phase(e) notify.send("looping") while true do end end`)
	pid := child(t)
	env, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
	if err != nil || strings.Contains(string(env), "SECRET") || strings.Contains(string(env), "PATH=") {
		t.Errorf("child has the environment %q (%v)", env, err)
	}
	if group, err := syscall.Getpgid(pid); err != nil || group != pid {
		t.Errorf("child is in process group %d (%v), want its own", group, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); h.Event(ctx, start("1")); h.Event(ctx, entered(2, "x")) }()
	<-looping
	cancel()
	<-done
	if err := syscall.Kill(pid, 0); err == nil {
		t.Errorf("child %d is still there", pid)
	}
}

// A child that somebody kills is replaced, and asked again what it was asked; once, as it
// may be the script that ends it.
func TestKilledChildIsReplaced(t *testing.T) {
	for _, kills := range []int32{1, 2} {
		var killed atomic.Int32
		h, j := with(t, hooks.Config{Notify: func(context.Context, plug.Notice) error {
			if killed.Add(1) <= kills {
				return syscall.Kill(child(t), syscall.SIGKILL)
			}
			return nil
		}}, `
function before_phase(e) notify.send("asked") end
function on_end(e) log.info("told") end`)
		plan := runtest.Plan("backup", "1", runtest.Phase("copying_tablespaces", nil))
		err := run.Do(t.Context(), plan, run.Options{Readers: []run.Reader{h}, Gate: h.Gate})
		if want := map[int32]code.Code{1: code.Done, 2: code.Veto}[kills]; code.Of(err) != want {
			t.Errorf("killed %d times: got %v, want code %d", kills, err, want)
		}
		h.Close(t.Context())
		mention(t, j, "told")
	}
}

// The end of the host is the end of the child's stdin, and that ends the child even
// while a script runs.
func TestChildEndsWithItsHost(t *testing.T) {
	argv := self(t)
	cmd := exec.CommandContext(t.Context(), argv[0], argv[1:]...)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{
		`{"load":{"scripts":[{"name":"s.lua","text":"function on_phase(e) log.info('looping') while true do end end"}],"memory":268435456,"timeout_ms":600000}}`,
		`{"call":{"function":"on_phase","event":{},"timeout_ms":600000}}`,
	} {
		if _, err := fmt.Fprintln(in, line); err != nil {
			t.Fatal(err)
		}
	}
	for lines := bufio.NewScanner(out); lines.Scan() && !strings.Contains(lines.Text(), "looping"); {
	}
	in.Close()
	if err := cmd.Wait(); err != nil {
		t.Errorf("child ended with %v", err)
	}
}

// child returns the process id of this process's only child.
func child(t *testing.T) int {
	t.Helper()
	tasks, err := filepath.Glob("/proc/self/task/*/children")
	if err != nil {
		t.Fatal(err)
	}
	for _, task := range tasks {
		text, err := os.ReadFile(task)
		var pid int
		if err != nil {
			continue
		}
		if _, err := fmt.Sscan(string(text), &pid); err == nil {
			return pid
		}
	}
	t.Fatal("no child process found")
	return 0
}

func TestNoScriptsNoProcess(t *testing.T) {
	h, err := hooks.Open(t.Context(), hooks.Config{Self: []string{"/nonexistent"}})
	if err != nil {
		t.Fatal(err)
	}
	h.Event(t.Context(), start("1"))
	if err := h.Gate(t.Context(), entered(1, "x")); err != nil {
		t.Error(err)
	}
	h.Close(t.Context())
	_, err = hooks.Open(t.Context(), hooks.Config{Self: []string{"/nonexistent"}, Scripts: []string{write(t, "s.lua", "function on_end() end")}})
	if err == nil {
		t.Error("a process that cannot be started was not noticed")
	}
}
