package hooks_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/remora-backup/remora/core/code"
	"github.com/remora-backup/remora/core/plug"
	"github.com/remora-backup/remora/core/run"
	"github.com/remora-backup/remora/core/run/runtest"
	"github.com/remora-backup/remora/hooks"
)

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

func TestAScheduledRunCanBeRefused(t *testing.T) {
	h, _ := with(t, hooks.Config{}, `function before_phase(e) if e.requested_by == "schedule" then return false, "maintenance" end end`)
	for by, want := range map[string]code.Code{"schedule": code.Veto, "api:anna": code.Done, "": code.Done} {
		plan := runtest.Plan("backup", "1"+by, runtest.Phase("preflight", nil))
		if err := run.Do(t.Context(), plan, run.Options{Readers: []run.Reader{h}, Gate: h.Gate, RequestedBy: by}); code.Of(err) != want {
			t.Errorf("requested by %q: got %v, want code %d", by, err, want)
		}
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
