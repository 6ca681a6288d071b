package host

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/remora-backup/remora/core/code"
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
	return Spec{Kind: Storage, Name: "fs", Config: config(t, map[string]string{"path": t.TempDir()})}
}

func oddSpec(t *testing.T, settings map[string]any) Spec {
	t.Helper()
	return Spec{Kind: Storage, Name: "odd", Config: config(t, settings)}
}

func TestStorageContract(t *testing.T) {
	p := start(t, fsSpec(t), options(t))
	for _, r := range plugtest.CheckStorage(t.Context(), p.Storage()) {
		if !r.OK {
			t.Errorf("%s: %s", r.Name, r.Detail)
		}
	}
	if _, ok := p.Storage().(plug.FreeSpace); !ok {
		t.Error("fs has lost its ability to tell free space")
	}
}

func TestStorageWithoutTLS(t *testing.T) {
	spec := oddSpec(t, nil)
	spec.MTLS = "off"
	p := start(t, spec, options(t))
	if _, ok := p.Storage().(plug.FreeSpace); ok {
		t.Error("a storage without the ability tells free space")
	}
	if _, err := p.Storage().Stat(t.Context(), "x"); !errors.Is(err, plug.ErrNotExist) {
		t.Errorf("got %v, want ErrNotExist", err)
	}
}

func TestWillNotStart(t *testing.T) {
	dir := t.TempDir()
	link := filepath.Join(dir, "link")
	if err := os.Symlink(filepath.Dir(os.Args[0]), link); err != nil {
		t.Fatal(err)
	}
	open := copyOfMe(t, t.TempDir())
	if err := os.Chmod(open, 0o777); err != nil {
		t.Fatal(err)
	}
	mine := copyOfMe(t, t.TempDir())
	openDir := filepath.Join(t.TempDir(), "open")
	if err := os.Mkdir(openDir, 0o700); err != nil {
		t.Fatal(err)
	}
	inOpenDir := copyOfMe(t, openDir)
	if err := os.Chmod(openDir, 0o777); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		spec Spec
		want code.Code
		says string
	}{
		"garbage":         {Spec{Name: "garbage"}, code.Plugin, `it wrote "Hello, world" on its standard output`},
		"endless line":    {Spec{Name: "endless"}, code.Plugin, "it wrote \"xxxx"},
		"hang":            {Spec{Name: "hang"}, code.Plugin, "no answer within 1s"},
		"other protocol":  {Spec{Name: "oldprotocol"}, code.Plugin, "it wrote \"1|99|"},
		"socket outside":  {Spec{Name: "elsewhere"}, code.Plugin, "is not in"},
		"dies":            {Spec{Name: "dies"}, code.Plugin, "exited: status 7; its last words: cannot find the moon"},
		"unknown":         {Spec{Name: "s3"}, code.Plugin, `unknown storage plugin "s3"; known: fs, odd`},
		"relative":        {Spec{Name: "./fs"}, code.Plugin, "not a clean absolute path"},
		"missing":         {Spec{Name: "/no/such/file"}, code.Plugin, "no such file"},
		"through a link":  {Spec{Name: filepath.Join(link, filepath.Base(os.Args[0]))}, code.Plugin, "symbolic link"},
		"open to all":     {Spec{Name: open}, code.Plugin, "can be written by others"},
		"in an open dir":  {Spec{Name: inOpenDir}, code.Plugin, "can be written by others"},
		"wrong kind":      {Spec{Name: mine, Args: []string{"plugin", Lock, "lock"}}, code.Plugin, `it is a "lock" plugin, not a storage plugin`},
		"unknown key":     {Spec{Name: "fs", Config: json.RawMessage(`{"pth":"/x"}`)}, code.Usage, `unknown key "pth", did you mean "path"?`},
		"wrong type":      {Spec{Name: "fs", Config: json.RawMessage(`{"path":7}`)}, code.Usage, `key "path" cannot be a number`},
		"not a directory": {Spec{Name: "fs", Config: json.RawMessage(`{"path":"/dev/null"}`)}, code.Plugin, "not a directory"},
	} {
		t.Run(name, func(t *testing.T) {
			opts := options(t)
			opts.Start = time.Second
			if c.want == code.Usage || name == "dies" || name == "wrong kind" || name == "not a directory" {
				opts.Start = 20 * time.Second // not what is tested
			}
			if c.spec.Kind == "" {
				c.spec.Kind = Storage
			}
			p, err := Start(t.Context(), c.spec, opts)
			if err == nil {
				_ = p.Close(t.Context())
				t.Fatal("it started")
			}
			if got := code.Of(err); got != c.want || !strings.Contains(err.Error(), c.says) {
				t.Errorf("got code %d, %q; want %d and %q", got, err, c.want, c.says)
			}
			if left, _ := filepath.Glob(filepath.Join(opts.Dir, "*")); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}

// copyOfMe puts a copy of the test's executable where nobody else can write.
func copyOfMe(t *testing.T, dir string) string {
	t.Helper()
	b, err := os.ReadFile(os.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "me")
	if err := os.WriteFile(path, b, 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestDigest(t *testing.T) {
	path := copyOfMe(t, t.TempDir())
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	digest := sha256.Sum256(b)
	spec := Spec{Kind: Storage, Name: path, Args: []string{"plugin", Storage, "odd"}, SHA256: hex.EncodeToString(digest[:])}
	p := start(t, spec, options(t))
	if _, err := p.Storage().Stat(t.Context(), "x"); !errors.Is(err, plug.ErrNotExist) {
		t.Errorf("got %v, want ErrNotExist", err)
	}
	spec.SHA256 = strings.Repeat("0", 64)
	if _, err := Start(t.Context(), spec, options(t)); code.Of(err) != code.Plugin || !strings.Contains(err.Error(), "its SHA-256 is") {
		t.Errorf("wrong digest: got %v", err)
	}
}

func TestEnvironmentIsNotInherited(t *testing.T) {
	t.Setenv("REMORA_TEST_SECRET", "secret")
	t.Setenv("REMORA_TEST_PASSED", "passed")
	spec := oddSpec(t, nil)
	spec.EnvPass = []string{"REMORA_TEST_PASSED"}
	p := start(t, spec, options(t))
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", p.Pid()))
	if err != nil {
		t.Fatal(err)
	}
	env := string(b)
	if strings.Contains(env, "REMORA_TEST_SECRET") || strings.Contains(env, "\x00PATH=") || !strings.Contains(env, "REMORA_TEST_PASSED=passed") {
		t.Errorf("environment: %q", env)
	}
}

// TestKilledInPut: the end is seen at once, and said.
func TestKilledInPut(t *testing.T) {
	p := start(t, fsSpec(t), options(t))
	r := &hooked{after: 1 << 20, do: func() { _ = syscall.Kill(p.Pid(), syscall.SIGKILL) }}
	_, err := p.Storage().Put(t.Context(), "x", r)
	if code.Of(err) != code.Storage || !strings.Contains(fmt.Sprint(err), "storage plugin fs exited: signal 9") {
		t.Errorf("got code %d, %v", code.Of(err), err)
	}
	<-p.Exited()
	if _, err := p.Storage().Stat(t.Context(), "x"); !strings.Contains(fmt.Sprint(err), "exited: signal 9") {
		t.Errorf("afterwards: got %v", err)
	}
}

// hooked gives zeros, without end but for a huge one, and does something on the way.
type hooked struct {
	n, after int64
	do       func()
}

func (h *hooked) Read(b []byte) (int, error) {
	if h.n >= h.after && h.do != nil {
		h.do()
		h.do = nil
	}
	if h.n > 8<<30 {
		return 0, io.EOF
	}
	h.n += int64(len(b))
	return len(b), nil
}

func TestHangsAreBounded(t *testing.T) {
	for call, do := range map[string]func(plug.Storage) error{
		"stat": func(s plug.Storage) error { _, err := s.Stat(t.Context(), "x"); return err },
		"put":  func(s plug.Storage) error { _, err := s.Put(t.Context(), "x", &hooked{}); return err },
		"commit": func(s plug.Storage) error {
			_, err := s.Put(t.Context(), "x", strings.NewReader("x"))
			return err
		},
	} {
		t.Run(call, func(t *testing.T) {
			opts := options(t)
			opts.Call, opts.Commit, opts.Stall = 700*time.Millisecond, 700*time.Millisecond, 700*time.Millisecond
			p := start(t, oddSpec(t, map[string]any{"hang": call}), opts)
			err := do(p.Storage())
			if code.Of(err) != code.Storage || !strings.Contains(fmt.Sprint(err), "killed: no ") {
				t.Errorf("got code %d, %v", code.Of(err), err)
			}
			<-p.Exited()
		})
	}
}

func TestNoSpace(t *testing.T) {
	p := start(t, oddSpec(t, map[string]any{"no_space": 3 << 20}), options(t))
	_, err := p.Storage().Put(t.Context(), "x", &hooked{})
	if code.Of(err) != code.NoSpace || !errors.Is(err, plug.ErrNoSpace) {
		t.Errorf("got code %d, %v; want ErrNoSpace", code.Of(err), err)
	}
	if _, err := p.Storage().Stat(t.Context(), "x"); !errors.Is(err, plug.ErrNotExist) {
		t.Errorf("afterwards: got %v, want ErrNotExist", err)
	}
}

func TestGrandchildDoesNotStall(t *testing.T) {
	opts := options(t)
	p, err := Start(t.Context(), oddSpec(t, map[string]any{"grandchild": true}), opts)
	if err != nil {
		t.Fatal(err)
	}
	o, err := p.Storage().Stat(t.Context(), "x")
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Close(t.Context()); err != nil {
		t.Errorf("close: %v", err)
	}
	select {
	case <-p.Exited():
	default:
		t.Error("closed, but not ended")
	}
	wantGone(t, int(o.Size))
}

func TestFloodOfLogs(t *testing.T) {
	var lines bytes.Buffer
	opts := options(t)
	opts.Logger = hclog.New(&hclog.LoggerOptions{Output: &lines})
	p := start(t, oddSpec(t, map[string]any{"flood": 100_000}), opts) // 100 MB
	if _, err := p.Storage().Stat(t.Context(), "x"); !errors.Is(err, plug.ErrNotExist) {
		t.Errorf("got %v, want ErrNotExist", err)
	}
	if err := p.Close(t.Context()); err != nil {
		t.Errorf("close: %v", err)
	}
	if n := lines.Len(); n > 20<<20 || n < 100_000 {
		t.Errorf("logged %d bytes of 100 MB", n)
	}
	if !strings.Contains(lines.String(), "logs too much") {
		t.Error("what was left out was not told")
	}
}

func TestStrayOutputIsLogged(t *testing.T) {
	var lines bytes.Buffer
	opts := options(t)
	opts.Logger = hclog.New(&hclog.LoggerOptions{Output: &lines})
	p := start(t, oddSpec(t, map[string]any{"stray": "left\x1b[31mover"}), opts)
	_, _ = p.Storage().Stat(t.Context(), "x")
	logged := func() bool {
		p.proc.logs.mu.Lock()
		defer p.proc.logs.mu.Unlock()
		return len(p.proc.logs.last) > 0
	}
	for end := time.Now().Add(20 * time.Second); !logged() && time.Now().Before(end); {
		time.Sleep(5 * time.Millisecond)
	}
	if err := p.Close(t.Context()); err != nil {
		t.Errorf("close: %v", err)
	}
	if got := lines.String(); !strings.Contains(got, `left\x1b[31mover`) {
		t.Errorf("logged %q", got)
	}
}

// TestInterruptDoesNotReachPlugins: Ctrl-C and a service manager's stop are the host's.
func TestSignalsDoNotEndPlugins(t *testing.T) {
	p := start(t, oddSpec(t, nil), options(t))
	group, err := syscall.Getpgid(p.Pid())
	if err != nil || group != p.Pid() {
		t.Errorf("process group: got %d, %v; want its own, %d", group, err, p.Pid())
	}
	for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP} {
		if err := syscall.Kill(-p.Pid(), sig); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := p.Storage().Stat(t.Context(), "x"); !errors.Is(err, plug.ErrNotExist) {
		t.Errorf("after the signals: got %v, want ErrNotExist", err)
	}
}

// playHost starts a plugin, tells its process id, and waits to be killed.
func playHost(dir string) {
	p, err := Start(context.Background(), Spec{Kind: Storage, Name: "odd"}, Options{
		Self:     os.Args[0],
		Builtins: map[string][]string{Storage: {"odd"}},
		Dir:      dir,
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(p.Pid())
	select {}
}

func TestKilledHostLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	host := exec.Command(os.Args[0], "host", dir)
	out, err := host.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := host.Start(); err != nil {
		t.Fatal(err)
	}
	var line [64]byte
	n, err := out.Read(line[:])
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(line[:n])))
	if err != nil {
		t.Fatalf("host said %q", line[:n])
	}
	if err := host.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = host.Wait()
	wantGone(t, pid)
	if left, _ := filepath.Glob(filepath.Join(dir, "*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestCloseTwice(t *testing.T) {
	p := start(t, oddSpec(t, nil), options(t))
	for range 2 {
		if err := p.Close(t.Context()); err != nil {
			t.Error(err)
		}
	}
}
