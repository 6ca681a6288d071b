package cmd

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/remora-backup/remora/core/code"
	"github.com/remora-backup/remora/core/needs"
	"github.com/remora-backup/remora/core/repo"
	"github.com/remora-backup/remora/core/run"
	"github.com/remora-backup/remora/core/state"
	"github.com/remora-backup/remora/plugins/fs"
)

// TestMain lets the test binary be the remora that serves built-in plugins and hooks.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && (os.Args[1] == "plugin" || os.Args[1] == hookHost) {
		os.Exit(Main(context.Background(), Env{Args: os.Args[1:], Getenv: os.Getenv, Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr}))
	}
	os.Exit(m.Run())
}

// buffer may be written while it is read.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// home is a directory with a configuration whose storage is below it.
type home struct {
	dir, config string
	out, err    *buffer
	signals     chan os.Signal
	defaulted   chan os.Signal
}

func newHome(t *testing.T, more string) *home {
	t.Helper()
	h := &home{dir: t.TempDir(), signals: make(chan os.Signal, 3), defaulted: make(chan os.Signal, 3)}
	h.config = filepath.Join(h.dir, "remora.toml")
	text := "[state]\ndir = \"" + h.dir + "/state\"\n[storage]\nplugin = \"fs\"\n[storage.config]\npath = \"" + h.dir + "/repo\"\n" + more
	if err := os.WriteFile(h.config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return h
}

func (h *home) env(t *testing.T, args ...string) Env {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	h.out, h.err = new(buffer), new(buffer)
	getenv := func(name string) string {
		if name == "REMORA_CONFIG" {
			return h.config
		}
		return ""
	}
	return Env{Args: args, Self: self, Getenv: getenv, Stdin: strings.NewReader(""), Stdout: h.out, Stderr: h.err,
		Signals: h.signals, Default: func(s os.Signal) { h.defaulted <- s }}
}

func (h *home) run(t *testing.T, args ...string) int {
	t.Helper()
	return Main(t.Context(), h.env(t, args...))
}

// backup stores a backup of one small file and returns its id.
func (h *home) backup(t *testing.T) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Join(h.dir, "repo"), 0o700); err != nil {
		t.Fatal(err)
	}
	storage, err := fs.Open(fs.Config{Path: filepath.Join(h.dir, "repo")})
	if err != nil {
		t.Fatal(err)
	}
	r, err := repo.Open(t.Context(), storage)
	if err != nil {
		t.Fatal(err)
	}
	const id = "20261120T221500Z-7f3a"
	b, err := r.NewBackup(t.Context(), id, repo.Options{})
	if err != nil {
		t.Fatal(err)
	}
	p, err := b.Packer()
	if err != nil {
		t.Fatal(err)
	}
	data := bytes.Repeat([]byte("abcdefgh"), 2048)
	file := b.NewFile()
	if err := p.Extent(t.Context(), repo.Extent{File: file}, data); err != nil {
		t.Fatal(err)
	}
	if err := b.Keep(repo.File{ID: file, Kind: repo.KindOther, Path: "a", Size: int64(len(data))}); err != nil {
		t.Fatal(err)
	}
	m := repo.Manifest{Server: repo.Server{UUID: "u-u", Version: "9.7.4"}, Binlog: repo.Binlog{File: "b.000007", Position: 157},
		LSN: repo.LSN{Checkpoint: 5, End: 99}, Lock: repo.Lock{Held: 12.5}, Databases: []string{"d"}, Phases: []repo.Phase{{Name: "locking", Seconds: 0.5}}}
	if _, err := b.Seal(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	return id
}

func (h *home) history(t *testing.T) []state.Operation {
	t.Helper()
	s, err := state.Open(t.Context(), filepath.Join(h.dir, "state"))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	all, err := s.History(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestMisuseIsTen(t *testing.T) {
	for _, c := range []struct {
		name, config string
		args         []string
		want         []string // in stderr
	}{
		{"unknown command", "", []string{"bakcup"}, []string{"error: unknown command \"bakcup\"", "\nhint: did you mean: remora backup\n"}},
		{"unknown flag", "", []string{"list", "--jsno"}, []string{"error: unknown flag: --jsno\n", "hint: "}},
		{"too many arguments", "", []string{"list", "x"}, []string{"error: "}},
		{"restore without target", "", []string{"restore"}, []string{"error: --target is missing\n", "hint: "}},
		{"unknown plugin command", "", []string{"plugin", "lsit"}, []string{"error: "}},
		{"unknown key", "[mysql]\nsokcet = \"/x\"\n", []string{"list"}, []string{`remora.toml:8: unknown key [mysql] sokcet, did you mean "socket"?`}},
		{"unknown key in a run", "[mysql]\nsokcet = \"/x\"\n", []string{"backup"}, []string{`remora.toml:8: unknown key [mysql] sokcet`}},
		{"key a plugin refuses", "pth = \"/x\"\n", []string{"list"}, []string{`remora.toml:7: [storage.config]: `, `unknown key "pth", did you mean "path"?`}},
		{"two files", "", []string{"list", "--config", "/a", "--json", "--json", "--config=/b"}, []string{`error: invalid argument "/b" for "--config" flag: it was given before, as "/a"`, "hint: "}},
		{"a setting twice", "", []string{"plugin", "check", "fs", "--set", "path=/a", "--set", "b=1", "--set", "path=/b"}, []string{`"--set" flag: it was given before, as "path=/a"`}},
		{"no such file", "", []string{"list", "--config", "/no/such"}, []string{"error: read configuration: open /no/such", "hint: "}},
		{"no such backup", "", []string{"show", "20261120T221500Z-7f3a"}, []string{"error: "}},
		{"no backup at all", "", []string{"show", "latest"}, []string{"error: "}},
		{"hook with a syntax error", "[hooks]\nscripts = [\"CONFIG\"]\n", []string{"backup"}, []string{"remora.toml:1:"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := newHome(t, "")
			text, err := os.ReadFile(h.config)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(h.config, append(text, strings.ReplaceAll(c.config, "CONFIG", h.config)...), 0o600); err != nil {
				t.Fatal(err)
			}
			if got := h.run(t, c.args...); got != 10 {
				t.Errorf("exit code: got %d, want 10", got)
			}
			for _, want := range c.want {
				if !strings.Contains(h.err.String(), want) {
					t.Errorf("stderr: got %q, want %q in it", h.err, want)
				}
			}
		})
	}
}

func TestHelpListsExitCodes(t *testing.T) {
	for _, command := range []string{"", "backup", "restore", "list", "show", "verify", "history"} {
		h := newHome(t, "")
		args := []string{"--help"}
		if command != "" {
			args = []string{command, "--help"}
		}
		if got := h.run(t, args...); got != 0 || !strings.Contains(h.out.String(), "14  backup lock not obtained or lost") {
			t.Errorf("%q: got code %d and %q, want the exit codes", command, got, h.out)
		}
	}
}

func TestVersion(t *testing.T) {
	h := newHome(t, "")
	if got := h.run(t, "version", "--json"); got != 0 {
		t.Fatalf("got code %d, %s", got, h.err)
	}
	var b build
	if err := json.Unmarshal([]byte(h.out.String()), &b); err != nil || b.Go == "" || b.Version == "" {
		t.Errorf("got %q (%v), want version and go", h.out, err)
	}
}

func TestEmptyRepository(t *testing.T) {
	h := newHome(t, "")
	for _, c := range []struct {
		args string
		want string
	}{
		{"list", "ID  STATE  DATA OF  SERVER  DATA  STORED  TOOK  LOCKED  POSITION\n"},
		{"list --json", ""}, {"history", ""}, {"history --json", ""},
	} {
		if got := h.run(t, strings.Fields(c.args)...); got != 0 || h.out.String() != c.want {
			t.Errorf("%s: got code %d and %q, want 0 and %q", c.args, got, h.out, c.want)
		}
	}
	// Who verifies every night must hear of a storage that is not mounted.
	if got := h.run(t, "verify"); got != int(code.Usage) || !strings.Contains(h.err.String(), "there is none") {
		t.Errorf("verify: got code %d and %q, want 10", got, h.err)
	}
}

type broken struct{ err error }

func (b broken) Write([]byte) (int, error) { return 0, b.err }

// A list that is cut by a full disk is not a list; one whose reader had enough is.
func TestOutputThatCannotBeWritten(t *testing.T) {
	h := newHome(t, "")
	for err, want := range map[error]int{syscall.ENOSPC: 1, syscall.EPIPE: 0} {
		env := h.env(t, "list")
		env.Stdout = broken{err}
		if got := Main(t.Context(), env); got != want {
			t.Errorf("%v: got code %d and %q, want %d", err, got, h.err, want)
		}
	}
}

func TestListShowVerifyABackup(t *testing.T) {
	h := newHome(t, "")
	id := h.backup(t)
	for _, c := range []struct {
		args string
		want []string
	}{
		{"list", []string{id, "complete", "9.7.4", "16 KiB", "12.5 ms", "b.000007:157"}},
		{"list --json", []string{`{"id":"` + id + `"`, `"bytes":16384`, `"lsn":99`}},
		{"show " + id, []string{"u-u", "from checkpoint 5 to LSN 99", "locking 500ms"}},
		{"show latest --json", []string{`"id":"` + id + `"`, `"lock_ms":12.5`}},
		{"verify", []string{id, "sound"}},
		{"verify latest --json", []string{`"id":"` + id + `"`, `"state":"sound"`}},
	} {
		if got := h.run(t, strings.Fields(c.args)...); got != 0 {
			t.Errorf("%s: got code %d: %s", c.args, got, h.err)
		}
		for _, want := range c.want {
			if !strings.Contains(h.out.String(), want) {
				t.Errorf("%s: got %q, want %q in it", c.args, h.out, want)
			}
		}
	}
}

func TestAnErrorOfSeveralLines(t *testing.T) {
	var b strings.Builder
	printError(&b, "recover\nmysqld: \x1b[2J no\nhint: trust me", "look there")
	if want := "error: recover\n  mysqld: ?[2J no\n  hint: trust me\nhint: look there\n"; b.String() != want {
		t.Errorf("got  %q\nwant %q", b.String(), want)
	}
}

// Only stored bytes are damaged; an id that is not known, or a storage that fails, is not.
func TestVerifySaysDamagedOfDamageOnly(t *testing.T) {
	h := newHome(t, "")
	h.backup(t)
	if got := h.run(t, "verify", "20200101T000000Z-0000"); got != int(code.Usage) || strings.Contains(h.out.String(), "damaged") {
		t.Errorf("got code %d, %q, want 10 and no damage", got, h.out)
	}
}

func TestVerifyFindsAFlippedByte(t *testing.T) {
	h := newHome(t, "")
	id := h.backup(t)
	pack := filepath.Join(h.dir, "repo", "backups", id, "pack-000001")
	bytes, err := os.ReadFile(pack)
	if err != nil {
		t.Fatal(err)
	}
	bytes[len(bytes)/2] ^= 1
	if err := os.WriteFile(pack, bytes, 0o600); err != nil {
		t.Fatal(err)
	}
	if got := h.run(t, "verify"); got != int(code.Integrity) || !strings.Contains(h.out.String(), "damaged") {
		t.Errorf("got code %d, %q, want 19 and a damaged backup", got, h.out)
	}
}

func TestARunThatCannotBeginIsToldAndRemembered(t *testing.T) {
	h := newHome(t, "")
	target := filepath.Join(h.dir, "new")
	if got := h.run(t, "restore", "--target", target, "--json"); got != 10 {
		t.Fatalf("got code %d, want 10: %s", got, h.err)
	}
	lines := strings.Split(strings.TrimSpace(h.out.String()), "\n")
	var end struct{ Event, Operation, State, Error, ID string }
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &end); err != nil || end.Event != "end" || end.Operation != "restore" || end.State != "error" {
		t.Errorf("last line: got %q (%v), want the end of a failed restore", lines[len(lines)-1], err)
	}
	all := h.history(t)
	if len(all) != 1 || all[0].ID != end.ID || all[0].State != "error" || all[0].Target != target || all[0].Error != end.Error || all[0].Code != 10 {
		t.Errorf("history: got %+v, want that restore", all)
	}
	if h.run(t, "history"); !strings.Contains(h.out.String(), end.Error) {
		t.Errorf("history: got %q, want the error in it", h.out)
	}
	if h.run(t, "show", end.ID); !strings.Contains(h.out.String(), "restore: error") {
		t.Errorf("show: got %q, want the operation", h.out)
	}
}

func TestSecondOperationIsBusy(t *testing.T) {
	h := newHome(t, "")
	lock, err := state.Lock(filepath.Join(h.dir, "state"), state.Owner{PID: 42, Operation: "backup", ID: "b1", Host: "h"})
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Release()
	if got := h.run(t, "restore", "--target", filepath.Join(h.dir, "new")); got != 11 || !strings.Contains(h.err.String(), "pid 42 on h") {
		t.Errorf("got code %d, %q, want 11 and the owner", got, h.err)
	}
	if _, err := os.Stat(filepath.Join(h.dir, "state", "remora.db")); !os.IsNotExist(err) {
		t.Errorf("got %v, want no history of an operation that never ran", err)
	}
}

func TestPluginCheckAsksForEveryPromise(t *testing.T) {
	needs.Time(t)
	h := newHome(t, "")
	if got := h.run(t, "plugin", "check", "fs"); got != 0 || !strings.Contains(h.out.String(), "ok    put_then_get\n") || !strings.Contains(h.out.String(), "promises are kept\n") {
		t.Errorf("configured: got code %d, %q, %q", got, h.out, h.err)
	}
	if got := h.run(t, "plugin", "check", "fs", "--json", "--set", "path="+h.dir+"/other"); got != 0 || !strings.Contains(h.out.String(), `"check":"put_then_get"`) {
		t.Errorf("with --set: got code %d, %q, %q", got, h.out, h.err)
	}
	if got := h.run(t, "plugin", "check", "fs", "--kind", "lock"); got != int(code.Plugin) {
		t.Errorf("as another kind: got code %d, want 22: %s", got, h.err)
	}
}

func TestAnEarlierCrashIsRecorded(t *testing.T) {
	h := newHome(t, "")
	s, err := state.Open(t.Context(), filepath.Join(h.dir, "state"))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Begin(t.Context(), state.Operation{ID: "b0", Operation: "backup", PID: 42}); err != nil {
		t.Fatal(err)
	}
	s.Close()
	h.run(t, "restore", "--target", filepath.Join(h.dir, "new"))
	all := h.history(t)
	if i := slices.IndexFunc(all, func(o state.Operation) bool { return o.ID == "b0" }); i < 0 || all[i].State != "crashed" {
		t.Errorf("got %+v, want b0 crashed", all)
	}
	if !strings.Contains(h.out.String(), "An earlier backup (b0) crashed in phase") {
		t.Errorf("stdout: got %q, want the crash in it", h.out)
	}
}

// begun leaves an operation in the history as a process does that was killed: with no end.
func (h *home) begun(t *testing.T, o state.Operation) {
	t.Helper()
	s, err := state.Open(t.Context(), filepath.Join(h.dir, "state"))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.Begin(t.Context(), o); err != nil {
		t.Fatal(err)
	}
}

// Nobody has to start an operation to learn that the last one crashed.
func TestACrashShowsAtOnce(t *testing.T) {
	for command, want := range map[string]string{
		"history":        "crashed",
		"history --json": `"state":"crashed"`,
		"status":         "nothing is running; the last backup (b0): crashed",
		"status --json":  `"state":"crashed"`,
		"show b0":        "backup: crashed",
		"show b0 --json": `"event":"end","state":"crashed"`,
	} {
		h := newHome(t, "")
		h.begun(t, state.Operation{ID: "b0", Operation: "backup", PID: os.Getpid(), Host: "h"}) // the number is another's by now
		if got := h.run(t, strings.Fields(command)...); got != 0 || !strings.Contains(h.out.String(), want) || strings.Contains(h.out.String(), "running\"") {
			t.Errorf("%s: got code %d and %q, want %q in it; %s", command, got, h.out, want, h.err)
		}
		if all := h.history(t); all[0].State != run.Crashed || all[0].Ended.IsZero() || all[0].Tidied || !strings.Contains(all[0].Error, "on h) ended without an answer") {
			t.Errorf("%s: recorded is %+v, want a crash that is not tidied", command, all[0])
		}
	}
}

// Where the crash cannot be recorded it is shown all the same.
func TestACrashShowsIfItCannotBeRecorded(t *testing.T) {
	h := newHome(t, "")
	h.begun(t, state.Operation{ID: "b0", Operation: "backup", PID: 42, Host: "h"})
	db, err := sql.Open("sqlite", filepath.Join(h.dir, "state", "remora.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec("CREATE TRIGGER no BEFORE UPDATE ON backup_history BEGIN SELECT RAISE(ABORT, 'the disk is full'); END"); err != nil {
		t.Fatal(err)
	}
	for command, want := range map[string]string{"history": "crashed", "history --json": `"state":"crashed"`, "status": "(b0): crashed", "show b0": "backup: crashed"} {
		if got := h.run(t, strings.Fields(command)...); got != 0 || !strings.Contains(h.out.String(), want) {
			t.Errorf("%s: got code %d and %q, want %q in it; %s", command, got, h.out, want, h.err)
		}
	}
	if all := h.history(t); all[0].State != state.Starting {
		t.Errorf("recorded is %+v, the test is none", all[0])
	}
}

// An operation that runs is left alone, at any moment of its life; one before it that
// crashed is not, though it had the same process number.
func TestWhoRunsHasNotCrashed(t *testing.T) {
	h := newHome(t, "")
	look := func(when string, old, own run.State) {
		t.Helper()
		reader := &home{dir: h.dir, config: h.config, signals: h.signals, defaulted: h.defaulted}
		if got := reader.run(t, "history", "--json"); got != 0 {
			t.Errorf("%s: got code %d: %s", when, got, reader.err)
		}
		states := map[string]run.State{}
		for line := range strings.Lines(reader.out.String()) {
			var o state.Operation
			if err := json.Unmarshal([]byte(line), &o); err != nil {
				t.Fatal(err)
			}
			states[o.ID] = o.State
			if o.Ongoing() {
				states[o.ID] = state.Running // it is starting until its first event is recorded
			}
			if o.ID != "old" {
				states["own"] = states[o.ID]
			}
		}
		if states["old"] != old || states["own"] != own {
			t.Errorf("%s: got %v, want old %s and its own %q", when, states, old, own)
		}
	}
	err := h.operate(t, flags{}, func(context.Context, *run.Task) error {
		h.begun(t, state.Operation{ID: "old", Operation: "backup", PID: os.Getpid(), Host: "h", Started: time.Now().Add(-time.Hour)})
		look("working", run.Crashed, state.Running)
		return nil
	}, func(context.Context, *run.Task, error) error {
		look("cleaning up", run.Crashed, state.Running)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	look("over", run.Crashed, run.Complete)
}
