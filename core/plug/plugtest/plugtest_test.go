package plugtest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"strings"
	"testing"
	"time"

	"github.com/remora-backup/remora/core/plug"
)

func TestMemory(t *testing.T) {
	Storage(t, func(*testing.T) plug.Storage { return &Memory{} })
}

func TestMemoryAsResults(t *testing.T) {
	m := &Memory{}
	for r := range CheckStorage(t.Context(), m) {
		if !r.OK {
			t.Errorf("%s: %s", r.Name, r.Detail)
		}
	}
	if len(m.objects) != 0 {
		t.Errorf("%d objects left behind", len(m.objects))
	}
	for r := range CheckStorage(t.Context(), m, "no_such_check") {
		t.Errorf("%s was checked, and is not what was named", r.Name)
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
		"a big put flips a byte":   {Fault{Op: "put", Damage: Flip, After: 100 << 20}, "put_larger_than_a_pack"},
		"a big put is cut":         {Fault{Op: "put", Damage: Short, After: 64 << 20}, "put_larger_than_a_pack"},
		"a big get is cut":         {Fault{Op: "get", Damage: Short, After: 64 << 20}, "put_larger_than_a_pack"},
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

// first is a storage that lists only so many names.
type first struct {
	*Memory
	names int
}

func (f first) List(ctx context.Context, prefix string) iter.Seq2[plug.Object, error] {
	return func(yield func(plug.Object, error) bool) {
		n := 0
		for o, err := range f.Memory.List(ctx, prefix) {
			if n++; n > f.names || !yield(o, err) {
				return
			}
		}
	}
}

// narrow keeps offsets in 32 bits.
type narrow struct{ *Memory }

func (n narrow) Get(ctx context.Context, name string, offset, length int64) (io.ReadCloser, error) {
	return n.Memory.Get(ctx, name, int64(uint32(offset)), length)
}

// endless gives zeros for ever, and names.
type endless struct{ *Memory }

func (endless) Get(context.Context, string, int64, int64) (io.ReadCloser, error) {
	return io.NopCloser(zeros{}), nil
}

func (e endless) List(_ context.Context, prefix string) iter.Seq2[plug.Object, error] {
	return func(yield func(plug.Object, error) bool) {
		for i := 0; yield(plug.Object{Name: fmt.Sprintf("%s%020d", prefix, i)}, nil); i++ {
		}
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func TestLimitsAreNoticed(t *testing.T) {
	wantNoticed(t, first{&Memory{}, 1000}, "list_more_than_1000")
	wantNoticed(t, narrow{&Memory{}}, "get_out_of_range")
	wantNoticed(t, endless{&Memory{}}, "get_ranges")
	wantNoticed(t, endless{&Memory{}}, "list_ends_early")
	wantNoticed(t, endless{&Memory{}}, "put_larger_than_a_pack")
}

// A check that does not end is given up, said to be so, and the last; what came before it
// is known by then.
func TestEndlessCheckIsGivenUp(t *testing.T) {
	hang := make(chan struct{})
	defer close(hang)
	r := run(t.Context(), "hang", 10*time.Millisecond, 10*time.Millisecond, func(T) { <-hang })
	if r.OK || !r.Endless || !strings.Contains(r.Detail, "took longer than 10ms") || !strings.Contains(r.Detail, "not tried") {
		t.Errorf("got %+v", r)
	}
	r = run(t.Context(), "slow", 10*time.Millisecond, time.Minute, func(t T) { <-t.Context().Done() })
	if r.OK || r.Endless || !strings.Contains(r.Detail, "took longer than 10ms") {
		t.Errorf("got %+v", r)
	}
	var told []string
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	hanging := func(t T, _ int) { cancel(); <-t.Context().Done() }
	for r := range runAll(ctx, []check[int]{{"first", func(T, int) {}}, {"second", hanging}, {"third", func(T, int) {}}}, 0, nil) {
		told = append(told, fmt.Sprint(r.Name, r.OK))
	}
	if got := strings.Join(told, " "); got != "firsttrue secondfalse" {
		t.Errorf("got %q", got)
	}
}

func wantNoticed(t *testing.T, s plug.Storage, want string) {
	t.Helper()
	for r := range CheckStorage(t.Context(), s, want) {
		if r.Name == want {
			if r.OK {
				t.Errorf("%s did not notice", want)
			}
			return
		}
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
