package repo

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	mrand "math/rand/v2"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/remora-backup/remora/core/code"
	"github.com/remora-backup/remora/core/plug"
	"github.com/remora-backup/remora/core/plug/plugtest"
	"github.com/remora-backup/remora/core/syncpoint"
)

var errFault = errors.New("the disk is on fire")

// faults are ways in which a storage fails, with the code that a backup must end with.
var faults = []struct {
	name string
	err  error
	want code.Code
}{
	{"error", errFault, code.Storage},
	{"no space", fmt.Errorf("write: %w", plug.ErrNoSpace), code.NoSpace},
	{"plugin died", code.New(code.Plugin, "gone"), code.Plugin},
}

var faultOptions = Options{PackSize: 300, segment: 300}

// TestEveryCallFails lets each call of a backup fail once: the backup fails with it, is
// not listed, and leaves nothing after Abort.
func TestEveryCallFails(t *testing.T) {
	src := makeSource(9, 6, 6000)
	var calls atomic.Int64
	count := new(plugtest.Memory)
	count.Hook = func(context.Context, string, string, io.Reader) error { calls.Add(1); return nil }
	mustBackup(t, count, src, faultOptions, 400)
	total := calls.Load()
	if total < 60 {
		t.Fatalf("a backup made %d calls, too few to be worth it", total)
	}
	for _, fault := range faults {
		for n := int64(1); n <= total; n++ {
			m, at := new(plugtest.Memory), new(atomic.Int64)
			m.Hook = func(context.Context, string, string, io.Reader) error {
				if at.Add(1) == n {
					return fault.err
				}
				return nil
			}
			_, b, err := backup(t.Context(), m, src, faultOptions, 400)
			if err == nil && at.Load() < n {
				continue // fewer calls this time
			}
			if code.Of(err) != fault.want {
				t.Fatalf("%s at call %d: got %v, want code %d", fault.name, n, err, fault.want)
			}
			if b != nil {
				abortClean(t, m, b)
			}
		}
	}
}

// TestPutEndsEarly: the storage stops reading after some bytes, with an error or without.
func TestPutEndsEarly(t *testing.T) {
	large, little := source{"f": noise(15 << 20)}, makeSource(9, 4, 3000)
	for _, after := range []int64{0, 1<<20 + 1} {
		for _, kind := range []string{"pack-000001", "pack-000003", "files", "index-000001", "manifest.json"} {
			src := little
			if strings.HasPrefix(kind, "pack") {
				src = large // more than the buffers of a stream
			}
			for _, silent := range []bool{false, true} {
				m := new(plugtest.Memory)
				m.Hook = func(_ context.Context, op, name string, r io.Reader) error {
					if op != "put" || !strings.HasSuffix(name, kind) {
						return nil
					}
					if _, err := io.CopyN(io.Discard, r, after); err != nil && err != io.EOF {
						return err
					}
					if silent {
						return nil // the rest is taken for the whole
					}
					return errFault
				}
				_, b, err := backup(t.Context(), m, src, Options{Compression: None, PackSize: 64 << 20}, len(src["f"])/15+100)
				if after == 0 && silent {
					if err != nil {
						t.Errorf("nothing taken away: %v", err)
					}
					continue
				}
				if code.Of(err) != code.Storage {
					t.Errorf("%s after %d, silent %v: got %v, want code %d", kind, after, silent, err, code.Storage)
				}
				abortClean(t, m, b)
			}
		}
	}
}

// TestCancelWhilePutHangs: a storage that takes nothing holds the writer, and the
// interruption ends both.
func TestCancelWhilePutHangs(t *testing.T) {
	for _, kind := range []string{"pack-", "index-", "files", "manifest.json"} {
		ctx, cancel := context.WithCancelCause(t.Context())
		reason := errors.New("interrupted")
		m := new(plugtest.Memory)
		m.Hook = func(ctx context.Context, op, name string, _ io.Reader) error {
			if op == "put" && strings.Contains(name, kind) {
				cancel(reason)
				<-ctx.Done()
				return ctx.Err()
			}
			return nil
		}
		_, b, err := backup(ctx, m, makeSource(9, 4, 3<<20), Options{Compression: None, segment: 100}, 1<<18)
		if !errors.Is(err, reason) || code.Of(err) != code.Unclassified {
			t.Errorf("%s: got %v (code %d), want the reason without a code", kind, err, code.Of(err))
		}
		abortClean(t, m, b)
		cancel(nil)
	}
}

// points fails at one point.
type points struct {
	at   syncpoint.Point
	seen atomic.Int64
}

func (p *points) At(_ context.Context, at syncpoint.Point) error {
	if at != p.at {
		return nil
	}
	p.seen.Add(1)
	return errFault
}

func TestSyncPoints(t *testing.T) {
	for _, at := range []syncpoint.Point{syncpoint.StorePackPut, syncpoint.StoreIndex, syncpoint.StoreManifest} {
		m, p := new(plugtest.Memory), &points{at: at}
		_, b, err := backup(syncpoint.With(t.Context(), p), m, makeSource(9, 4, 3000), Options{}, 500)
		if !errors.Is(err, errFault) {
			t.Errorf("%s: got %v, want %v", at, err, errFault)
		}
		abortClean(t, m, b)
	}
	m, p := new(plugtest.Memory), &points{at: syncpoint.StoreDone}
	man, b, err := backup(syncpoint.With(t.Context(), p), m, makeSource(9, 4, 3000), Options{}, 500)
	if err != nil || p.seen.Load() != 1 {
		t.Fatalf("%s: got %v after %d calls; a backup that is there cannot fail any more", p.at, err, p.seen.Load())
	}
	if left, err := b.Abort(t.Context()); err != nil || left != nil {
		t.Errorf("abort after seal: got %v, %v", left, err)
	}
	if err := verify(t.Context(), m, man.ID); err != nil {
		t.Errorf("after abort of a sealed backup: %v", err)
	}
	r, err := Open(t.Context(), m)
	if err != nil {
		t.Fatal(err)
	}
	rd, err := r.OpenBackup(t.Context(), man.ID)
	if err != nil {
		t.Fatal(err)
	}
	p.at = syncpoint.FetchPack
	if err := rd.Verify(syncpoint.With(t.Context(), p), 2); !errors.Is(err, errFault) {
		t.Errorf("%s: got %v, want %v", p.at, err, errFault)
	}
}

func TestAbortTellsLeftovers(t *testing.T) {
	for _, stuck := range []string{"pack-000001", "manifest.json"} {
		m := new(plugtest.Memory)
		failed := false
		m.Hook = func(_ context.Context, op, name string, _ io.Reader) error {
			switch {
			case op == "answer" && strings.HasSuffix(name, "manifest.json"):
				failed = true
				return errFault
			case op == "delete" && strings.HasSuffix(name, stuck) && failed:
				return errFault
			}
			return nil
		}
		man, b, err := backup(t.Context(), m, makeSource(9, 4, 3000), Options{}, 500)
		if !errors.Is(err, errFault) {
			t.Fatalf("got %v, want %v", err, errFault)
		}
		left, err := b.Abort(t.Context())
		if !errors.Is(err, errFault) {
			t.Errorf("%s: got %v, want %v", stuck, err, errFault)
		}
		for name := range m.All() {
			if name == configName {
				continue
			}
			if len(left) == 0 || left[0] != name {
				t.Errorf("%s: %s is left over, told was %v", stuck, name, left)
				break
			}
			left = left[1:]
		}
		// If the manifest stays, the backup is whole: it is better listed than broken.
		m.Hook = nil
		err = verify(t.Context(), m, b.id)
		if stuck == "manifest.json" && err != nil {
			t.Errorf("the manifest stayed, but: %v", err)
		}
		if stuck != "manifest.json" && code.Of(err) != code.Usage {
			t.Errorf("got %v, want no backup %s", err, man.ID)
		}
	}
}

// TestLeftoversMayBeThere: of a storage that is gone only what was begun to be put is told;
// of one that still lists, only what it lists.
func TestLeftoversMayBeThere(t *testing.T) {
	for _, c := range []struct {
		name       string
		fails      string // the put of it, and every delete after that
		lists      bool
		want, none []string
	}{
		{"gone before the first pack", "pack-000001", false, []string{"pack-000001"}, []string{"files", "manifest.json", "index-000001"}},
		{"gone before the index", "index-000001", false, []string{"pack-000001", "files", "index-000001"}, []string{"manifest.json"}},
		{"gone before the manifest", "manifest.json", false, []string{"pack-000001", "files", "index-000001", "manifest.json"}, nil},
		{"read only from the index on", "index-000001", true, []string{"pack-000001", "files"}, []string{"index-000001", "manifest.json"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			m, broken := new(plugtest.Memory), new(atomic.Bool)
			m.Hook = func(_ context.Context, op, name string, _ io.Reader) error {
				if op == "put" && strings.HasSuffix(name, c.fails) {
					broken.Store(true)
				}
				if broken.Load() && (op != "list" || !c.lists) {
					return errFault
				}
				return nil
			}
			_, b, err := backup(t.Context(), m, makeSource(9, 4, 3000), Options{}, 500)
			if !errors.Is(err, errFault) {
				t.Fatalf("got %v, want %v", err, errFault)
			}
			left, err := b.Abort(t.Context())
			if !errors.Is(err, errFault) {
				t.Errorf("abort: got %v, want %v", err, errFault)
			}
			for _, name := range c.want {
				if !slices.Contains(left, dirName(b.id)+name) {
					t.Errorf("got %v, want %s in it", left, name)
				}
			}
			for _, name := range c.none {
				if slices.Contains(left, dirName(b.id)+name) {
					t.Errorf("got %v, want no %s, which was never there", left, name)
				}
			}
		})
	}
}

// TestReadFaults lets each call of a restore fail once.
func TestReadFaults(t *testing.T) {
	good := new(plugtest.Memory)
	src := makeSource(9, 4, 3000)
	man := mustBackup(t, good, src, faultOptions, 400)
	for _, fault := range faults[:1] {
		for n := int64(1); ; n++ {
			m, at := good.Clone(), new(atomic.Int64)
			m.Hook = func(context.Context, string, string, io.Reader) error {
				if at.Add(1) == n {
					return fault.err
				}
				return nil
			}
			got, err := restore(t.Context(), m, man.ID)
			if at.Load() < n {
				same(t, got, src)
				break
			}
			if code.Of(err) != fault.want {
				t.Fatalf("call %d: got %v, want code %d", n, err, fault.want)
			}
		}
	}
}

// TestAbortWaitsForPuts: a put that ends late must not bring an object after the abort.
func TestAbortWaitsForPuts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		m := new(plugtest.Memory)
		m.Hook = func(ctx context.Context, op, name string, _ io.Reader) error {
			if op == "commit" && strings.HasSuffix(name, "pack-000001") {
				cancel()
				time.Sleep(time.Second)
			}
			return nil
		}
		_, b, err := backup(ctx, m, makeSource(9, 4, 3000), Options{}, 500)
		if !errors.Is(err, context.Canceled) {
			t.Fatalf("got %v, want %v", err, context.Canceled)
		}
		left, err := b.Abort(t.Context())
		if err != nil || len(left) > 0 {
			t.Errorf("abort: got %v, %v", left, err)
		}
		time.Sleep(2 * time.Second)
		for name := range m.All() {
			if name != configName {
				t.Errorf("%s is there after the abort", name)
			}
		}
	})
}

// noise is data that does not compress.
func noise(n int) []byte {
	r := mrand.New(mrand.NewPCG(1, 1))
	var b []byte
	for len(b) < n {
		b = binary.LittleEndian.AppendUint64(b, r.Uint64())
	}
	return b[:n]
}

func TestDiscard(t *testing.T) {
	m := new(plugtest.Memory)
	man, _, err := backup(t.Context(), m, makeSource(9, 4, 3000), Options{}, 500)
	if err != nil {
		t.Fatal(err)
	}
	r, err := Open(t.Context(), m)
	if err != nil {
		t.Fatal(err)
	}
	if n, whole, err := r.Discard(t.Context(), man.ID, true); n != 0 || !whole || err != nil {
		t.Errorf("of a whole backup: got %d, %v, %v; want that it stays", n, whole, err)
	}
	if err := verify(t.Context(), m, man.ID); err != nil {
		t.Errorf("after that: %v", err)
	}
	if n, whole, err := r.Discard(t.Context(), man.ID, false); n == 0 || whole || err != nil {
		t.Errorf("of the remains: got %d, %v, %v; want them removed", n, whole, err)
	}
	if all, err := r.ids(t.Context()); err != nil || len(all) != 0 {
		t.Errorf("left are %v, %v", all, err)
	}
	if _, _, err := r.Discard(t.Context(), "../x", true); err == nil {
		t.Error("of something that is no id: got no error")
	}
}

// An object that was acknowledged and then lost is missed before the manifest is put.
func TestForgottenObjectC7(t *testing.T) {
	for _, kind := range []string{"pack-000001", "pack-000002", "files", "index-000001"} {
		m, lost := new(plugtest.Memory), false
		m.Hook = func(_ context.Context, op, name string, _ io.Reader) error {
			if op == "stat" && strings.HasSuffix(name, kind) {
				lost = m.Bytes(name) != nil
				m.Remove(name)
			}
			return nil
		}
		_, b, err := backup(t.Context(), m, makeSource(9, 4, 3000), faultOptions, 400)
		if !lost || code.Of(err) != code.Integrity {
			t.Errorf("%s forgotten (%v): got %v, want code %d", kind, lost, err, code.Integrity)
		}
		m.Hook = nil
		abortClean(t, m, b)
	}
}

// liar sends a wrong byte in the middle of what is asked of a pack, some times.
type liar struct {
	*plugtest.Memory
	lies *atomic.Int64
}

func (l liar) Get(ctx context.Context, name string, offset, length int64) (io.ReadCloser, error) {
	r, err := l.Memory.Get(ctx, name, offset, length)
	if err != nil || !strings.Contains(name, "/pack-") || l.lies.Add(-1) < 0 {
		return r, err
	}
	b, err := io.ReadAll(r)
	if len(b) > 0 {
		b[len(b)/2] ^= 1
	}
	return io.NopCloser(bytes.NewReader(b)), err
}

// TestReadAgainC4: bytes that are wrong once are read again if that is wanted, and each extent
// is handed over once.
func TestReadAgainC4(t *testing.T) {
	m := new(plugtest.Memory)
	man := mustBackup(t, m, makeSource(3, 4, 9000), Options{PackSize: 1 << 20}, 700)
	for _, c := range []struct {
		lies   int64
		again  bool
		ok     bool
		reread int64
	}{{0, true, true, 0}, {1, true, true, 1}, {1, false, false, 0}, {2, true, false, 0}} {
		lies := new(atomic.Int64)
		lies.Store(c.lies)
		r, err := Open(t.Context(), liar{m, lies})
		if err != nil {
			t.Fatal(err)
		}
		b, err := r.OpenBackup(t.Context(), man.ID)
		if err != nil {
			t.Fatal(err)
		}
		var reread, plain atomic.Int64
		opt := FetchOptions{Parallel: 1}
		if c.again {
			opt.Again = func(error) { reread.Add(1) }
		}
		err = b.Fetch(t.Context(), opt, func(_ context.Context, _ File, e Extent, _ []byte) error {
			plain.Add(int64(e.Length))
			return nil
		})
		if (err == nil) != c.ok || err != nil && code.Of(err) != code.Integrity || reread.Load() != c.reread {
			t.Errorf("%+v: got %v, read again %d times", c, err, reread.Load())
		}
		if c.ok && plain.Load() != man.Totals.Plain {
			t.Errorf("%+v: %d bytes were handed over, want %d", c, plain.Load(), man.Totals.Plain)
		}
	}
}
