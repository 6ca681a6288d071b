package plugtest

import (
	"context"
	"encoding/json"
	"errors"
	"iter"
	"strings"
	"sync"
	"time"

	"github.com/remora-backup/remora/core/plug"
)

// Notify runs every check of a notify plugin as a subtest.
func Notify[S Testing[S]](t S, open func(S) plug.Notify) {
	t.Helper()
	for _, c := range notifyChecks() {
		t.Run(c.name, func(t S) { c.run(t, open(t)) })
	}
}

// CheckNotify runs every check on n, which really sends: the notices say that they are
// a test.
func CheckNotify(ctx context.Context, n plug.Notify, only ...string) iter.Seq[Result] {
	return runAll(ctx, notifyChecks(), n, only)
}

func notifyChecks() []check[plug.Notify] {
	return []check[plug.Notify]{
		{"send", send},
		{"send_odd", sendOdd},
		{"send_concurrent", sendConcurrent},
		{"send_cancelled_before", sendCancelledBefore},
	}
}

// notice is one that people who get it understand.
func notice(text string) plug.Notice {
	return plug.Notice{Time: time.Now(), Severity: "info", Operation: "backup", ID: "test", Text: "test of the plugin: " + text}
}

func send(t T, n plug.Notify) {
	for _, severity := range []string{"info", "warning", "error"} {
		m := notice("severity " + severity)
		m.Severity, m.Event = severity, json.RawMessage(`{"event":"test","nested":{"a":[1,2,3]}}`)
		if err := n.Send(t.Context(), m); err != nil {
			t.Errorf("send with severity %s: %v", severity, err)
		}
	}
}

func sendOdd(t T, n plug.Notify) {
	bare := notice("nothing but text")
	bare.Operation, bare.ID = "", ""
	long := notice(strings.Repeat("long ", 10_000))
	signs := notice("quotes \" ' ` \\, control \x1b[31m\r\n\t, <html> & ünïcödé 🐟")
	for name, m := range map[string]plug.Notice{"bare": bare, "long": long, "with signs": signs} {
		if err := n.Send(t.Context(), m); err != nil {
			t.Errorf("send a notice that is %s: %v", name, err)
		}
	}
}

func sendConcurrent(t T, n plug.Notify) {
	var all sync.WaitGroup
	errs := make([]error, 10)
	for i := range errs {
		all.Go(func() { errs[i] = n.Send(t.Context(), notice("many at once")) })
	}
	all.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Errorf("send at the same time: %v", err)
	}
}

func sendCancelledBefore(t T, n plug.Notify) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := n.Send(ctx, notice("nobody should get this")); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want context.Canceled", err)
	}
}

// MemoryNotify keeps what it was sent.
type MemoryNotify struct {
	mu  sync.Mutex
	all []plug.Notice
}

// Send is plug.Notify's.
func (m *MemoryNotify) Send(ctx context.Context, n plug.Notice) error {
	if err := context.Cause(ctx); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.all = append(m.all, n)
	return nil
}

// Sent returns what came so far.
func (m *MemoryNotify) Sent() []plug.Notice {
	m.mu.Lock()
	defer m.mu.Unlock()
	return append([]plug.Notice(nil), m.all...)
}
