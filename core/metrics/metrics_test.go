package metrics

import (
	"context"
	"errors"
	"io"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/remora-backup/remora/core/api"
	"github.com/remora-backup/remora/core/plug"
	"github.com/remora-backup/remora/core/repo"
	"github.com/remora-backup/remora/core/run"
	"github.com/remora-backup/remora/core/state"
)

type source struct {
	mu      sync.Mutex
	status  api.Status
	restore api.RestoreStatus
}

func (s *source) Status() api.Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.status
}

func (s *source) Restore() api.RestoreStatus {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.restore
}

// scrape returns our own lines of the answer, without comments.
func scrape(t testing.TB, m *Metrics) string {
	t.Helper()
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), "GET", "/metrics", nil))
	text, err := io.ReadAll(w.Result().Body)
	if err != nil || w.Code != 200 {
		t.Fatalf("%d %s %v", w.Code, text, err)
	}
	var ours []string
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, "remora_") {
			ours = append(ours, line)
		}
	}
	return strings.Join(ours, "")
}

func has(t *testing.T, text string, lines ...string) {
	t.Helper()
	for _, want := range lines {
		if !strings.Contains("\n"+text, "\n"+want+"\n") {
			t.Errorf("%q is missing in\n%s", want, text)
		}
	}
}

func hasNot(t *testing.T, text string, names ...string) {
	t.Helper()
	for _, name := range names {
		if strings.Contains(text, "remora_"+name) {
			t.Errorf("%s is there:\n%s", name, text)
		}
	}
}

type result struct {
	LockMS      float64   `json:"lock_ms"`
	LockWaitMS  float64   `json:"lock_wait_ms"`
	Bytes       int64     `json:"bytes"`
	StoredBytes int64     `json:"stored_bytes"`
	VPTime      time.Time `json:"vp_time"`
	DataTime    time.Time `json:"data_time,omitzero"`
}

// S1.6: the gauge is there while a restore prepares, and not one scrape longer.
func TestPrepareProgress(t *testing.T) {
	percent := 0
	s := &source{}
	m := New(s)
	for _, c := range []struct {
		phase   string
		percent *int
		want    string
	}{
		{"restoring_basebackup", nil, ""},
		{"preparing_backup", nil, ""},
		{"preparing_backup", &percent, "remora_basebackup_prepare_progress 0"},
		{"finalizing", &percent, ""}, // a stale one
		{"failed", &percent, ""},
		{"idle", nil, ""},
	} {
		s.mu.Lock()
		s.restore = api.RestoreStatus{Phase: c.phase, PrepareProgress: c.percent}
		s.mu.Unlock()
		got := scrape(t, m)
		if c.want == "" {
			hasNot(t, got, "basebackup_prepare_progress")
		} else {
			has(t, got, c.want)
		}
	}
}

func TestPresent(t *testing.T) {
	at := time.Unix(1700000000, 500e6)
	s := &source{}
	m := New(s)
	hasNot(t, scrape(t, m), "mysql_up", "phase", "next_run", "schedule_paused", "last_")
	s.status = api.Status{Operation: "backup", Phase: "copying_tablespaces", Bytes: 5, TotalBytes: 10, Server: "away", Next: &api.Scheduled{Operation: "verify", Time: at},
		PausedUntil: at, Postponed: true, Since: at, Version: "v1"}
	has(t, scrape(t, m), `remora_phase{operation="backup",phase="copying_tablespaces"} 1`, `remora_phase_moved_bytes{operation="backup",phase="copying_tablespaces"} 5`,
		`remora_phase_expected_bytes{operation="backup",phase="copying_tablespaces"} 10`, "remora_mysql_up 0", `remora_next_run_timestamp_seconds{operation="verify"} 1.7000000005e+09`,
		"remora_schedule_paused_until_timestamp_seconds 1.7000000005e+09", "remora_reload_postponed 1", `remora_info{version="v1"} 1`)
}

func TestPast(t *testing.T) {
	m := New(&source{})
	at := time.Unix(1700000000, 0)
	m.Backups([]repo.Listed{
		{ID: "new", State: "damaged", Finished: at.Add(time.Hour), Bytes: 9},
		{ID: "good", State: "complete", Finished: at, Bytes: 5, StoredBytes: 3, LockMS: 20, VPTime: at.Add(-time.Minute)},
		{ID: "old", State: "complete", Finished: at.Add(-time.Hour), Bytes: 1},
	})
	m.History([]state.Operation{
		{Operation: "verify", State: run.Failed, Ended: at.Add(time.Hour)},
		{Operation: "verify", State: run.Complete, Ended: at},
		{Operation: "verify", State: run.Complete, Ended: at.Add(-time.Hour)},
	})
	has(t, scrape(t, m), "remora_last_backup_timestamp_seconds 1.7e+09", "remora_last_backup_size_bytes 5", "remora_last_backup_stored_bytes 3",
		"remora_last_backup_data_timestamp_seconds 1.69999994e+09", "remora_last_lock_window_seconds 0.02", "remora_last_verify_timestamp_seconds 1.7e+09", "remora_lock_window_seconds_count 0")

	later := at.Add(2 * time.Hour)
	m.Event(t.Context(), run.Event{Kind: run.KindStall, Operation: "backup", Phase: "locking"})
	m.Event(t.Context(), run.Event{Kind: run.KindEnd, Operation: "backup", State: run.Failed, Code: 14, Time: later})
	m.Event(t.Context(), run.Event{Kind: run.KindEnd, Operation: "restore", State: run.Cancelled, Code: 25, Time: later})
	m.Event(t.Context(), run.Event{Kind: run.KindEnd, Operation: "verify", State: run.Failed, Code: 19, Time: later})
	has(t, scrape(t, m), "remora_last_backup_timestamp_seconds 1.7e+09", "remora_last_verify_timestamp_seconds 1.7e+09", `remora_stalls_total{operation="backup",phase="locking"} 1`,
		`remora_failures_total{code="14",operation="backup"} 1`, `remora_failures_total{code="25",operation="restore"} 1`, `remora_operations_total{operation="backup",state="error"} 1`)

	m.Event(t.Context(), run.Event{Kind: run.KindEnd, Operation: "backup", State: run.CompleteWithWarnings, Time: later,
		Result: result{LockMS: 30, LockWaitMS: 1500, Bytes: 7, StoredBytes: 6, VPTime: later, DataTime: at}})
	m.Event(t.Context(), run.Event{Kind: run.KindEnd, Operation: "verify", State: run.Complete, Time: later})
	m.Backups([]repo.Listed{{State: "complete", Finished: at}}) // an older list
	m.Missed("backup")
	has(t, scrape(t, m), "remora_last_backup_timestamp_seconds 1.7000072e+09", "remora_last_backup_size_bytes 7", "remora_last_backup_stored_bytes 6",
		"remora_last_backup_data_timestamp_seconds 1.7e+09", "remora_last_lock_window_seconds 0.03", "remora_last_lock_wait_seconds 1.5", "remora_last_verify_timestamp_seconds 1.7000072e+09",
		`remora_lock_window_seconds_bucket{le="0.025"} 0`, `remora_lock_window_seconds_bucket{le="0.05"} 1`, "remora_lock_wait_seconds_sum 1.5", `remora_runs_missed_total{operation="backup"} 1`)
}

type plugin struct{ err error }

func (p plugin) Send(context.Context, plug.Notice) error { return p.err }
func (p plugin) Event(context.Context, run.Event)        {}
func (p plugin) Gate(context.Context, run.Event) error   { return p.err }
func (p plugin) Close(context.Context)                   {}

func TestCalled(t *testing.T) {
	m := New(&source{})
	no := plugin{errors.New("no")}
	for i, p := range []plugin{{}, no, no} {
		if err := m.Notify("webhook", p).Send(t.Context(), plug.Notice{}); (err != nil) != (i > 0) {
			t.Errorf("got %v", err)
		}
		h := m.Hooks(p)
		h.Event(t.Context(), run.Event{})
		if err := h.Gate(t.Context(), run.Event{}); (err != nil) != (i > 0) {
			t.Errorf("got %v", err)
		}
	}
	has(t, scrape(t, m), `remora_notices_total{plugin="webhook"} 3`, `remora_notices_lost_total{plugin="webhook"} 2`, `remora_notify_seconds_count{plugin="webhook"} 3`,
		"remora_hook_refusals_total 2", `remora_hook_seconds_count{call="event"} 3`, `remora_hook_seconds_count{call="before_phase"} 3`)
}

// The names and help texts are as Prometheus wants them, of all there are.
func TestNames(t *testing.T) {
	percent, at := 5, time.Unix(1700000000, 0)
	s := &source{status: api.Status{Operation: "backup", Phase: "x", TotalBytes: 1, Server: "up", Next: &api.Scheduled{Operation: "backup", Time: at}, PausedUntil: at, Since: at, Version: "v"},
		restore: api.RestoreStatus{Phase: "preparing_backup", PrepareProgress: &percent}}
	m := New(s)
	m.Missed("backup")
	m.Event(t.Context(), run.Event{Kind: run.KindStall})
	m.Event(t.Context(), run.Event{Kind: run.KindEnd, State: run.Failed, Code: 1})
	m.Event(t.Context(), run.Event{Kind: run.KindEnd, Operation: "verify", State: run.Complete, Time: at})
	m.Event(t.Context(), run.Event{Kind: run.KindEnd, Operation: "backup", State: run.Complete, Time: at, Result: result{1, 1, 1, 1, at, at}})
	no := plugin{errors.New("no")}
	_ = m.Notify("webhook", no).Send(t.Context(), plug.Notice{})
	_ = m.Hooks(no).Gate(t.Context(), run.Event{})
	problems, err := testutil.GatherAndLint(m.registry)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
	n, err := testutil.GatherAndCount(m.registry)
	if err != nil {
		t.Fatal(err)
	}
	own := map[string]bool{}
	for line := range strings.Lines(scrape(t, m)) {
		name, _, _ := strings.Cut(line, "{")
		name, _, _ = strings.Cut(name, " ")
		own[strings.TrimSuffix(strings.TrimSuffix(strings.TrimSuffix(name, "_bucket"), "_sum"), "_count")] = true
	}
	if len(own) != 28 || n < len(own) {
		t.Errorf("%d metrics were looked at, want all 28: %v", len(own), own)
	}
}

// Events are counted while others scrape.
func TestAtOnce(t *testing.T) {
	m := New(&source{})
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 50 {
				m.Event(t.Context(), run.Event{Kind: run.KindEnd, Operation: "backup", State: run.Complete, Time: time.Now(), Result: result{LockMS: 1}})
				m.Backups(nil)
			}
		})
		wg.Go(func() {
			for range 5 {
				scrape(t, m)
			}
		})
	}
	wg.Wait()
	has(t, scrape(t, m), `remora_operations_total{operation="backup",state="complete"} 200`)
}
