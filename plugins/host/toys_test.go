package host

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/remora-backup/remora/core/code"
	"github.com/remora-backup/remora/core/needs"
	"github.com/remora-backup/remora/core/plug"
	"github.com/remora-backup/remora/plugins/sdk"
)

// toyLock is a lock plugin whose lock is a file.
type toyLock struct {
	File     string `json:"file"`
	Slow     bool   `json:"slow"`
	Loses    bool   `json:"loses"`
	Stuck    bool   `json:"stuck"`
	Timeouts bool   `json:"timeouts"`
	server   sdk.Server
}

func newToyLock(raw, server json.RawMessage) (plug.Lock, error) {
	l := &toyLock{}
	if err := sdk.Decode(raw, l); err != nil {
		return nil, err
	}
	return l, sdk.Decode(server, &l.server)
}

func (l *toyLock) Acquire(ctx context.Context, ask plug.Ask) (plug.Held, error) {
	if l.Timeouts {
		return nil, &plug.LockTimeout{Scope: ask.Scope, Wait: ask.Wait, Blockers: []plug.Blocker{{ProcessID: 7, User: "joe", Since: time.Minute, Statement: "ALTER"}}}
	}
	// It is granted also to somebody who has left: the plugin must give it back.
	if l.Slow {
		<-ctx.Done()
	}
	if err := os.WriteFile(l.File, nil, 0o600); err != nil {
		return nil, err
	}
	h := &toyHeld{l: l, lost: make(chan struct{})}
	if l.Loses {
		h.lose()
	}
	return h, nil
}

type toyHeld struct {
	l    *toyLock
	once sync.Once
	lost chan struct{}
}

func (h *toyHeld) lose()                 { h.once.Do(func() { close(h.lost) }) }
func (h *toyHeld) Owner() uint64         { return uint64(h.l.server.Port) }
func (h *toyHeld) Waited() time.Duration { return 3 * time.Second }
func (h *toyHeld) Locked() plug.Locked   { return plug.Locked{UUID: "u", Started: 7} }
func (h *toyHeld) Lost() <-chan struct{} { return h.lost }

func (h *toyHeld) Check(context.Context) error {
	select {
	case <-h.lost:
		return fmt.Errorf("killed by root: %w", plug.ErrLockLost)
	default:
		return nil
	}
}

func (h *toyHeld) Release(ctx context.Context) (time.Duration, error) {
	if h.l.Stuck {
		select {}
	}
	if err := h.Check(ctx); err != nil {
		return 0, err
	}
	return 12345 * time.Microsecond, os.Remove(h.l.File)
}

func startLock(t *testing.T, settings map[string]any) (*Plugin, string) {
	t.Helper()
	file := t.TempDir() + "/lock"
	all := map[string]any{"file": file}
	for k, v := range settings {
		all[k] = v
	}
	p := start(t, Spec{Kind: Lock, Name: "lock", Config: config(t, all), Server: config(t, sdk.Server{Port: 4711})}, options(t))
	return p, file
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func TestLock(t *testing.T) {
	p, file := startLock(t, nil)
	ctx, cancel := context.WithCancel(t.Context())
	h, err := p.Lock().Acquire(ctx, plug.Ask{Scope: plug.ScopeBackup, Wait: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	cancel() // the lock outlives it
	if on := h.(plug.HeldOn).Locked(); on != (plug.Locked{UUID: "u", Started: 7}) {
		t.Errorf("locked server: got %+v", on)
	}
	if h.Owner() != 4711 || h.Waited() != 3*time.Second || !exists(file) {
		t.Errorf("got owner %d, waited %v, held %v", h.Owner(), h.Waited(), exists(file))
	}
	if err := h.Check(t.Context()); err != nil {
		t.Errorf("check: %v", err)
	}
	d, err := h.Release(ctx)
	if err != nil || d != 12345*time.Microsecond || exists(file) {
		t.Errorf("release: got %v, %v, still held %v", d, err, exists(file))
	}
	select {
	case <-h.Lost():
		t.Error("a lock that was released is told lost")
	default:
	}
}

func TestLockTimeoutNamesBlockers(t *testing.T) {
	p, _ := startLock(t, map[string]any{"timeouts": true})
	_, err := p.Lock().Acquire(t.Context(), plug.Ask{Scope: plug.ScopeBackup, Wait: time.Second})
	var late *plug.LockTimeout
	if !errors.As(err, &late) || !errors.Is(err, plug.ErrLockTimeout) || code.Of(err) != code.Lock {
		t.Fatalf("got %v", err)
	}
	want := plug.Blocker{ProcessID: 7, User: "joe", Since: time.Minute, Statement: "ALTER"}
	if len(late.Blockers) != 1 || late.Blockers[0] != want || late.Wait != time.Second || late.Scope != plug.ScopeBackup {
		t.Errorf("got %+v", late)
	}
}

func TestLockOfACancelledCallerIsNotKept(t *testing.T) {
	p, file := startLock(t, map[string]any{"slow": true})
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := p.Lock().Acquire(ctx, plug.Ask{Scope: plug.ScopeBackup, Wait: time.Minute}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want the caller's deadline", err)
	}
	for end := time.Now().Add(20 * time.Second); exists(file); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the lock is kept")
		}
	}
}

func TestLockLostIsTold(t *testing.T) {
	p, _ := startLock(t, map[string]any{"loses": true})
	h, err := p.Lock().Acquire(t.Context(), plug.Ask{Scope: plug.ScopeBackup, Wait: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	<-h.Lost()
	if err := h.Check(t.Context()); !errors.Is(err, plug.ErrLockLost) || !strings.Contains(err.Error(), "killed by root") {
		t.Errorf("check: got %v", err)
	}
	if _, err := h.Release(t.Context()); !errors.Is(err, plug.ErrLockLost) || code.Of(err) != code.Lock {
		t.Errorf("release: got %v", err)
	}
}

func TestLockIsLostWithItsPlugin(t *testing.T) {
	p, _ := startLock(t, nil)
	h, err := p.Lock().Acquire(t.Context(), plug.Ask{Scope: plug.ScopeBackup, Wait: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(p.Pid(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	<-h.Lost()
	if _, err := h.Release(t.Context()); !errors.Is(err, plug.ErrLockLost) || code.Of(err) != code.Lock {
		t.Errorf("release: got %v", err)
	}
}

func TestStuckReleaseKillsThePlugin(t *testing.T) {
	needs.Time(t)
	p, _ := startLock(t, map[string]any{"stuck": true})
	h, err := p.Lock().Acquire(t.Context(), plug.Ask{Scope: plug.ScopeBackup, Wait: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := h.Release(t.Context()); code.Of(err) != code.Lock || !strings.Contains(err.Error(), "killed: no answer to release") {
		t.Errorf("got %v", err)
	}
	<-p.Exited()
}

func TestCloseReleasesLocks(t *testing.T) {
	p, file := startLock(t, nil)
	if _, err := p.Lock().Acquire(t.Context(), plug.Ask{Scope: plug.ScopeBackup, Wait: time.Second}); err != nil {
		t.Fatal(err)
	}
	if err := p.Close(t.Context()); err != nil || exists(file) {
		t.Errorf("close: %v, still held %v", err, exists(file))
	}
}

// toyNotify writes notices to a file when it is drained.
type toyNotify struct {
	File string `json:"file"`
	all  []plug.Notice
}

func (n *toyNotify) Send(_ context.Context, m plug.Notice) error {
	n.all = append(n.all, m)
	return nil
}

func (n *toyNotify) Drain(context.Context) error {
	b, err := json.Marshal(n.all)
	if err != nil {
		return err
	}
	return os.WriteFile(n.File, b, 0o600)
}

func TestNotify(t *testing.T) {
	file := t.TempDir() + "/notices"
	p := start(t, Spec{Kind: Notify, Name: "notify", Config: config(t, map[string]string{"file": file})}, options(t))
	want := plug.Notice{
		Time: time.Date(2026, 1, 2, 3, 4, 5, 6000, time.UTC), Severity: "error", Operation: "backup",
		ID: "x", Text: "it broke", Event: json.RawMessage(`{"a":1}`),
	}
	if err := p.Notify().Send(t.Context(), want); err != nil {
		t.Fatal(err)
	}
	if err := p.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if wantJSON := config(t, []plug.Notice{want}); string(b) != string(wantJSON) {
		t.Errorf("got %s, want %s", b, wantJSON)
	}
}
