package api_test

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/remora-backup/remora/core/api"
	"github.com/remora-backup/remora/core/code"
	"github.com/remora-backup/remora/core/operate"
	"github.com/remora-backup/remora/core/repo"
	"github.com/remora-backup/remora/core/run"
	"github.com/remora-backup/remora/core/run/runtest"
	"github.com/remora-backup/remora/core/schedule"
	"github.com/remora-backup/remora/core/serve"
)

// works are those of a sidecar whose every operation has one phase, which lasts until it is
// interrupted or told to end.
type works struct {
	serve.Scheduling // nothing is scheduled
	finish           chan struct{}
}

func (works) Schedule(context.Context) (*schedule.Schedule, error) { return nil, nil }

func (w works) Operation(r api.Request) (operate.Config, error) {
	return operate.Config{Operation: r.Operation, First: "waiting", Log: nowhere{}, Plan: func(_ context.Context, d *operate.Draft) (run.Plan, error) {
		return runtest.Plan(r.Operation, d.Row.ID, runtest.Phase("waiting", func(ctx context.Context, _ *run.Task) error {
			select {
			case <-w.finish:
				return nil
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		})), nil
	}}, nil
}

func (works) Reach(context.Context) error                              { return nil }
func (works) Settings() map[string]any                                 { return map[string]any{} }
func (works) Backups(context.Context) ([]repo.Listed, error)           { return nil, nil }
func (works) Backup(context.Context, string) (b api.Backup, err error) { return b, api.ErrUnknown }
func (works) DeleteBackup(context.Context, string) error               { return api.ErrUnknown }

type nowhere struct{}

func (nowhere) Info(string, ...any)  {}
func (nowhere) Warn(string, ...any)  {}
func (nowhere) Error(string, ...any) {}
func (nowhere) Ready()               {}
func (nowhere) Reloading()           {}
func (nowhere) Stopping()            {}
func (nowhere) Status(string)        {}
func (nowhere) Alive()               {}

// TestTheSidecar asks the one there is, through the door there is.
func TestTheSidecar(t *testing.T) {
	w := works{finish: make(chan struct{})}
	socket := filepath.Join(t.TempDir(), "s")
	bound := make(chan struct{})
	var sidecar *serve.Sidecar
	var server *api.Server
	use := func(serve.Works) (err error) {
		if server, err = api.New(api.Config{Sidecar: sidecar}); err != nil {
			return err
		}
		l, err := net.Listen("unix", socket)
		if err != nil {
			return err
		}
		server.Serve(l)
		close(bound)
		return nil
	}
	sidecar = serve.New(serve.Config{Dir: t.TempDir(), Host: "here", Version: "v1", Supervisor: nowhere{}, Log: nowhere{},
		Load: func(context.Context) (serve.Works, error) { return w, nil }, Use: use}, new(serve.Yield))
	over := make(chan error, 1)
	go func() { over <- sidecar.Run(t.Context()) }()
	<-bound
	c := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}}}
	defer c.CloseIdleConnections()
	ask := func(method, path, key string) (int, string) {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), method, "http://localhost"+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		if key != "" {
			r.Header.Set("Idempotency-Key", key)
		}
		res, err := c.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		text, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		return res.StatusCode, string(text)
	}
	want := func(method, path, key string, status int, part string) {
		t.Helper()
		if got, text := ask(method, path, key); got != status || !strings.Contains(text, part) {
			t.Errorf("%s %s: got %d %s, want %d with %s", method, path, got, text, status, part)
		}
	}
	want("GET", "/status", "", 200, `"state":"idle"`)
	want("GET", "/healthz", "", 200, "ok")
	want("POST", "/cancel", "", 409, `"error"`)

	_, text := ask("POST", "/backups", "night")
	var begun api.Started
	if err := json.Unmarshal([]byte(text), &begun); err != nil || begun.ID == "" {
		t.Fatalf("%s: %v", text, err)
	}
	want("POST", "/backups", "night", 202, `"repeated":true`)
	want("POST", "/backups", "", 409, `"code":11`)
	for !strings.Contains(text, `"phase":"waiting"`) {
		_, text = ask("GET", "/status", "")
	}
	want("GET", "/status", "", 200, begun.ID)
	r, err := http.NewRequestWithContext(t.Context(), "GET", "http://localhost/operations/"+begun.ID+"/events", nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := c.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	want("POST", "/operations/"+begun.ID+"/cancel", "", 200, `"state":"`)
	if got := kinds(t, res.Body); !strings.HasPrefix(got, "start phase ") || !strings.HasSuffix(got, " error phase end closed") {
		t.Errorf("the events are: %s", got)
	}
	want("POST", "/operations/"+begun.ID+"/cancel", "", 409, `"error"`)
	want("POST", "/operations/nobody/cancel", "", 404, `"error"`)
	for !strings.Contains(text, `"state":"cancelled"`) { // the history is another reader of the events: go test bounds it
		_, text = ask("GET", "/operations/"+begun.ID, "")
	}
	want("GET", "/operations?limit=5", "", 200, begun.ID)
	want("GET", "/operations/nobody", "", 404, `"error"`)
	want("GET", "/operations/nobody/events", "", 404, `"error"`)
	if _, text := ask("GET", "/operations/"+begun.ID+"/events", ""); !strings.HasSuffix(kinds(t, strings.NewReader(text)), " end closed") {
		t.Errorf("told again: %s", text)
	}

	status := http.StatusConflict
	for status == http.StatusConflict { // until all is given back
		status, text = ask("POST", "/backups/"+begun.ID+"/verify", "")
	}
	if err := json.Unmarshal([]byte(text), &begun); err != nil || begun.Operation != "verify" {
		t.Fatalf("%s: %v", text, err)
	}
	close(w.finish)
	if _, text := ask("GET", "/operations/"+begun.ID+"/events", ""); !strings.Contains(text, `"state":"complete"`) {
		t.Errorf("got %s", text)
	}
	sidecar.Stop(&run.Interrupted{By: "SIGTERM", Code: code.SIGTERM})
	if err := <-over; err != nil {
		t.Error(err)
	}
	if err := server.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

// kinds are those of the events of a stream, to its end.
func kinds(t *testing.T, r io.Reader) string {
	t.Helper()
	var all []string
	s := bufio.NewScanner(r)
	for s.Scan() {
		if kind, ok := strings.CutPrefix(s.Text(), "event: "); ok {
			all = append(all, kind)
		}
	}
	if s.Err() != nil {
		t.Error(s.Err())
	}
	return strings.Join(all, " ")
}
