package control

import (
	"context"
	"errors"
	"net/http"
	"os"
	"os/user"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
)

type operation struct {
	cancels atomic.Int32
	ended   atomic.Bool
	by      atomic.Pointer[string]
}

func (o *operation) Status() Status {
	st := Status{ID: "one", Operation: "backup", State: "running"}
	if by := o.by.Load(); by != nil {
		st.State, st.InterruptedBy = "cancelling", *by
	}
	return st
}

func (o *operation) Cancel(by string) bool {
	if o.ended.Load() {
		return false
	}
	o.cancels.Add(1)
	o.by.CompareAndSwap(nil, &by)
	return true
}

// E25: twice, of an unknown one, of one that has ended, of none.
func TestCancelE25(t *testing.T) {
	dir := filepath.Join(t.TempDir(), strings.Repeat("long", 40)) // a name no socket can have
	if _, err := Ask(t.Context(), dir, SocketName); !errors.Is(err, ErrNotRunning) {
		t.Errorf("without a directory: got %v, want %v", err, ErrNotRunning)
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	o := new(operation)
	s, err := Listen(dir, SocketName, o)
	if err != nil {
		t.Fatal(err)
	}
	st, err := os.Stat(filepath.Join(dir, SocketName))
	if err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("the socket is %v (%v), want it private", st.Mode(), err)
	}
	if got, err := Ask(t.Context(), dir, SocketName); err != nil || got.State != "running" {
		t.Errorf("status: got %+v, %v", got, err)
	}
	if _, err := Cancel(t.Context(), dir, SocketName, "two"); !errors.Is(err, ErrUnknown) || o.cancels.Load() != 0 {
		t.Errorf("cancel of another: got %v after %d cancels, want %v", err, o.cancels.Load(), ErrUnknown)
	}
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"", "one"} {
		if got, err := Cancel(t.Context(), dir, SocketName, id); err != nil || got.InterruptedBy != "api:"+me.Username {
			t.Errorf("cancel of %q: got %+v, %v", id, got, err)
		}
	}
	o.ended.Store(true)
	if _, err := Cancel(t.Context(), dir, SocketName, ""); !errors.Is(err, ErrUnknown) {
		t.Errorf("cancel after the end: got %v, want %v", err, ErrUnknown)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if _, err := Ask(t.Context(), dir, SocketName); !errors.Is(err, ErrNotRunning) {
		t.Errorf("after the end: got %v, want %v", err, ErrNotRunning)
	}
}

// The socket of a process that was killed is no operation, and no obstacle.
func TestSocketOfADeadProcess(t *testing.T) {
	dir := t.TempDir()
	d, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	l, err := listen(d, SocketName)
	if err != nil {
		t.Fatal(err)
	}
	l.(interface{ SetUnlinkOnClose(bool) }).SetUnlinkOnClose(false)
	l.Close()
	if _, err := Ask(t.Context(), dir, SocketName); !errors.Is(err, ErrNotRunning) {
		t.Errorf("got %v, want %v", err, ErrNotRunning)
	}
	s, err := Listen(dir, SocketName, new(operation))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if _, err := ask(context.WithoutCancel(t.Context()), dir, SocketName, http.MethodGet, "/nothing"); err == nil {
		t.Error("an unknown path: got no error")
	}
}
