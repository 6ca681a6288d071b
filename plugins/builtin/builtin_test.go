package builtin

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/remora-backup/remora/core/code"
	"github.com/remora-backup/remora/core/plug"
	"github.com/remora-backup/remora/plugins/host"
	"github.com/remora-backup/remora/plugins/sdk"
)

// The test's executable does what remora does for "plugin KIND NAME".
func TestMain(m *testing.M) {
	if len(os.Args) > 3 && os.Args[1] == "plugin" {
		if Serve(os.Args[2], os.Args[3]) != nil {
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// start runs a built-in with what it needs at least.
func start(t *testing.T, kind, name string, log *bytes.Buffer) *host.Plugin {
	t.Helper()
	config := map[string]string{
		"fs":        `{"path":"` + t.TempDir() + `"}`,
		"webhook":   `{"url":"http://127.0.0.1:1/"}`,
		"heartbeat": `{"url":"http://127.0.0.1:1/"}`,
	}[name]
	facts, err := json.Marshal(sdk.Server{Socket: "/no/such/socket", User: "x"})
	if err != nil {
		t.Fatal(err)
	}
	p, err := host.Start(t.Context(),
		host.Spec{Kind: kind, Name: name, Config: json.RawMessage(config), Server: facts},
		host.Options{Builtins: Names(), Logger: hclog.New(&hclog.LoggerOptions{Output: log})})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close(context.Background()) })
	return p
}

func TestEachStarts(t *testing.T) {
	for _, b := range List() {
		t.Run(b.Kind+" "+b.Name, func(t *testing.T) {
			p := start(t, b.Kind, b.Name, &bytes.Buffer{})
			if err := p.Close(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestNoticesReachTheLog: what the log plugin says is the host's log line, with its level.
func TestNoticesReachTheLog(t *testing.T) {
	var log bytes.Buffer
	p := start(t, "notify", "log", &log)
	n := plug.Notice{Time: time.Now(), Severity: "warning", Operation: "backup", ID: "x", Text: "slow storage"}
	if err := p.Notify().Send(t.Context(), n); err != nil {
		t.Fatal(err)
	}
	if err := p.Close(t.Context()); err != nil {
		t.Error(err)
	}
	if got := log.String(); !strings.Contains(got, "[WARN]") || !strings.Contains(got, "slow storage") || !strings.Contains(got, "id=x") {
		t.Errorf("log: %q", got)
	}
}

func TestUnknown(t *testing.T) {
	if err := Serve("storage", "s3"); code.Of(err) != code.Usage {
		t.Errorf("got %v", err)
	}
}

// TestUndelivered: what a webhook could not post is told when it is closed.
func TestUndelivered(t *testing.T) {
	p := start(t, "notify", "webhook", &bytes.Buffer{})
	if err := p.Notify().Send(t.Context(), plug.Notice{Text: "x"}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if err := p.Close(ctx); err == nil || !strings.Contains(err.Error(), "1 notices were not posted") {
		t.Errorf("got %v, want the lost notice told", err)
	}
}
