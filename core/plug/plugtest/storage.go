package plugtest

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"iter"
	mathrand "math/rand/v2"
	"slices"
	"strings"
	"sync"

	"github.com/remora-backup/remora/core/plug"
)

// Storage runs every check of a storage as a subtest, each on a storage of its own.
func Storage[S Testing[S]](t S, open func(S) plug.Storage) {
	t.Helper()
	for _, c := range storageChecks() {
		t.Run(c.name, func(t S) { c.run(t, place{Storage: open(t), base: "plugtest/"}) })
	}
}

// CheckStorage runs the checks named, or every one, on s, below a prefix of its own that is
// empty again afterwards, and yields each result when it is known. What s holds besides is
// not touched.
func CheckStorage(ctx context.Context, s plug.Storage, only ...string) iter.Seq[Result] {
	p := place{Storage: s, base: "plugtest-" + strings.ToLower(rand.Text()[:8]) + "/"}
	return func(yield func(Result) bool) {
		goOn, endless, n := true, false, 0
		for r := range runAll(ctx, storageChecks(), p, only) {
			endless = r.Endless
			n++
			if goOn = yield(r); !goOn {
				break
			}
		}
		if endless || n == 0 {
			return
		}
		if r := Run(context.WithoutCancel(ctx), "leaves_nothing_behind", p.sweep); goOn {
			yield(r)
		}
	}
}

// atOnce is how many calls a check makes in parallel where only their number matters.
const atOnce = 8

// sweep deletes everything below the base, and sees that it is gone.
func (p place) sweep(t T) {
	var names []string
	for _, o := range p.list(t, p.base) {
		names = append(names, o.Name)
	}
	each(names, func(name string) {
		if err := p.Delete(t.Context(), name); err != nil {
			t.Errorf("delete %s: %v", name, err)
		}
	})
	if left := p.list(t, p.base); len(left) > 0 {
		t.Errorf("%d objects are listed after they were deleted, as %s", len(left), left[0].Name)
	}
}

func each(names []string, do func(string)) {
	var all sync.WaitGroup
	next := make(chan string)
	for range atOnce {
		all.Go(func() {
			for name := range next {
				do(name)
			}
		})
	}
	for _, name := range names {
		next <- name
	}
	close(next)
	all.Wait()
}

// place is a storage and the prefix below which a check may work.
type place struct {
	plug.Storage
	base string
}

func storageChecks() []check[place] {
	return []check[place]{
		{"put_then_get", putThenGet},
		{"put_odd_readers", putOddReaders},
		{"put_larger_than_a_pack", putLarge},
		{"put_replaces", putReplaces},
		{"put_failing_reader_leaves_nothing", putFailingReader},
		{"put_failing_reader_keeps_old", putFailingReaderKeepsOld},
		{"put_cancelled_leaves_nothing", putCancelled},
		{"put_appears_at_once", putAppearsAtOnce},
		{"put_concurrent", putConcurrent},
		{"put_same_name_concurrent", putSameName},
		{"get_ranges", getRanges},
		{"get_out_of_range", getOutOfRange},
		{"get_closed_early", getClosedEarly},
		{"get_cancelled", getCancelled},
		{"get_while_replaced", getWhileReplaced},
		{"not_exist", notExist},
		{"list_order_and_prefix", listOrder},
		{"list_ends_early", listEndsEarly},
		{"list_more_than_1000", listMany},
		{"delete_idempotent", deleteIdempotent},
		{"names_hostile", namesHostile},
		{"names_odd", namesOdd},
		{"cancelled_before", cancelledBefore},
		{"free", free},
	}
}

// random returns bytes that no shorter or shifted copy equals.
func random(n int) []byte {
	b := make([]byte, n)
	_, _ = io.ReadFull(stream(n), b) // never fails
	return b
}

// stream gives the bytes of random(n) one after the other.
func stream(n int) io.Reader {
	return io.LimitReader(mathrand.NewChaCha8([32]byte{byte(n), byte(n >> 8), byte(n >> 16)}), int64(n))
}

// name makes a name of this check's own, so that checks share a storage.
func (p place) name(parts ...string) string { return p.base + strings.Join(parts, "/") }

func (p place) put(t T, name string, b []byte) {
	t.Helper()
	o, err := p.Put(t.Context(), name, bytes.NewReader(b))
	if err != nil {
		t.Fatalf("put %s: %v", name, err)
	}
	if want := (plug.Object{Name: name, Size: int64(len(b))}); o != want {
		t.Errorf("put returned %+v, want %+v", o, want)
	}
}

func (p place) read(ctx context.Context, name string, offset, length int64) ([]byte, error) {
	r, err := p.Get(ctx, name, offset, length)
	if err != nil {
		return nil, err
	}
	b, err := io.ReadAll(io.LimitReader(r, mostRead))
	if len(b) == mostRead {
		err = fmt.Errorf("got %d bytes and more: does it end?", len(b))
	}
	return b, errors.Join(err, r.Close())
}

// mostRead is more bytes than any object has that a check reads at once.
const mostRead = 16 << 20

// wantBytes checks an object in every way there is to see it.
func (p place) wantBytes(t T, name string, want []byte) {
	t.Helper()
	got, err := p.read(t.Context(), name, 0, -1)
	if err != nil {
		t.Errorf("get %s: %v", name, err)
	} else if !bytes.Equal(got, want) {
		t.Errorf("get %s: got %d bytes, want %d; first difference at %d", name, len(got), len(want), difference(got, want))
	}
	o, err := p.Stat(t.Context(), name)
	if err != nil || o.Size != int64(len(want)) || o.Name != name {
		t.Errorf("stat %s: got %+v, %v; want %d bytes", name, o, err, len(want))
	}
	if got := p.list(t, name); !slices.Contains(got, plug.Object{Name: name, Size: int64(len(want))}) {
		t.Errorf("list of %s: got %v, want it with %d bytes", name, got, len(want))
	}
}

// wantNone checks that an object is nowhere to be seen.
func (p place) wantNone(t T, name string) {
	t.Helper()
	if o, err := p.Stat(t.Context(), name); !errors.Is(err, plug.ErrNotExist) {
		t.Errorf("stat %s: got %+v, %v; want ErrNotExist", name, o, err)
	}
	if b, err := p.read(t.Context(), name, 0, -1); !errors.Is(err, plug.ErrNotExist) {
		t.Errorf("get %s: got %d bytes, %v; want ErrNotExist", name, len(b), err)
	}
	for _, o := range p.list(t, name) {
		if o.Name == name {
			t.Errorf("list shows %s", name)
		}
	}
}

func (p place) list(t T, prefix string) []plug.Object {
	t.Helper()
	var all []plug.Object
	for o, err := range p.List(t.Context(), prefix) {
		if err != nil {
			t.Fatalf("list %q: %v", prefix, err)
		}
		if all = append(all, o); len(all) > mostListed && strings.HasPrefix(prefix, p.base) {
			t.Fatalf("list %q: got %d objects and more, there are not that many: does it end?", prefix, len(all))
		}
	}
	return all
}

// mostListed is more objects than all checks together make.
const mostListed = 5000

func difference(a, b []byte) int {
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return i
		}
	}
	return min(len(a), len(b))
}
