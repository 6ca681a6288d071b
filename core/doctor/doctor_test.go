package doctor

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/remora-backup/remora/core/code"
	"github.com/remora-backup/remora/core/config"
	"github.com/remora-backup/remora/core/plug"
	"github.com/remora-backup/remora/core/plug/plugtest"
	"github.com/remora-backup/remora/core/schedule"
	"github.com/remora-backup/remora/core/server"
)

// means are those of a host without a server.
func means(t *testing.T, s plug.Storage) Means {
	t.Helper()
	dir := t.TempDir()
	conf := filepath.Join(dir, "remora.toml")
	if err := os.WriteFile(conf, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	return Means{
		Settings: config.Settings{
			Path: conf, State: config.State{Dir: filepath.Join(dir, "not", "yet")}, Storage: config.Plugin{Plugin: "fs"},
			Schedule: schedule.Settings{Backup: "TZ=UTC 15 2 * * *"},
		},
		Connect: func(context.Context) (*server.Server, error) {
			return nil, code.Hint(code.ServerGone, "start it", "connection refused")
		},
		Storage: func(context.Context) (plug.Storage, error) { return s, nil },
		Plugins: func(context.Context) (string, error) { return "", code.New(code.Plugin, "the lock does not start") },
	}
}

func examine(t *testing.T, m Means) map[string]Finding {
	t.Helper()
	all := map[string]Finding{}
	for f := range Examine(t.Context(), m) {
		if _, twice := all[f.Check]; twice || f.Text == "" {
			t.Errorf("twice, or without a word: %+v", f)
		}
		all[f.Check] = f
	}
	if len(all) != len(checks()) {
		t.Errorf("%d findings of %d checks", len(all), len(checks()))
	}
	return all
}

func TestEachCheckAnswersWhateverTheOthersFound(t *testing.T) {
	s := new(plugtest.Memory)
	all := examine(t, means(t, s))
	for name, want := range map[string]Finding{
		"files":           {State: OK},
		"state directory": {State: OK},
		"server":          {State: Fail, Code: 13, Remedy: "start it"},
		"privileges":      {State: Skipped},
		"tablespaces":     {State: Skipped},
		"redo log":        {State: Skipped},
		"plugins":         {State: Fail, Code: 22},
		"storage":         {State: OK},
		"open files":      {State: OK},
	} {
		if got := all[name]; got.State != want.State || got.Code != want.Code || got.Remedy != want.Remedy {
			t.Errorf("%s: got %+v, want %+v", name, got, want)
		}
	}
	for o, err := range s.List(t.Context(), "") {
		t.Errorf("left in the storage: %v, %v", o, err)
	}
}

// forgetful gives back other bytes than were put.
type forgetful struct{ plug.Storage }

func (f forgetful) Get(ctx context.Context, name string, offset, length int64) (io.ReadCloser, error) {
	if !strings.HasPrefix(name, "doctor/") {
		return f.Storage.Get(ctx, name, offset, length)
	}
	return io.NopCloser(strings.NewReader("something else")), nil
}

// full takes nothing.
type full struct{ plug.Storage }

func (f full) Put(context.Context, string, io.Reader) (plug.Object, error) {
	return plug.Object{}, code.New(code.NoSpace, "no space left")
}

// keeping removes nothing.
type keeping struct{ plug.Storage }

func (k keeping) Delete(context.Context, string) error { return errors.New("not allowed") }

func TestAStorageThatFails(t *testing.T) {
	for name, c := range map[string]struct {
		storage plug.Storage
		want    code.Code
		says    string
	}{
		"other bytes": {forgetful{new(plugtest.Memory)}, code.Storage, "other bytes than were put"},
		"full":        {full{new(plugtest.Memory)}, code.NoSpace, "no space left"},
		"no delete":   {keeping{new(plugtest.Memory)}, code.Storage, "not allowed"},
	} {
		got := examine(t, means(t, c.storage))
		if f := got["storage"]; f.State != Fail || f.Code != int(c.want) || !strings.Contains(f.Text, c.says) {
			t.Errorf("%s: got %+v, want code %d and %q", name, f, c.want, c.says)
		}
		if f := got["clock"]; f.State != Skipped {
			t.Errorf("%s: the clock was asked for: %+v", name, f)
		}
	}
}

func TestWhatOthersCanChangeIsNotObeyed(t *testing.T) {
	m := means(t, new(plugtest.Memory))
	script := filepath.Join(t.TempDir(), "alert.lua")
	m.Settings.Hooks.Scripts = []string{script}
	for _, c := range []struct {
		script, conf os.FileMode
		want         State
		says         string
	}{
		{0o644, 0o600, OK, ""}, {0o664, 0o600, Fail, "alert.lua can be changed by others"}, {0o646, 0o600, Fail, "alert.lua"},
		{0o644, 0o644, Warn, "can be read by everybody"}, {0o644, 0o620, Fail, "remora.toml can be changed"},
	} {
		for path, mode := range map[string]os.FileMode{script: c.script, m.Settings.Path: c.conf} {
			if err := errors.Join(os.WriteFile(path, nil, 0o600), os.Chmod(path, mode)); err != nil {
				t.Fatal(err)
			}
		}
		if got := examine(t, m)["files"]; got.State != c.want || !strings.Contains(got.Text, c.says) {
			t.Errorf("%04o, %04o: got %+v, want %s", c.script, c.conf, got, c.want)
		}
	}
}

func TestIntervalIsTheLongestOfTheNext(t *testing.T) {
	for line, want := range map[string]time.Duration{
		"": 0, "TZ=UTC 15 2 * * *": 24 * time.Hour, "TZ=UTC 0 2,6 * * *": 20 * time.Hour, "TZ=UTC 0 0 * * SUN": 7 * 24 * time.Hour,
	} {
		if got := interval(schedule.Settings{Backup: line, Verify: "* * * * *"}); got != want {
			t.Errorf("%q: got %v, want %v", line, got, want)
		}
	}
}
