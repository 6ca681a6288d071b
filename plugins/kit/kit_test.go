package kit

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/remora-backup/remora/core/needs"
	"github.com/remora-backup/remora/core/plug"
	"github.com/remora-backup/remora/core/plug/plugtest"
	"github.com/remora-backup/remora/plugins/fs"
	"github.com/remora-backup/remora/plugins/host"
	"github.com/remora-backup/remora/plugins/sdk"
)

// The test's executable serves the plugins that are checked.
func TestMain(m *testing.M) {
	if len(os.Args) > 3 && os.Args[1] == "plugin" {
		serve(os.Args[2], os.Args[3])
		return
	}
	os.Exit(m.Run())
}

// serve is the main function of a plugin that breaks one promise.
func serve(kind, wrong string) {
	switch wrong {
	case "outlives":
		os.Setenv("REMORA_PLUGIN_LIVENESS_FD", "")
	case "obeys":
		sigs := make(chan os.Signal, 1)
		signal.Notify(sigs, syscall.SIGTERM)
		// At once: with the race detector a process that exits takes a second for it.
		go func() { <-sigs; _ = syscall.Kill(os.Getpid(), syscall.SIGKILL) }()
	}
	switch kind {
	case host.Lock:
		sdk.ServeLock(func(json.RawMessage, json.RawMessage) (plug.Lock, error) { return &plugtest.MemoryLock{}, nil })
	case host.Notify:
		sdk.ServeNotify(func(json.RawMessage) (plug.Notify, error) { return &plugtest.MemoryNotify{}, nil })
	}
	sdk.ServeStorage(func(raw json.RawMessage) (plug.Storage, error) {
		var c fs.Config
		if err := sdk.Decode(raw, &c); err != nil {
			return nil, err
		}
		if wrong == "forgets" {
			return &plugtest.Memory{}, nil
		}
		s, err := fs.Open(c)
		return &storage{Storage: s, dir: c.Path, wrong: wrong}, err
	})
}

// storage breaks one promise.
type storage struct {
	*fs.Storage
	dir, wrong string
	n          int
	open       []*os.File
}

func (s *storage) Put(ctx context.Context, name string, r io.Reader) (plug.Object, error) {
	switch s.wrong {
	case "floods":
		for range 2000 {
			fmt.Fprintln(os.Stderr, "storing one more byte")
		}
	case "litters":
		s.n++
		f, err := os.Create(filepath.Join(s.dir, fmt.Sprintf("litter+%d-%d", os.Getpid(), s.n)))
		if err != nil {
			return plug.Object{}, err
		}
		defer f.Close()
		r = io.TeeReader(r, f)
	case "leaks":
		for range 30 {
			f, err := os.Open("/dev/null")
			if err != nil {
				return plug.Object{}, err
			}
			s.open = append(s.open, f)
		}
	case "impatient":
		r = &impatient{r}
	case "publishes early":
		defer func() { _, _ = s.Storage.Put(context.WithoutCancel(ctx), name, &hooked{r: r, left: 1 << 30}) }()
		if err := os.MkdirAll(filepath.Join(s.dir, filepath.Dir(name)), 0o700); err != nil {
			return plug.Object{}, err
		}
		f, err := os.Create(filepath.Join(s.dir, name))
		if err != nil {
			return plug.Object{}, err
		}
		defer f.Close()
		n, err := io.Copy(f, r)
		return plug.Object{Name: name, Size: n}, err
	}
	return s.Storage.Put(ctx, name, r)
}

// impatient takes a pause for the end of the world.
type impatient struct{ r io.Reader }

func (i *impatient) Read(p []byte) (int, error) {
	type result struct {
		n   int
		err error
	}
	got := make(chan result, 1)
	go func() { n, err := i.r.Read(p); got <- result{n, err} }()
	select {
	case r := <-got:
		return r.n, r.err
	case <-time.After(500 * time.Millisecond):
		return 0, errors.New("the host says nothing any more")
	}
}

func kit(t *testing.T, kind, wrong string) Kit {
	t.Helper()
	config, err := json.Marshal(fs.Config{Path: needs.Memory(t)})
	if err != nil {
		t.Fatal(err)
	}
	return Kit{
		Spec:    host.Spec{Kind: kind, Name: wrong, Config: config, Server: json.RawMessage("{}")},
		Options: host.Options{Self: os.Args[0], Builtins: map[string][]string{kind: {wrong}}, Dir: t.TempDir()},
		Pause:   2 * time.Second,
	}
}

func TestRightPluginsPass(t *testing.T) {
	needs.Time(t)
	for _, kind := range []string{host.Storage, host.Lock, host.Notify} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			n := 0
			for r, err := range kit(t, kind, "right").Check(t.Context()) {
				if n++; err != nil || !r.OK {
					t.Errorf("%s: %s %v", r.Name, r.Detail, err)
				}
			}
			if n < 10 {
				t.Errorf("%d checks were made", n)
			}
		})
	}
}

// TestWrongPluginsAreNoticed: each by the check that is there for it, and by a message that
// says what to change.
func TestWrongPluginsAreNoticed(t *testing.T) {
	needs.Time(t)
	for _, c := range []struct{ kind, wrong, check string }{
		{host.Storage, "forgets", "kill_keeps_objects"},
		{host.Storage, "forgets", "restart_keeps_objects"},
		{host.Storage, "publishes early", "kill_in_put_leaves_nothing"},
		{host.Storage, "impatient", "pause_in_put"},
		{host.Storage, "litters", "aborted_put_leaves_no_file"},
		{host.Storage, "outlives", "ends_with_its_host"},
		{host.Storage, "outlives", "ends_when_drained"},
		{host.Storage, "obeys", "signals_do_not_end_it"},
		{host.Lock, "outlives", "ends_with_its_host"},
		{host.Notify, "obeys", "signals_do_not_end_it"},
	} {
		t.Run(c.wrong+" "+c.check, func(t *testing.T) {
			t.Parallel()
			wantNoticed(t, kit(t, c.kind, c.wrong), c.check, c.check)
		})
	}
	t.Run("floods", func(t *testing.T) {
		t.Parallel()
		wantNoticed(t, kit(t, host.Storage, "floods"), "logs_no_more_than_is_taken", "put_then_get", "logs_no_more_than_is_taken")
	})
	t.Run("leaks", func(t *testing.T) {
		t.Parallel()
		wantNoticed(t, kit(t, host.Storage, "leaks"), "leaves_no_open_file", "put_then_get", "leaves_no_open_file")
	})
}

func wantNoticed(t *testing.T, k Kit, want string, only ...string) {
	t.Helper()
	for r, err := range k.Check(t.Context(), only...) {
		if err != nil {
			t.Fatal(err)
		}
		if r.Name == want {
			if t.Log(r.Detail); r.OK {
				t.Errorf("%s did not notice", want)
			}
			return
		}
	}
	t.Errorf("no check is called %s", want)
}

func TestDoesNotStart(t *testing.T) {
	k := kit(t, host.Storage, "right")
	k.Spec.Config = json.RawMessage(`{"pth":"/x"}`)
	n := 0
	for _, err := range k.Check(t.Context()) {
		if n++; !errors.Is(err, plug.ErrInvalid) {
			t.Errorf("got %v, want what the plugin refused", err)
		}
	}
	if n != 1 {
		t.Errorf("%d results, want the error alone", n)
	}
}
