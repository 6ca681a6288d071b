package plugtest

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"io"
	mathrand "math/rand/v2"
	"slices"
	"strings"

	"github.com/remora-backup/remora/core/plug"
)

// Storage runs every check of a storage as a subtest, each on a storage of its own.
func Storage[S Testing[S]](t S, open func(S) plug.Storage) {
	t.Helper()
	for _, c := range storageChecks() {
		t.Run(c.name, func(t S) { c.run(t, place{Storage: open(t), base: "plugtest/"}) })
	}
}

// CheckStorage runs every check on s, below a prefix of its own that is empty again
// afterwards. What s holds besides is not touched.
func CheckStorage(ctx context.Context, s plug.Storage) []Result {
	p := place{Storage: s, base: "plugtest-" + strings.ToLower(rand.Text()[:8]) + "/"}
	results := runAll(ctx, storageChecks(), p)
	sweep := check[place]{"leaves_nothing_behind", func(t T, p place) {
		for o, err := range p.List(t.Context(), p.base) {
			if err != nil {
				t.Fatalf("list: %v", err)
			}
			if err := p.Delete(t.Context(), o.Name); err != nil {
				t.Errorf("delete %s: %v", o.Name, err)
			}
		}
	}}
	return append(results, runOne(context.WithoutCancel(ctx), sweep, p))
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
		{"put_big", putBig},
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
	r := mathrand.NewChaCha8([32]byte{byte(n), byte(n >> 8), byte(n >> 16)})
	_, _ = r.Read(b) // never fails
	return b
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
	b, err := io.ReadAll(r)
	return b, errors.Join(err, r.Close())
}

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
		all = append(all, o)
	}
	return all
}

func difference(a, b []byte) int {
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return i
		}
	}
	return min(len(a), len(b))
}
