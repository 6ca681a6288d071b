package plugtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/remora-backup/remora/core/plug"
)

func getRanges(t T, p place) {
	const size = 700_001
	name, want := p.name("ranges"), random(size)
	p.put(t, name, want)
	for _, r := range [][2]int64{
		{0, 0}, {0, 1}, {0, size}, {0, -1}, {1, 1}, {99, 300_000}, {size - 1, 1}, {size - 1, -1},
		{size / 2, -1}, {size, 0}, {size, -1}, {262_143, 2},
	} {
		end := r[0] + r[1]
		if r[1] < 0 {
			end = size
		}
		got, err := p.read(t.Context(), name, r[0], r[1])
		if err != nil || !bytes.Equal(got, want[r[0]:end]) {
			t.Errorf("get %d bytes from %d: got %d bytes, %v; want bytes %d to %d", r[1], r[0], len(got), err, r[0], end)
		}
	}
}

// getOutOfRange: an error, at Get or at the end of reading, never a short read.
func getOutOfRange(t T, p place) {
	const size = 5000
	name := p.name("short")
	p.put(t, name, random(size))
	for _, r := range [][2]int64{{0, size + 1}, {size, 1}, {size + 1, 0}, {size + 1, -1}, {4000, 1001}, {1 << 31, 1}, {1 << 32, 1}, {1<<32 + 10, -1}, {1 << 40, 1}, {0, 1<<32 + 10}, {1, 1<<63 - 1}, {-1, 1}, {-1, -1}} {
		if got, err := p.read(t.Context(), name, r[0], r[1]); err == nil {
			t.Errorf("get %d bytes from %d of %d: got %d bytes and no error", r[1], r[0], size, len(got))
		}
	}
	p.wantBytes(t, name, random(size))
}

func getClosedEarly(t T, p place) {
	name, want := p.name("early"), random(2<<20)
	p.put(t, name, want)
	for i := range 30 {
		r, err := p.Get(t.Context(), name, 0, -1)
		if err != nil {
			t.Fatalf("get number %d: %v", i, err)
		}
		if _, err := io.ReadFull(r, make([]byte, i)); err != nil {
			t.Errorf("read the first %d bytes: %v", i, err)
		}
		if err := r.Close(); err != nil {
			t.Errorf("close after %d bytes: %v", i, err)
		}
	}
	p.wantBytes(t, name, want)
}

// getCancelled: the rest may still come, but a cut must not look like the end.
func getCancelled(t T, p place) {
	name, want := p.name("cut"), random(4<<20)
	p.put(t, name, want)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	r, err := p.Get(ctx, name, 0, -1)
	if err != nil {
		t.Fatalf("get: %v", err)
	}
	defer r.Close()
	if _, err := io.ReadFull(r, make([]byte, 1000)); err != nil {
		t.Fatalf("read the first bytes: %v", err)
	}
	cancel()
	rest, err := io.ReadAll(r)
	if err == nil && !bytes.Equal(rest, want[1000:]) {
		t.Errorf("cancelled in the middle: got %d more bytes and no error, want an error or all %d", len(rest), len(want)-1000)
	}
}

// getWhileReplaced: a reader gives one object, not a mix of two.
func getWhileReplaced(t T, p place) {
	name, before, after := p.name("moving"), random(3<<20), random(3<<20+1)
	p.put(t, name, before)
	r, err := p.Get(t.Context(), name, 0, -1)
	if err != nil {
		t.Fatalf("get: %v", err)
	}
	defer r.Close()
	head := make([]byte, 1000)
	if _, err := io.ReadFull(r, head); err != nil {
		t.Fatalf("read the first bytes: %v", err)
	}
	p.put(t, name, after)
	rest, err := io.ReadAll(r)
	got := append(head, rest...)
	if err == nil && !bytes.Equal(got, before) && !bytes.Equal(got, after) {
		t.Errorf("replaced while it was read: got %d bytes that are neither object", len(got))
	}
	p.wantBytes(t, name, after)
}

func notExist(t T, p place) {
	p.wantNone(t, p.name("nothing"))
	p.wantNone(t, p.name("nothing", "below", "nothing"))
	p.put(t, p.name("dir", "object"), random(10))
	p.wantNone(t, p.name("dir"))
	p.wantNone(t, p.name("dir", "object.x"))
	p.wantNone(t, p.name("dir", "obj"))
	p.wantNone(t, p.name("dir", "object", "below"))
}

func listOrder(t T, p place) {
	all := []string{"l/a-b", "l/a.b", "l/a/b", "l/a/c/d", "l/a0", "l/aB", "l/ab", "l/b", "l/Z", "l/_"}
	for i, n := range all {
		p.put(t, p.name(n), random(i))
	}
	slices.Sort(all)
	for _, prefix := range []string{"l/", "l/a", "l/a/", "l/a/c", "l/a.", "l/ab", "l/abc", "l/a/c/d/", "nothing"} {
		var want []string
		for _, n := range all {
			if strings.HasPrefix(n, prefix) {
				want = append(want, p.name(n))
			}
		}
		var got []string
		for _, o := range p.list(t, p.name(prefix)) {
			got = append(got, o.Name)
		}
		if !slices.Equal(got, want) {
			t.Errorf("list %q: got %v, want %v", prefix, got, want)
		}
	}
	for _, prefix := range []string{"..", "../", "/", "/etc/", p.base + "../", "./"} {
		if got := p.list(t, prefix); len(got) > 0 {
			t.Errorf("list %q: got %v, want nothing", prefix, got)
		}
	}
	everything := p.list(t, "")
	if !slices.ContainsFunc(everything, func(o plug.Object) bool { return o.Name == p.name("l/ab") }) {
		t.Errorf("list of everything lacks an object")
	}
}

func listEndsEarly(t T, p place) {
	for i := range 30 {
		p.put(t, p.name("stop", fmt.Sprintf("%02d", i)), random(i))
	}
	for range 10 {
		for o, err := range p.List(t.Context(), p.name("stop", "")) {
			if err != nil || o.Name != p.name("stop", "00") {
				t.Fatalf("first of the list: got %+v, %v", o, err)
			}
			break
		}
	}
	if got := len(p.list(t, p.name("stop", ""))); got != 30 {
		t.Errorf("list after ending some early: got %d objects, want 30", got)
	}
}

// listMany: a list that comes in parts, as from most services, has to be asked for all.
func listMany(t T, p place) {
	const many = 1100
	var names []string
	for i := range many {
		names = append(names, p.name("listed", fmt.Sprintf("%04d", i)))
	}
	each(names, func(name string) {
		if _, err := p.Put(t.Context(), name, strings.NewReader("x")); err != nil {
			t.Errorf("put %s: %v", name, err)
		}
	})
	got := p.list(t, p.name("listed", ""))
	for i := range min(len(got), many) {
		if got[i] != (plug.Object{Name: names[i], Size: 1}) {
			t.Fatalf("list of %d objects: number %d is %+v, want %s", many, i, got[i], names[i])
		}
	}
	if len(got) != many {
		t.Errorf("list of %d objects: got %d", many, len(got))
	}
}

func deleteIdempotent(t T, p place) {
	for _, n := range []string{"del/a", "del/ab", "del/b/c"} {
		p.put(t, p.name(n), random(100))
	}
	for range 2 {
		for _, n := range []string{"del/a", "del/never", "del/b", "del/b/c/d", "del/never/never"} {
			if err := p.Delete(t.Context(), p.name(n)); err != nil {
				t.Errorf("delete %s: %v", n, err)
			}
		}
	}
	p.wantNone(t, p.name("del/a"))
	p.wantBytes(t, p.name("del/ab"), random(100))
	p.wantBytes(t, p.name("del/b/c"), random(100))
	if err := p.Delete(t.Context(), p.name("del/b/c")); err != nil {
		t.Errorf("delete: %v", err)
	}
	p.wantNone(t, p.name("del/b/c"))
	p.put(t, p.name("del/b/c"), random(50))
	p.wantBytes(t, p.name("del/b/c"), random(50))
}

func namesHostile(t T, p place) {
	for _, name := range []string{
		"", ".", "..", "/", "/etc/passwd", "../x", "a/../b", "a/./b", "a//b", "a/", "/a", "a b", "a\nb", "a\x00b",
		"ä", "a\\b", "a:b", "a+b", "~", "*", strings.Repeat("a", 513),
	} {
		_, putErr := p.Put(t.Context(), name, strings.NewReader("x"))
		_, getErr := p.read(t.Context(), name, 0, -1)
		_, statErr := p.Stat(t.Context(), name)
		for what, err := range map[string]error{
			"put": putErr, "get": getErr, "stat": statErr, "delete": p.Delete(t.Context(), name),
		} {
			if !errors.Is(err, plug.ErrInvalid) {
				t.Errorf("%s %q: got %v, want ErrInvalid", what, name, err)
			}
		}
	}
}

func namesOdd(t T, p place) {
	long := p.base + strings.Repeat(strings.Repeat("x", 60)+"/", 7)
	for _, name := range []string{
		p.name("..."), p.name(".hidden"), p.name("-rf"), p.name("a..b"), p.name("_"), p.name("CON"), p.name("tmp"),
		p.name("a.tmp"), p.name(strings.Repeat("n", 200)), long + strings.Repeat("y", 512-len(long)),
	} {
		p.put(t, name, random(20))
		p.wantBytes(t, name, random(20))
	}
}
