package hooks_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/remora-backup/remora/core/code"
	"github.com/remora-backup/remora/core/run"
	"github.com/remora-backup/remora/hooks"
)

// effects returns what Check shows of the scripts, without the calls that did nothing
// and without times.
func effects(t *testing.T, cfg hooks.Config) ([]string, error) {
	t.Helper()
	cfg.Self = self(t)
	var out bytes.Buffer
	err := hooks.Check(t.Context(), cfg, &out)
	took := regexp.MustCompile(` \(\d+\.\d ms\)$`)
	var shown []string
	call := ""
	for line := range strings.Lines(out.String()) {
		line = strings.TrimRight(line, "\n")
		switch {
		case !strings.HasPrefix(line, "    "):
			call = took.ReplaceAllString(line, "")
		default:
			shown = append(shown, strings.Join(strings.Fields(call), " ")+": "+strings.TrimSpace(line))
		}
	}
	return shown, err
}

func example(name string) string { return filepath.Join("..", "examples", "hooks", name) }

func TestCheckShowsEveryCall(t *testing.T) {
	var out bytes.Buffer
	err := hooks.Check(t.Context(), hooks.Config{Self: self(t), Scripts: []string{write(t, "s.lua", `
function on_phase(e) end
function on_progress(e) if e.percent == 50 then error("half") end end
function before_phase(e) return e.phase ~= "locking", "closed" end
function on_end(e) log.warn(e.state, e.lock_ms, e.target) end`)}}, &out)
	if code.Of(err) != code.Usage || !strings.Contains(err.Error(), "1 of ") {
		t.Errorf("got %v, want the count of failed calls with code 10", err)
	}
	for _, want := range []string{
		"== a backup that completes", "== a restore that completes", "== a backup that fails",
		"before_phase following_redo (", "on_phase     completed (", "on_progress  no percent yet (", "on_progress  100% (",
		"    ERROR ", "s.lua:3: half", "    VETO  closed (the backup would end here with exit code 23)",
		"    log warn: complete 12.3 nil", "    log warn: complete nil /var/lib/mysql", "    log warn: error nil nil",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("output lacks %q:\n%s", want, out.String())
		}
	}
	for _, never := range []string{"before_phase sync_point", "before_phase completed", "before_phase failed"} {
		if strings.Contains(out.String(), never) {
			t.Errorf("output has %q", never)
		}
	}
}

func TestCheckRefusesABrokenScriptC24(t *testing.T) {
	_, err := effects(t, hooks.Config{Scripts: []string{write(t, "s.lua", "function")}})
	if code.Of(err) != code.Usage || !strings.Contains(err.Error(), "s.lua:1: ") {
		t.Errorf("got %v, want code 10 and the line", err)
	}
}

func TestExampleSlackAlert(t *testing.T) {
	got, err := effects(t, hooks.Config{Scripts: []string{example("slack_alert.lua")}, Config: json.RawMessage(`{"slack_url":"https://hooks.example/x"}`)})
	if err != nil {
		t.Fatal(err)
	}
	same(t, got, []string{
		`on_end complete: http POST https://hooks.example/x {"text":":white_check_mark: restore 20261120T221500Z-7f3a is done after 58 s"}`,
		`on_end error: http POST https://hooks.example/x {"text":":red_circle: backup 20261121T020000Z-11c4 failed: copy shop/orders.ibd: page 4711: checksum is wrong after 10 reads (LSN 48291001111)"}`,
	})
	if got, err := effects(t, hooks.Config{Scripts: []string{example("slack_alert.lua")}}); err == nil || !strings.Contains(got[0], "slack_url is missing") {
		t.Errorf("without a URL: %v, %q; want an error that names the setting", err, got)
	}
}

// The example reaches a real webhook, and says so if that refuses.
func TestExampleSlackAlertPosts(t *testing.T) {
	bodies := make(chan string, 2)
	var status atomic.Int32
	status.Store(http.StatusOK)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		bodies <- string(body)
		w.WriteHeader(int(status.Load()))
	}))
	defer srv.Close()
	settings, err := json.Marshal(map[string]string{"slack_url": srv.URL})
	if err != nil {
		t.Fatal(err)
	}
	h, j := with(t, hooks.Config{Scripts: []string{example("slack_alert.lua")}, Config: settings}, "function on_phase() end")
	end := run.Event{Seq: 2, Kind: run.KindEnd, Operation: "backup", ID: "7", State: run.Cancelled, Error: "operation has been interrupted (SIGINT)", Time: time.Now()}
	h.Event(t.Context(), start("7"))
	h.Event(t.Context(), end)
	if want := `{"text":":warning: backup 7 was cancelled: operation has been interrupted (SIGINT)"}`; len(bodies) != 1 {
		t.Errorf("webhook was called %d times, want once", len(bodies))
	} else if got := <-bodies; got != want {
		t.Errorf("webhook got %s, want %s", got, want)
	}
	status.Store(http.StatusForbidden)
	end.Seq++
	h.Event(t.Context(), end)
	mention(t, j, "slack_alert.lua:25: no message was sent: status 403")
}

func TestExampleStallDetector(t *testing.T) {
	got, err := effects(t, hooks.Config{Scripts: []string{example("stall_detector.lua")}})
	if err != nil {
		t.Fatal(err)
	}
	var stalls []string
	for _, line := range got {
		if strings.HasPrefix(line, "on_stall") {
			stalls = append(stalls, line)
		}
	}
	same(t, stalls, []string{
		`on_stall copying_tablespaces, 60 s idle: metric gauge backup_idle_seconds{operation="backup"} 60`,
		`on_stall copying_tablespaces, 600 s idle: metric gauge backup_idle_seconds{operation="backup"} 600`,
		`on_stall copying_tablespaces, 600 s idle: notify error: backup 20261120T221500Z-7f3a: nothing moved in copying_tablespaces for 10 minutes`,
	})
}

func TestExampleMaintenanceWindow(t *testing.T) {
	const veto = "before_phase locking: VETO  it is 22:30, the server may be locked from 01:00 to 05:00 only (the backup would end here with exit code 23)"
	for settings, want := range map[string][]string{
		`{}`:                               nil,
		`{"window_from":1,"window_to":5}`:  {veto},
		`{"window_from":21,"window_to":3}`: nil,
		`{"window_from":3,"window_to":21,"window_zone":"UTC"}`:       {strings.Replace(veto, "01:00 to 05:00", "03:00 to 21:00", 1)},
		`{"window_from":7,"window_to":8,"window_zone":"Asia/Tokyo"}`: nil,
	} {
		got, err := effects(t, hooks.Config{Scripts: []string{example("maintenance_window.lua")}, Config: json.RawMessage(settings)})
		if err != nil {
			t.Errorf("%s: %v %q", settings, err, got)
			continue
		}
		t.Log(settings)
		same(t, got, want)
	}
}
