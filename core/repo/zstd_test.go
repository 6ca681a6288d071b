package repo

import (
	"bytes"
	"encoding/binary"
	mrand "math/rand/v2"
	"testing"

	"github.com/klauspost/compress/zstd"
)

// unpack decodes a frame with a decoder that is not ours.
func unpack(tb testing.TB, frame []byte, size int) []byte {
	tb.Helper()
	d, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1))
	if err != nil {
		tb.Fatal(err)
	}
	defer d.Close()
	out, err := d.DecodeAll(frame, make([]byte, 0, size))
	if err != nil {
		tb.Fatalf("decode: %v", err)
	}
	return out
}

func noise(n int) []byte {
	r := mrand.New(mrand.NewPCG(1, 1))
	var b []byte
	for len(b) < n {
		b = binary.LittleEndian.AppendUint64(b, r.Uint64())
	}
	return b[:n]
}

func TestEncoder(t *testing.T) {
	e := newEncoder()
	for _, tt := range []struct {
		name string
		data []byte
		most float64 // size of the frame, of the data
	}{
		{"one byte", []byte{1}, 20},
		{"few bytes", []byte("some bytes"), 3},
		{"one block", noise(blockSize), 1.001},
		{"one block and a byte", append(noise(blockSize), 1), 1.001},
		{"same", bytes.Repeat([]byte{7}, 1<<20), 0.001},
		{"pages", pages(1 << 20), 0.43},
		{"noise", noise(300_000), 1.001},
		{"pages and noise", append(append(pages(64<<10), noise(300_000)...), pages(256<<10)...), 0.75},
		{"two letters", bytes.Map(func(r rune) rune { return 'a' + r&1 }, noise(100_000)), 0.2},
		{"text", bytes.Repeat([]byte("the quick brown fox jumps over the lazy dog. "), 9000), 0.01},
		{"largest", append(pages(MaxExtent-5), noise(5)...), 0.43},
	} {
		frame := e.append(nil, tt.data)
		if !bytes.Equal(unpack(t, frame, len(tt.data)), tt.data) {
			t.Errorf("%s: unpacked it differs", tt.name)
		}
		if got := float64(len(frame)) / float64(len(tt.data)); got > tt.most {
			t.Errorf("%s: got %.4f of the size, want at most %.4f", tt.name, got, tt.most)
		}
	}
}

// TestEncoderRawBlocks: what a block left in the encoder must not matter after it was
// stored raw, for the decoder has not seen it.
func TestEncoderRawBlocks(t *testing.T) {
	e, r := newEncoder(), mrand.New(mrand.NewPCG(5, 6))
	for i := range 60 {
		data := make([]byte, 3*blockSize)
		for j := range data { // more and more zeros: hardly, then somewhat smaller than itself
			if r.IntN(20_000) >= i {
				data[j] = byte(r.Uint32())
			}
		}
		copy(data[24:24+minMatch+i%6], data[4:]) // worth less than it takes to say
		for j := blockSize + 10; j < blockSize+100; j++ {
			data[j] = data[j-20]
		}
		if !bytes.Equal(unpack(t, e.append(nil, data), len(data)), data) {
			t.Fatalf("round %d: unpacked it differs", i)
		}
	}
}

// FuzzEncoder: whatever is packed is unpacked to the same. The input says how to build
// data that is long and repeats itself.
func FuzzEncoder(f *testing.F) {
	f.Add([]byte("abc"))
	f.Add(noise(100))
	f.Add(bytes.Repeat([]byte{0, 255, 3}, 200))
	e := newEncoder()
	f.Fuzz(func(t *testing.T, plan []byte) {
		data := append([]byte(nil), plan...)
		for i := 0; i+4 <= len(plan) && len(data) < 200_000; i += 4 {
			n := int(binary.LittleEndian.Uint16(plan[i:]))
			switch back := int(plan[i+2])*int(plan[i+3]) + 1; {
			case plan[i+3]&7 == 0:
				data = append(data, noise(n)...)
			case back <= len(data):
				for range n {
					data = append(data, data[len(data)-back])
				}
			}
		}
		if len(data) == 0 {
			return
		}
		if !bytes.Equal(unpack(t, e.append(nil, data), len(data)), data) {
			t.Errorf("unpacked it differs")
		}
	})
}

// TestEncoderDistributions: every distribution is described so that a decoder reads it back; frames
// made of many kinds of sequences show it.
func TestEncoderDistributions(t *testing.T) {
	e, r := newEncoder(), mrand.New(mrand.NewPCG(3, 4))
	for i := range 120 {
		data := noise(40)
		for len(data) < 40_000 {
			back := 1 + r.IntN(min(len(data), 1<<(1+r.IntN(15))))
			for range 4 + r.IntN(1<<(1+r.IntN(2+i%12))) {
				data = append(data, data[len(data)-back])
			}
			for range r.IntN(1 << (1 + r.IntN(1+i%9))) {
				data = append(data, byte(r.IntN(1+i)))
			}
		}
		if !bytes.Equal(unpack(t, e.append(nil, data), len(data)), data) {
			t.Fatalf("round %d: unpacked it differs", i)
		}
	}
}

func BenchmarkEncoder(b *testing.B) {
	data := pages(32 << 20)
	other, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderCRC(false))
	if err != nil {
		b.Fatal(err)
	}
	for _, c := range []struct {
		name   string
		encode func(dst, src []byte) []byte
	}{
		{"own", newEncoder().append},
		{"general", func(dst, src []byte) []byte { return other.EncodeAll(src, dst) }},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.SetBytes(int64(len(data)))
			var buf []byte
			size := 0
			for b.Loop() {
				size = 0
				for at := 0; at < len(data); at += 1 << 20 {
					buf = c.encode(buf[:0], data[at:at+1<<20])
					size += len(buf)
				}
			}
			b.ReportMetric(100*float64(size)/float64(len(data)), "%stored")
		})
	}
}
