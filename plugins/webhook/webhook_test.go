package webhook

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/remora-backup/remora/core/plug"
	"github.com/remora-backup/remora/core/plug/plugtest"
)

// receiver is the other side.
type receiver struct {
	mu     sync.Mutex
	got    []plug.Notice
	header http.Header
	fail   int           // how many requests to answer with status
	status int           // of those
	hold   chan struct{} // requests wait for its end
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	if r.hold != nil {
		select {
		case <-r.hold:
		case <-q.Context().Done():
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.fail > 0 {
		r.fail--
		w.WriteHeader(r.status)
		return
	}
	var n plug.Notice
	if err := json.NewDecoder(q.Body).Decode(&n); err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	r.got, r.header = append(r.got, n), q.Header
}

func (r *receiver) texts() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var all []string
	for _, n := range r.got {
		all = append(all, n.Text)
	}
	return strings.Join(all, " ")
}

func start(t *testing.T, r *receiver, c Config) *Hook {
	t.Helper()
	s := httptest.NewServer(r)
	t.Cleanup(s.Close)
	c.URL = s.URL
	if c.Queue == 0 {
		c.Queue = 100
	}
	if c.Attempts == 0 {
		c.Attempts = 5
	}
	h := open(c, 10*time.Second, time.Millisecond)
	t.Cleanup(h.stop)
	return h
}

func send(t *testing.T, h *Hook, texts ...string) {
	t.Helper()
	for _, s := range texts {
		if err := h.Send(t.Context(), plug.Notice{Severity: "info", Text: s}); err != nil {
			t.Fatal(err)
		}
	}
}

func drain(t *testing.T, h *Hook) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := h.Drain(ctx); err != nil {
		t.Error(err)
	}
}

func TestPostsInOrder(t *testing.T) {
	r := &receiver{}
	h := start(t, r, Config{Headers: map[string]string{"Authorization": "Bearer x"}})
	send(t, h, "a", "b", "c")
	drain(t, h)
	if got := r.texts(); got != "a b c" {
		t.Errorf("got %q, want a b c", got)
	}
	if r.header.Get("Authorization") != "Bearer x" || r.header.Get("Content-Type") != "application/json" {
		t.Errorf("got headers %v", r.header)
	}
}

func TestRetries(t *testing.T) {
	for _, c := range []struct {
		status, fail int
		want         string
	}{
		{http.StatusServiceUnavailable, 3, "a b"},
		{http.StatusTooManyRequests, 1, "a b"},
		{http.StatusServiceUnavailable, 5, "b"}, // given up after 5 attempts
		{http.StatusForbidden, 1, "b"},          // no use in trying again
	} {
		r := &receiver{fail: c.fail, status: c.status}
		h := start(t, r, Config{})
		send(t, h, "a", "b")
		drain(t, h)
		if got := r.texts(); got != c.want {
			t.Errorf("%d answers of %d: got %q, want %q", c.fail, c.status, got, c.want)
		}
	}
}

// TestNeverBlocks: nobody answers, Send returns, and the oldest notices are lost.
func TestNeverBlocks(t *testing.T) {
	r := &receiver{hold: make(chan struct{})}
	h := start(t, r, Config{Queue: 3})
	for i := range 50 {
		send(t, h, strconv.Itoa(i))
	}
	h.mu.Lock()
	dropped := h.dropped
	h.mu.Unlock()
	if dropped != 46 && dropped != 47 { // one may be under way
		t.Errorf("dropped %d, want 46 or 47", dropped)
	}
	close(r.hold)
	drain(t, h)
	if got := r.texts(); !strings.HasSuffix(got, "47 48 49") {
		t.Errorf("got %q, want the last three", got)
	}
}

func TestDrainIsBounded(t *testing.T) {
	r := &receiver{hold: make(chan struct{})}
	defer close(r.hold)
	h := start(t, r, Config{})
	send(t, h, "a", "b")
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := h.Drain(ctx); err == nil || !strings.Contains(err.Error(), "2 notices were not posted") {
		t.Errorf("got %v", err)
	}
}

func TestBadConfig(t *testing.T) {
	for _, c := range []Config{
		{}, {URL: "ftp://x/secret"}, {URL: "http://"}, {URL: "http:///secret"}, {URL: "http://x", Timeout: "5"}, {URL: "http://x", Queue: -1},
		{URL: "hooks.example/secret"}, {URL: "htps://hooks.example/secret"}, {URL: "https://hooks.example/%zz/secret"}, {URL: "https://a b/secret"},
		{URL: "https//hooks.example:secret"},
	} {
		if _, err := Open(c); !errors.Is(err, plug.ErrInvalid) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%+v: got %v, want ErrInvalid and no secret", c, err)
		}
	}
}

func TestContract(t *testing.T) {
	plugtest.Notify(t, func(t *testing.T) plug.Notify { return start(t, &receiver{}, Config{}) })
}
