package plugtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/remora-backup/remora/core/plug"
)

func putThenGet(t T, p place) {
	for _, n := range []int{0, 1, 1000, 4096, 256<<10 - 1, 256 << 10, 1<<20 + 3} {
		name := p.name("sizes", fmt.Sprint(n))
		p.put(t, name, random(n))
		p.wantBytes(t, name, random(n))
	}
}

// putOddReaders: a reader may give one byte at a time, nothing at times, and its last
// bytes together with io.EOF.
func putOddReaders(t T, p place) {
	want := random(3000)
	for label, r := range map[string]io.Reader{
		"slow":    &oddReader{rest: want, step: 1},
		"pausing": &oddReader{rest: want, step: 100, pauses: true},
		"at_once": &oddReader{rest: want, step: len(want), last: true},
	} {
		name := p.name("odd", label)
		if _, err := p.Put(t.Context(), name, r); err != nil {
			t.Errorf("put from a reader that is %s: %v", label, err)
			continue
		}
		p.wantBytes(t, name, want)
	}
}

type oddReader struct {
	rest   []byte
	step   int
	pauses bool
	paused bool
	last   bool // the end comes with the last bytes
}

func (r *oddReader) Read(b []byte) (int, error) {
	if r.pauses && !r.paused {
		r.paused = true
		return 0, nil
	}
	r.paused = false
	n := copy(b, r.rest[:min(r.step, len(r.rest))])
	if r.rest = r.rest[n:]; len(r.rest) == 0 && (r.last || n == 0) {
		return n, io.EOF
	}
	return n, nil
}

// largeSize is more than the largest object that a backup makes if nothing else is
// configured: packs have 96 MiB.
const largeSize = 128<<20 + 7

func putLarge(t T, p place) {
	name := p.name("large")
	o, err := p.Put(t.Context(), name, stream(largeSize))
	if err != nil || o.Size != largeSize {
		t.Fatalf("put of %d bytes: got %+v, %v", largeSize, o, err)
	}
	if o, err := p.Stat(t.Context(), name); err != nil || o.Size != largeSize {
		t.Errorf("stat: got %+v, %v; want %d bytes", o, err, largeSize)
	}
	r, err := p.Get(t.Context(), name, 0, -1)
	if err != nil {
		t.Fatalf("get: %v", err)
	}
	defer r.Close()
	if n, err := sameBytes(r, stream(largeSize)); err != nil {
		t.Errorf("get of %d bytes, after %d: %v", largeSize, n, err)
	}
	const from, length = largeSize - 1000, 500
	want, all := make([]byte, length), stream(largeSize)
	_, skip := io.CopyN(io.Discard, all, from)
	if _, err := io.ReadFull(all, want); err != nil || skip != nil {
		t.Fatalf("make the bytes: %v, %v", err, skip)
	}
	if got, err := p.read(t.Context(), name, from, length); err != nil || !bytes.Equal(got, want) {
		t.Errorf("get %d bytes from %d: got %d bytes, %v; want others", length, from, len(got), err)
	}
}

// sameBytes reads both to their ends; n is where they were still the same.
func sameBytes(got, want io.Reader) (n int64, err error) {
	a, b := make([]byte, 256<<10), make([]byte, 256<<10)
	for {
		nw, _ := io.ReadFull(want, b)
		ng, err := io.ReadFull(got, a[:max(nw, 1)]) // a byte too many is seen
		if !bytes.Equal(a[:ng], b[:nw]) {
			return n + int64(difference(a[:ng], b[:nw])), errors.Join(errors.New("the bytes are others, or fewer, or more"), err)
		}
		if n += int64(nw); nw == 0 {
			if err == io.EOF {
				err = nil
			}
			return n, err
		}
		if err != nil {
			return n, err
		}
	}
}

func putReplaces(t T, p place) {
	name := p.name("replaced")
	for _, n := range []int{5000, 10, 0, 7000} {
		p.put(t, name, random(n))
		p.wantBytes(t, name, random(n))
	}
}

var errReader = errors.New("the reader broke")

// breaking gives n bytes and then fails, or does what at says and goes on.
type breaking struct {
	left int
	at   func() error
}

func (r *breaking) Read(b []byte) (int, error) {
	if r.left == 0 {
		return 0, r.at()
	}
	n := min(len(b), r.left)
	clear(b[:n])
	r.left -= n
	return n, nil
}

// breakPoints are how many bytes arrive before something breaks.
func breakPoints() []int { return []int{0, 1, 100_000, 3 << 20} }

func putFailingReader(t T, p place) {
	for _, n := range breakPoints() {
		name := p.name("failing", fmt.Sprint(n))
		_, err := p.Put(t.Context(), name, &breaking{left: n, at: func() error { return errReader }})
		if !errors.Is(err, errReader) {
			t.Errorf("put whose reader fails after %d bytes: got %v, want the reader's error", n, err)
		}
		p.wantNone(t, name)
	}
}

func putFailingReaderKeepsOld(t T, p place) {
	for _, n := range breakPoints() {
		name := p.name("kept", fmt.Sprint(n))
		p.put(t, name, random(1234))
		if _, err := p.Put(t.Context(), name, &breaking{left: n, at: func() error { return errReader }}); err == nil {
			t.Errorf("put whose reader fails after %d bytes: no error", n)
		}
		p.wantBytes(t, name, random(1234))
	}
}

func putCancelled(t T, p place) {
	old, fresh := p.name("cancelled", "old"), p.name("cancelled", "new")
	p.put(t, old, random(1234))
	for _, n := range breakPoints() {
		for _, name := range []string{old, fresh} {
			ctx, cancel := context.WithCancel(t.Context())
			r := &breaking{left: n, at: func() error { cancel(); return ctx.Err() }}
			if _, err := p.Put(ctx, name, r); !errors.Is(err, context.Canceled) {
				t.Errorf("put cancelled after %d bytes: got %v, want context.Canceled", n, err)
			}
			cancel()
		}
		p.wantBytes(t, old, random(1234))
		p.wantNone(t, fresh)
	}
}

// putAppearsAtOnce looks while bytes are on their way.
func putAppearsAtOnce(t T, p place) {
	old, fresh := p.name("whole", "old"), p.name("whole", "new")
	p.put(t, old, random(1234))
	want := make([]byte, 2<<20)
	for _, name := range []string{old, fresh} {
		look := func() error {
			p.wantBytes(t, old, random(1234))
			p.wantNone(t, fresh)
			return io.EOF
		}
		if _, err := p.Put(t.Context(), name, &breaking{left: len(want), at: look}); err != nil {
			t.Fatalf("put %s: %v", name, err)
		}
		p.wantBytes(t, name, want)
		p.put(t, old, random(1234))
	}
}

func putConcurrent(t T, p place) {
	var all sync.WaitGroup
	errs := make([]error, 8)
	for i := range errs {
		all.Go(func() {
			_, errs[i] = p.Put(t.Context(), p.name("many", fmt.Sprint(i)), bytes.NewReader(random(500_000+i)))
		})
	}
	all.Wait()
	for i, err := range errs {
		if err != nil {
			t.Errorf("put %d of %d at the same time: %v", i, len(errs), err)
			continue
		}
		p.wantBytes(t, p.name("many", fmt.Sprint(i)), random(500_000+i))
	}
}

// putSameName: whoever is last, one of the objects is there whole.
func putSameName(t T, p place) {
	var all sync.WaitGroup
	name := p.name("same")
	errs := make([]error, 6)
	for i := range errs {
		all.Go(func() { _, errs[i] = p.Put(t.Context(), name, bytes.NewReader(random(200_000+i))) })
	}
	all.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Errorf("put under one name at the same time: %v", err)
	}
	o, err := p.Stat(t.Context(), name)
	if err != nil || o.Size < 200_000 || o.Size >= 200_000+int64(len(errs)) {
		t.Fatalf("stat: got %+v, %v; want one of the objects put", o, err)
	}
	p.wantBytes(t, name, random(int(o.Size)))
}

func cancelledBefore(t T, p place) {
	name := p.name("before")
	p.put(t, name, random(10))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, putErr := p.Put(ctx, p.name("never"), bytes.NewReader(random(10)))
	_, getErr := p.read(ctx, name, 0, -1)
	_, statErr := p.Stat(ctx, name)
	var listErr error
	for _, listErr = range p.List(ctx, p.base) {
	}
	for what, err := range map[string]error{
		"put": putErr, "get": getErr, "stat": statErr, "list": listErr, "delete": p.Delete(ctx, name),
	} {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%s with a cancelled context: got %v, want context.Canceled", what, err)
		}
	}
	p.wantNone(t, p.name("never"))
	p.wantBytes(t, name, random(10))
}

func free(t T, p place) {
	f, ok := p.Storage.(plug.FreeSpace)
	if !ok {
		return
	}
	if _, err := f.Free(t.Context()); err != nil {
		t.Errorf("free: %v", err)
	}
}
