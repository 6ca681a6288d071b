package repo

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"io"
	mrand "math/rand/v2"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/remora-backup/remora/core/plug"
	"github.com/remora-backup/remora/core/plug/plugtest"
)

// pages returns n bytes that compress as a sysbench table does: pages of 16 KiB, 15/16
// full, rows of an id, a number, and two texts of random digits in groups of eleven.
func pages(n int) []byte {
	const size = 16 << 10
	r := mrand.New(mrand.NewPCG(1, 2))
	digits := func(b []byte, groups int) []byte {
		for i := range groups {
			if i > 0 {
				b = append(b, '-')
			}
			b = fmt.Appendf(b, "%011d", r.Uint64N(100_000_000_000))
		}
		return b
	}
	be := binary.BigEndian
	out := make([]byte, 0, n)
	id := uint32(1)
	for no := range n / size {
		p := make([]byte, 0, size)
		p = be.AppendUint32(p, r.Uint32())
		p = be.AppendUint32(p, uint32(no))
		p = be.AppendUint32(p, uint32(no-1))
		p = be.AppendUint32(p, uint32(no+1))
		p = be.AppendUint64(p, 1<<33+uint64(r.Uint32()))
		p = append(p, make([]byte, 96)...)
		for len(p) < size*15/16-220 {
			p = append(p, 119, 59, 0, 0, byte(id))
			p = append(p, 0, 0, 0, 200)
			p = be.AppendUint32(p, id|1<<31)
			p = append(p, 0, 0, 0, 0, 7, 12, 0x82, 0, 0, byte(no>>8), byte(no), 1, 0x10)
			p = be.AppendUint32(p, r.Uint32N(1_000_000)|1<<31)
			p = digits(p, 10)
			p = digits(p, 5)
			p = append(p, ' ')
			id++
		}
		out = append(out, append(p, make([]byte, size-len(p))...)...)
	}
	return out
}

// drain is a storage that forgets.
type drain struct{ plug.Storage }

func (drain) Put(_ context.Context, name string, r io.Reader) (plug.Object, error) {
	n, err := io.Copy(io.Discard, r)
	return plug.Object{Name: name, Size: n}, err
}

func BenchmarkPack(b *testing.B) {
	data := pages(64 << 20)
	for _, c := range []Compression{None, Zstd} {
		for _, parallel := range []int{1, 2} {
			b.Run(fmt.Sprintf("%s-%d", c, parallel), func(b *testing.B) {
				b.SetBytes(int64(len(data)))
				for b.Loop() {
					benchPack(b, data, c, parallel)
				}
			})
		}
	}
}

func benchPack(b *testing.B, data []byte, c Compression, parallel int) {
	m := new(plugtest.Memory)
	r, err := Open(b.Context(), m)
	if err != nil {
		b.Fatal(err)
	}
	id, _ := NewID(time.Now(), rand.Reader)
	w, err := r.NewBackup(b.Context(), id, Options{Compression: c})
	if err != nil {
		b.Fatal(err)
	}
	r.storage = drain{m}
	f := w.NewFile()
	var wg sync.WaitGroup
	for i := range parallel {
		p, err := w.Packer()
		if err != nil {
			b.Fatal(err)
		}
		wg.Go(func() {
			for at := i << 20; at < len(data); at += parallel << 20 {
				if err := p.Extent(b.Context(), Extent{File: f, Offset: int64(at)}, data[at:at+1<<20]); err != nil {
					b.Error(err)
				}
			}
			if err := p.Flush(b.Context()); err != nil {
				b.Error(err)
			}
		})
	}
	wg.Wait()
	var stored, plain int64
	for _, c := range w.copies {
		stored += c.stored
		plain += c.plain
	}
	b.ReportMetric(100*float64(stored)/float64(plain), "%stored")
}

func BenchmarkFetch(b *testing.B) {
	data := pages(64 << 20)
	for _, c := range []Compression{None, Zstd} {
		m := new(plugtest.Memory)
		man, _, err := backup(b.Context(), m, source{"f": data}, Options{Compression: c, PackSize: 8 << 20}, 1<<20)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(string(c), func(b *testing.B) {
			b.SetBytes(int64(len(data)))
			for b.Loop() {
				if err := verify(b.Context(), m, man.ID); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// indexHeap writes and checks an index of so many extents of 1 MiB and returns the most
// memory that was in use, without what the storage keeps.
func indexHeap(tb testing.TB, extents int64) uint64 {
	m := new(plugtest.Memory)
	r, err := Open(tb.Context(), m)
	if err != nil {
		tb.Fatal(err)
	}
	w, err := r.NewBackup(tb.Context(), "20261120T221500Z-7f3a", Options{})
	if err != nil {
		tb.Fatal(err)
	}
	f := w.NewFile()
	if err := w.Keep(File{ID: f, Kind: KindOther, Path: "f", Size: extents << 20}); err != nil {
		tb.Fatal(err)
	}
	p, err := w.Packer()
	if err != nil {
		tb.Fatal(err)
	}
	base := heap(m)
	var peak uint64
	m.Hook = func(_ context.Context, op, _ string, _ io.Reader) error {
		if op == "put" || op == "get" {
			peak = max(peak, heap(m))
		}
		return nil
	}
	for i := range extents {
		// What Extent does but for the data.
		en := zeros(f, i<<20, 1<<20)
		p.entries = en.append(p.entries)
		p.count++
		if err := w.count(&en); err != nil {
			tb.Fatal(err)
		}
		if p.count == 400 {
			if err := p.cut(tb.Context()); err != nil {
				tb.Fatal(err)
			}
		}
	}
	if _, err := w.Seal(tb.Context(), Manifest{}); err != nil {
		tb.Fatal(err)
	}
	rd, err := r.OpenBackup(tb.Context(), w.id)
	if err != nil {
		tb.Fatal(err)
	}
	if err := rd.Check(tb.Context()); err != nil {
		tb.Fatal(err)
	}
	return peak - min(base, peak)
}

// heap is the live memory in bytes without the objects of m.
func heap(m *plugtest.Memory) uint64 {
	runtime.GC()
	var s runtime.MemStats
	runtime.ReadMemStats(&s)
	var kept uint64
	for _, b := range m.All() {
		kept += uint64(cap(b))
	}
	return s.HeapAlloc - min(kept, s.HeapAlloc)
}

// TestIndexMemory: ten times the extents, the same memory.
func TestIndexMemory(t *testing.T) {
	small, large := indexHeap(t, 30_000), indexHeap(t, 300_000)
	if limit := uint64(4 * segmentSize); small > limit || large > limit {
		t.Errorf("got %d bytes for 30 thousand extents, %d for 300 thousand; want at most %d", small, large, limit)
	}
}

func BenchmarkIndex(b *testing.B) {
	for b.Loop() {
		b.ReportMetric(float64(indexHeap(b, 1<<20))/(1<<20), "MiB-heap")
	}
}
