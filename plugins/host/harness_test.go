package host

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/remora-backup/remora/core/needs"
	"github.com/remora-backup/remora/core/plug"
	"github.com/remora-backup/remora/core/plug/plugtest"
	"github.com/remora-backup/remora/plugins/fs"
	"github.com/remora-backup/remora/plugins/sdk"
)

// The test's executable serves plugins and plays a host that is killed.
func TestMain(m *testing.M) {
	if len(os.Args) > 3 && os.Args[1] == "plugin" {
		servePlugin(os.Args[3])
		return
	}
	if len(os.Args) > 1 && os.Args[1] == "host" {
		playHost(os.Args[2])
		return
	}
	if len(os.Args) > 1 && os.Args[1] == "plain" {
		plainCopy(os.Args[2])
		return
	}
	os.Exit(m.Run())
}

func servePlugin(name string) {
	switch name {
	case "fs":
		fs.Serve()
	case "odd":
		sdk.ServeStorage(func(raw json.RawMessage) (plug.Storage, error) {
			o := &odd{}
			return o, sdk.Decode(raw, o)
		})
	case "hang":
		select {}
	case "garbage":
		fmt.Println("Hello, world")
		time.Sleep(time.Minute)
	case "endless":
		for {
			fmt.Print("xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx")
		}
	case "oldprotocol":
		fmt.Println("1|99|unix|/nowhere|grpc|")
		time.Sleep(time.Minute)
	case "elsewhere":
		fmt.Println("1|1|unix|/run/other.sock|grpc|")
		time.Sleep(time.Minute)
	case "dies":
		fmt.Fprintln(os.Stderr, "[ERROR] cannot find the moon")
		os.Exit(7)
	case "lock":
		sdk.ServeLock(func(raw, server json.RawMessage) (plug.Lock, error) { return newToyLock(raw, server) })
	case "notify":
		sdk.ServeNotify(func(raw json.RawMessage) (plug.Notify, error) {
			n := &toyNotify{}
			return n, sdk.Decode(raw, n)
		})
	}
}

// odd is a storage that does what its configuration asks for.
type odd struct {
	plugtest.Memory
	Flood      int    `json:"flood"`      // lines to standard error
	Grandchild bool   `json:"grandchild"` // a child that outlives it
	Hang       string `json:"hang"`       // the call that never returns
	Slow       int    `json:"slow"`       // milliseconds that the hanging abort takes
	Stray      string `json:"stray"`      // printed on standard output
	Refuse     bool   `json:"refuse"`
	NoSpace    int64  `json:"no_space"` // bytes after which a put fails
	Flip       bool   `json:"flip"`
}

func (o *odd) Stat(ctx context.Context, name string) (plug.Object, error) {
	switch {
	case o.Hang == "stat":
		select {}
	case o.Stray != "":
		fmt.Println(o.Stray)
	case o.Grandchild:
		c := exec.Command("/bin/sleep", "1000")
		c.Stdout, c.Stderr = os.Stdout, os.Stderr
		if err := c.Start(); err != nil {
			return plug.Object{}, err
		}
		return plug.Object{Name: name, Size: int64(c.Process.Pid)}, nil
	}
	line := strings.Repeat("y", 999) + "\n"
	for range o.Flood {
		fmt.Fprint(stderr(), line)
	}
	return o.Memory.Stat(ctx, name)
}

// stderr is the process's own, not the one the plugin library puts in its place.
func stderr() io.Writer { return os.NewFile(2, "stderr") }

func (o *odd) Put(ctx context.Context, name string, r io.Reader) (plug.Object, error) {
	switch {
	case o.Hang == "put":
		<-ctx.Done()
		select {}
	case o.Hang == "abort":
		_, err := io.Copy(io.Discard, r)
		time.Sleep(time.Duration(o.Slow) * time.Millisecond)
		return plug.Object{}, err
	case o.Hang == "commit":
		_, _ = io.Copy(io.Discard, r)
		select {}
	case o.NoSpace > 0:
		_, _ = io.CopyN(io.Discard, r, o.NoSpace)
		return plug.Object{}, plug.ErrNoSpace
	}
	return o.Memory.Put(ctx, name, r)
}

// options are those of tests: impatient, and logging to the test.
func options(t *testing.T) Options {
	t.Helper()
	return Options{
		Self:     os.Args[0],
		Builtins: map[string][]string{Storage: {"fs", "odd", "hang", "garbage", "endless", "oldprotocol", "elsewhere", "dies"}, Lock: {"lock"}, Notify: {"notify"}},
		Dir:      t.TempDir(),
		Logger:   hclog.New(&hclog.LoggerOptions{Output: testWriter{t}, Level: hclog.Debug}),
	}
}

type testWriter struct{ t *testing.T }

func (w testWriter) Write(p []byte) (int, error) {
	if len(p) > 200 {
		p = p[:200]
	}
	w.t.Logf("%s", bytes.TrimRight(p, "\n"))
	return len(p), nil
}

func start(t *testing.T, spec Spec, opts Options) *Plugin {
	t.Helper()
	p, err := Start(t.Context(), spec, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = p.Close(context.Background())
		wantGone(t, p.Pid())
		if left, _ := filepath.Glob(filepath.Join(opts.Dir, "*")); len(left) > 0 {
			t.Errorf("left behind: %v", left)
		}
	})
	return p
}

// wantGone waits for the end of a process and its group.
func wantGone(t *testing.T, pid int) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) || zombie(pid) {
			return
		}
		if time.Now().After(end) {
			t.Errorf("process %d lives", pid)
			return
		}
	}
}

// zombie says whether only the parent's notice of the process is missing.
func zombie(pid int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	_, rest, _ := strings.Cut(string(b), ") ")
	return strings.HasPrefix(rest, "Z")
}

func config(t *testing.T, v any) json.RawMessage {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func fsSpec(t *testing.T) Spec {
	t.Helper()
	return Spec{Kind: Storage, Name: "fs", Config: config(t, map[string]string{"path": needs.Memory(t)})}
}

func oddSpec(t *testing.T, settings map[string]any) Spec {
	t.Helper()
	return Spec{Kind: Storage, Name: "odd", Config: config(t, settings)}
}
