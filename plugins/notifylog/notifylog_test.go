package notifylog

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/remora-backup/remora/core/plug"
	"github.com/remora-backup/remora/core/plug/plugtest"
)

func TestOneLineEach(t *testing.T) {
	path := filepath.Join(t.TempDir(), "notices")
	l, err := Open(Config{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	want := plug.Notice{Time: time.Unix(1, 0).UTC(), Severity: "error", Text: "two\nlines", Event: json.RawMessage(`{"a":1}`)}
	for range 2 {
		if err := l.Send(t.Context(), want); err != nil {
			t.Fatal(err)
		}
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.SplitAfter(string(b), "\n")
	if len(lines) != 3 || lines[0] != lines[1] || lines[2] != "" {
		t.Fatalf("got %q, want one line twice", b)
	}
	var got plug.Notice
	if err := json.Unmarshal([]byte(lines[0]), &got); err != nil || got.Text != want.Text || !got.Time.Equal(want.Time) {
		t.Errorf("got %+v, %v; want %+v", got, err, want)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode: got %v, %v; want 0600", info.Mode(), err)
	}
}

func TestBadPaths(t *testing.T) {
	if _, err := Open(Config{Path: "relative"}); !errors.Is(err, plug.ErrInvalid) {
		t.Errorf("got %v, want ErrInvalid", err)
	}
	if _, err := Open(Config{Path: "/no/such/dir/x"}); !errors.Is(err, plug.ErrNotExist) {
		t.Errorf("got %v, want ErrNotExist", err)
	}
}

func TestContract(t *testing.T) {
	plugtest.Notify(t, func(t *testing.T) plug.Notify {
		l, err := Open(Config{Path: filepath.Join(t.TempDir(), "notices")})
		if err != nil {
			t.Fatal(err)
		}
		return l
	})
}
