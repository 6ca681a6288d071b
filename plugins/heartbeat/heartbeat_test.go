package heartbeat

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/remora-backup/remora/core/plug"
)

// monitor counts the calls.
type monitor struct {
	mu   sync.Mutex
	got  []string
	fail int // requests to refuse first
}

func (m *monitor) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	m.mu.Lock()
	defer m.mu.Unlock()
	body, _ := io.ReadAll(r.Body)
	m.got = append(m.got, r.Method+" "+r.URL.Path+" "+string(body))
	if m.fail > 0 {
		m.fail--
		w.WriteHeader(http.StatusBadGateway)
	}
}

func TestOnlyAGoodScheduledRunIsABeat(t *testing.T) {
	for _, c := range []struct {
		name, event string
		operations  []string
		calls       int
	}{
		{"good", `{"event":"end","operation":"backup","state":"complete","requested_by":"schedule"}`, nil, 1},
		{"with warnings", `{"event":"end","operation":"backup","state":"complete_with_warnings","requested_by":"schedule"}`, nil, 1},
		{"failed", `{"event":"end","operation":"backup","state":"error","requested_by":"schedule"}`, nil, 0},
		{"cancelled", `{"event":"end","operation":"backup","state":"cancelled","requested_by":"schedule"}`, nil, 0},
		{"by hand", `{"event":"end","operation":"backup","state":"complete"}`, nil, 0},
		{"by the API", `{"event":"end","operation":"backup","state":"complete","requested_by":"api:schedule"}`, nil, 0},
		{"begun", `{"event":"start","operation":"backup","requested_by":"schedule"}`, nil, 0},
		{"verify", `{"event":"end","operation":"verify","state":"complete","requested_by":"schedule"}`, nil, 0},
		{"verify counts", `{"event":"end","operation":"verify","state":"complete","requested_by":"schedule"}`, []string{"verify"}, 1},
		{"backup does not count", `{"event":"end","operation":"backup","state":"complete","requested_by":"schedule"}`, []string{"verify"}, 0},
		{"of a script", "", nil, 0},
		{"no JSON", "{", nil, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := &monitor{}
			s := httptest.NewServer(m)
			defer s.Close()
			b, err := Open(Config{URL: s.URL + "/secret", Operations: c.operations})
			if err != nil {
				t.Fatal(err)
			}
			if err := b.Send(t.Context(), plug.Notice{Text: "x", Event: []byte(c.event)}); err != nil {
				t.Error(err)
			}
			if err := b.Drain(t.Context()); err != nil {
				t.Error(err)
			}
			if len(m.got) != c.calls || c.calls > 0 && m.got[0] != "GET /secret " {
				t.Errorf("got %q, want %d calls", m.got, c.calls)
			}
		})
	}
}

func TestABeatThatFailsIsTriedAgain(t *testing.T) {
	m := &monitor{fail: 2}
	s := httptest.NewServer(m)
	defer s.Close()
	b, err := Open(Config{URL: s.URL})
	if err != nil {
		t.Fatal(err)
	}
	event := `{"event":"end","operation":"backup","state":"complete","requested_by":"schedule"}`
	if err := errors.Join(b.Send(t.Context(), plug.Notice{Event: []byte(event)}), b.Drain(t.Context())); err != nil {
		t.Error(err)
	}
	if len(m.got) != 3 {
		t.Errorf("got %d calls, want 3", len(m.got))
	}
}

func TestSettingsAreRefusedWithoutTellingTheURL(t *testing.T) {
	for _, c := range []Config{{}, {URL: "secret.example.com/x"}, {URL: "ftp://secret/x"}, {URL: "https://secret/x", Operations: []string{"restore"}}, {URL: "https://secret/x", Timeout: "soon"}} {
		if _, err := Open(c); !errors.Is(err, plug.ErrInvalid) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%+v: got %v", c, err)
		}
	}
}
