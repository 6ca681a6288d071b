package plugtest

import (
	"context"
	"errors"
	"io"
	"testing"

	"github.com/remora-backup/remora/core/plug"
)

func TestMemory(t *testing.T) {
	Storage(t, func(*testing.T) plug.Storage { return &Memory{} })
}

func TestMemoryAsResults(t *testing.T) {
	m := &Memory{}
	for _, r := range CheckStorage(t.Context(), m) {
		if !r.OK {
			t.Errorf("%s: %s", r.Name, r.Detail)
		}
	}
	if len(m.objects) != 0 {
		t.Errorf("%d objects left behind", len(m.objects))
	}
}

// TestFaultsAreNoticed breaks the storage and expects the check that is there for it to
// say so.
func TestFaultsAreNoticed(t *testing.T) {
	broken := errors.New("disk on fire")
	for name, c := range map[string]struct {
		fault Fault
		check string
	}{
		"a put fails":              {Fault{Op: "put", Damage: Fail, Err: broken}, "put_then_get"},
		"a put loses its object":   {Fault{Op: "put", Damage: Lose}, "put_then_get"},
		"a put flips a byte":       {Fault{Op: "put", Damage: Flip, After: 700}, "put_then_get"},
		"a put stores too little":  {Fault{Op: "put", Damage: Short, After: 700}, "put_then_get"},
		"a get flips a byte":       {Fault{Op: "get", Damage: Flip, After: 700}, "put_then_get"},
		"a get ends early":         {Fault{Op: "get", Damage: Short, After: 700}, "get_ranges"},
		"a get fails":              {Fault{Op: "get", Damage: Fail, After: 10, Err: broken}, "get_ranges"},
		"a list fails":             {Fault{Op: "list", Damage: Fail, Err: broken}, "list_order_and_prefix"},
		"a stat fails":             {Fault{Op: "stat", Damage: Fail, Err: broken}, "not_exist"},
		"a delete does nothing":    {Fault{Op: "delete", Damage: Fail}, "delete_idempotent"},
		"a delete says not exist":  {Fault{Op: "delete", Damage: Fail, Err: plug.ErrNotExist}, "delete_idempotent"},
		"a big put flips a byte":   {Fault{Op: "put", Damage: Flip, After: 20 << 20}, "put_big"},
		"a small get flips a byte": {Fault{Op: "get", Damage: Flip}, "names_odd"},
	} {
		t.Run(name, func(t *testing.T) {
			m := &Memory{}
			m.Break(c.fault)
			if c.fault.Op == "delete" && c.fault.Err == nil {
				wantNoticed(t, forgetful{m}, c.check)
				return
			}
			wantNoticed(t, m, c.check)
		})
	}
}

// forgetful does not delete.
type forgetful struct{ *Memory }

func (forgetful) Delete(context.Context, string) error { return nil }

func wantNoticed(t *testing.T, s plug.Storage, want string) {
	t.Helper()
	for _, c := range storageChecks() {
		if c.name != want {
			continue
		}
		if r := runOne(t.Context(), c, place{Storage: s, base: "x/"}); r.OK {
			t.Errorf("%s did not notice", want)
		}
		return
	}
	t.Errorf("no check is called %s", want)
}

func TestHangEndsWithItsContext(t *testing.T) {
	m := &Memory{}
	m.Break(Fault{Op: "put", Damage: Hang, After: 5, Times: 1})
	ctx, cancel := context.WithCancel(t.Context())
	r := &breaking{left: 10, at: func() error { return io.EOF }}
	begun := make(chan struct{})
	done := make(chan error)
	go func() {
		_, err := m.Put(ctx, "x", io.MultiReader(signalling(begun), r))
		done <- err
	}()
	<-begun
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want context.Canceled", err)
	}
	if _, err := m.Put(t.Context(), "x", &breaking{left: 10, at: func() error { return io.EOF }}); err != nil {
		t.Errorf("put after the fault was used up: %v", err)
	}
}

// signalling is an empty reader that tells when it is read.
func signalling(begun chan struct{}) io.Reader {
	return &breaking{at: func() error { close(begun); return io.EOF }}
}
