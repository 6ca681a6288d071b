package page

import (
	"bufio"
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash/adler32"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
)

// golden is one page of testdata/pages.txt.
type golden struct {
	name   string
	size   Size
	number uint32
	want   string
	bytes  []byte
}

func goldens(t testing.TB) []golden {
	t.Helper()
	f, err := os.Open("testdata/pages.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var all []golden
	for s := bufio.NewScanner(f); s.Scan(); {
		line := s.Text()
		switch {
		case line == "" || line[0] == '#':
		case strings.HasPrefix(line, "page "):
			var g golden
			var format string
			if _, err := fmt.Sscan(line[5:], &g.name, &g.size.Logical, &g.size.Physical, &format, &g.number, &g.want); err != nil {
				t.Fatal(err)
			}
			g.size.Zip = format == "zip"
			g.bytes = make([]byte, g.size.Physical)
			all = append(all, g)
		default:
			var at int
			var text string
			if _, err := fmt.Sscanf(line, "%x %s", &at, &text); err != nil {
				t.Fatal(err)
			}
			b, err := hex.DecodeString(text)
			if err != nil {
				t.Fatal(err)
			}
			copy(all[len(all)-1].bytes[at:], b)
		}
	}
	return all
}

func verifier(t testing.TB, size Size) *Verifier {
	t.Helper()
	v, err := NewVerifier(size)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestVerifyGolden(t *testing.T) {
	for _, g := range goldens(t) {
		v := verifier(t, g.size)
		if got := v.Verify(g.bytes, g.number).String(); got != g.want {
			t.Errorf("%s: verify: %s, want %s", g.name, got, g.want)
		}
		if got := v.Verify(g.bytes, g.number+1); got != BadNumber {
			t.Errorf("%s: verify as page %d: %s, want %s", g.name, g.number+1, got, BadNumber)
		}
		if got := v.Verify(g.bytes[1:], g.number); !got.Corrupt() {
			t.Errorf("%s: verify without its first byte: %s, want it corrupt", g.name, got)
		}
	}
}

// TestVerifyFlips changes single bytes of every golden page: each at both ends,
// some hundreds in between. What goes unnoticed must be what Verify's comment
// says, and nothing more.
func TestVerifyFlips(t *testing.T) {
	for _, g := range goldens(t) {
		v := verifier(t, g.size)
		for i := range g.bytes {
			if i > 100 && i < len(g.bytes)-100 && rand.IntN(len(g.bytes)) > 200 {
				continue
			}
			g.bytes[i] ^= 0x41
			noticed := v.Verify(g.bytes, g.number).Corrupt()
			g.bytes[i] ^= 0x41
			if want := covered(g, i); noticed != want {
				t.Fatalf("%s: byte %d changed: noticed %v, want %v", g.name, i, noticed, want)
			}
		}
	}
}

// covered reports whether a change of byte i must be noticed.
func covered(g golden, i int) bool {
	h, _ := ParseHeader(g.bytes)
	end := len(g.bytes) - TrailerSize
	number := i >= offNumber && i < offPrev
	switch {
	case h.Type.Encrypted():
		// 0x41 in the original type makes an unknown one; in the type, that of
		// a page that fails its checksum.
		return number || i == offType || i == offType+1 || i == offOriginalType || i == offOriginalType+1
	case strings.HasPrefix(g.name, "none") && g.size.Zip:
		return number || i < offNumber
	case strings.HasPrefix(g.name, "none"):
		return number || i < offNumber || i >= offLSN+4 && i < offType || i >= end
	case g.size.Zip && i >= offLSN && i < offType:
		return false
	case h.Type == TypeCompressed:
		// The facts about compression are used, and so checked, all of them;
		// of the version two values are good, 0x41 makes neither.
		return i < offSpace || i >= offData && i < offData+h.PackedSize
	case i >= offFlush && i < offSpace:
		return false
	case !g.size.Zip && i >= offSpace && i < offData:
		return false // the space id
	}
	return true
}

func TestVerifyZero(t *testing.T) {
	for _, size := range []Size{Plain(4096), Plain(65536), Zip(16384, 1024)} {
		v, p := verifier(t, size), make([]byte, size.Physical)
		if got := v.Verify(p, 7); got != Zero || got.Err() != nil {
			t.Errorf("%s of zeros: %s, %v, want %s, no error", size, got, got.Err(), Zero)
		}
		for _, i := range []int{0, 4, 23, 24, 38, size.Physical - 9, size.Physical - 1} {
			p[i] = 1
			if got := v.Verify(p, 7); !got.Corrupt() {
				t.Errorf("%s of zeros with a 1 at %d: %s, want it corrupt", size, i, got)
			}
			p[i] = 0
		}
	}
}

// IMPORT TABLESPACE leaves free pages of compressed and encrypted tables like
// these: the packed one has zeros in a zlib stream, no number and no checksum.
func TestVerifyImportedFreePages(t *testing.T) {
	packed := make([]byte, 16384)
	copy(packed[offType:], []byte{0, 14, 2, byte(Zlib), 0, 0})
	stream := deflate(t, make([]byte, len(packed)-HeaderSize))
	binary.BigEndian.PutUint16(packed[offOriginalSize:], uint16(len(packed)-HeaderSize))
	binary.BigEndian.PutUint16(packed[offPackedSize:], uint16(len(stream)))
	copy(packed[HeaderSize:], stream)
	sealed := bytes.Clone(packed)
	sealed[offType+1] = byte(TypeCompressedEncrypted)
	plain := make([]byte, 16384)
	for i := HeaderSize; i < len(plain); i++ {
		plain[i] = byte(rand.Uint32())
	}
	plain[offType+1] = byte(TypeEncrypted)
	v := verifier(t, Plain(16384))
	for _, c := range []struct {
		name string
		page []byte
		want Outcome
		// bytes of which none may change
		covered int
	}{
		{"packed", packed, Zero, HeaderSize + len(stream)},
		{"packed and encrypted", sealed, Unverifiable, 0},
		{"encrypted", plain, Unverifiable, 0},
	} {
		if got := v.Verify(c.page, 37); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
		for i := range c.page {
			header := i < offType || i >= offOriginalType && i < offOriginalSize || i >= offSpace && i < offData
			if i >= offType && i < offFlush || !header && i >= c.covered {
				continue
			}
			for _, by := range []byte{1, 0x41} { // 1 makes another type of zero
				c.page[i] ^= by
				if got := v.Verify(c.page, 37); !got.Corrupt() {
					t.Errorf("%s: byte %d changed by %#x: %s, want it corrupt", c.name, i, by, got)
				}
				c.page[i] ^= by
			}
		}
	}
	if got := v.Verify(packed, 0); got != Zero {
		t.Errorf("packed zeros as page 0: %s, want %s", got, Zero)
	}
}

func deflate(t *testing.T, b []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w := zlib.NewWriter(&out)
	if _, err := w.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// TestVerifySealed: a spatial index's page keeps a number of its own where
// other encrypted pages say what they were.
func TestVerifySealed(t *testing.T) {
	p := make([]byte, 4096)
	p[offNumber+3] = 9
	for i := range p[offFlush:offSpace] {
		p[offFlush+i] = 0x7f
	}
	v := verifier(t, Plain(len(p)))
	for typ, want := range map[Type]Outcome{TypeEncryptedRTree: Unverifiable, TypeEncrypted: BadType} {
		p[offType+1] = byte(typ)
		if got := v.Verify(p, 9); got != want {
			t.Errorf("verify %s: %s, want %s", typ, got, want)
		}
	}
}

// TestAdler compares with the standard library's, which begins at 1.
func TestAdler(t *testing.T) {
	b := bytes.Repeat([]byte{0xff}, 64<<10)
	for n := 0; n <= len(b); n += 4096 {
		want := adler32.Checksum(b[:n])
		if got := adler(adler(1, b[:n/3]), b[n/3:n]); got != want {
			t.Errorf("adler of %d bytes: %08x, want %08x", n, got, want)
		}
	}
}

func TestSizeCheck(t *testing.T) {
	for _, s := range []Size{{}, Plain(1024), Plain(5000), Plain(128 << 10), Zip(32<<10, 8<<10), Zip(16<<10, 512),
		Zip(8<<10, 16<<10), {Logical: 16384, Physical: 8192}} {
		if _, err := NewVerifier(s); err == nil {
			t.Errorf("new verifier for %s: no error", s)
		}
	}
}

func TestInDoublewrite(t *testing.T) {
	for _, c := range []struct{ size, first, last uint32 }{{4096, 256, 767}, {16384, 64, 191}, {32768, 64, 191}, {65536, 64, 191}} {
		s := Plain(int(c.size))
		for n := range uint32(1000) {
			if got, want := s.InDoublewrite(n), n >= c.first && n <= c.last; got != want {
				t.Errorf("%s: page %d in doublewrite: %v, want %v", s, n, got, want)
			}
		}
	}
}

func TestVerifyExtent(t *testing.T) {
	var g golden
	for _, g = range goldens(t) {
		if g.name == "crc32-index" {
			break
		}
	}
	v := verifier(t, g.size)
	b := make([]byte, 3*g.size.Physical+100)
	copy(b[g.size.Physical:], g.bytes)
	got := v.VerifyExtent(b, g.number-1, nil)
	want := Extent{Pages: 3, MaxLSN: LSN(g.bytes), Zero: 2, Bad: -1}
	if got != want {
		t.Errorf("verify extent: %+v, want %+v", got, want)
	}
	b[2*g.size.Physical-1] ^= 1
	got = v.VerifyExtent(b, g.number-1, nil)
	want = Extent{Pages: 3, Zero: 2, Bad: 1, Outcome: Torn}
	if got != want {
		t.Errorf("verify torn extent: %+v, want %+v", got, want)
	}
	skip := func(n uint32) bool { return n == g.number }
	if got = v.VerifyExtent(b, g.number-1, skip); got.Bad != -1 {
		t.Errorf("verify extent without page %d: %+v, want none bad", g.number, got)
	}
}

func TestVerifyAllocates(t *testing.T) {
	for _, g := range goldens(t) {
		v := verifier(t, g.size)
		v.Verify(g.bytes, g.number)
		// The standard library's zlib makes small tables anew for every block
		// with long codes; nothing else may.
		limit := 0.0
		if strings.HasPrefix(g.name, "zlib") {
			limit = 50
		}
		if n := testing.AllocsPerRun(10, func() { v.Verify(g.bytes, g.number) }); n > limit {
			t.Errorf("%s: %v allocations, want at most %v", g.name, n, limit)
		}
	}
}

func BenchmarkVerify(b *testing.B) {
	for _, g := range goldens(b) {
		b.Run(g.name, func(b *testing.B) {
			v := verifier(b, g.size)
			b.SetBytes(int64(len(g.bytes)))
			b.ReportAllocs()
			for b.Loop() {
				v.Verify(g.bytes, g.number)
			}
		})
	}
}

func FuzzVerify(f *testing.F) {
	for _, g := range goldens(f) {
		if len(g.bytes) <= 16384 {
			f.Add(g.bytes, g.size.Logical, g.size.Zip)
		}
	}
	f.Fuzz(func(t *testing.T, b []byte, logical int, zip bool) {
		v, err := NewVerifier(Size{Logical: logical, Physical: len(b), Zip: zip})
		if err != nil {
			return
		}
		first := v.Verify(b, 1)
		if again := v.Verify(b, 1); again != first {
			t.Errorf("verify: %s, and the second time %s", first, again)
		}
		if len(b) > 0 && !first.Corrupt() && first != Zero && !sealedZeros(b) {
			if h, err := ParseHeader(b); err != nil || h.Number != 1 {
				t.Errorf("header of a page that is %s: number %d, %v", first, h.Number, err)
			}
		}
	})
}

func FuzzUnpackLZ4(f *testing.F) {
	f.Add([]byte{0x10, 'a', 1, 0, 0x50, 'b', 'b', 'b', 'b', 'b'}, uint16(10))
	f.Fuzz(func(t *testing.T, from []byte, n uint16) {
		to := make([]byte, n)
		unpackLZ4(to, from)
	})
}
