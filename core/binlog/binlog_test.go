package binlog

import (
	"bytes"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/klauspost/compress/zstd"
)

const (
	u1 = "3e11fa47-71ca-11e1-9e33-c80aa9429562"
	u2 = "beef1c55-e539-11f1-9738-02fc00000001"
)

func golden(t testing.TB) []byte {
	t.Helper()
	b, err := os.ReadFile("testdata/tagged-9.7.4.binlog")
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestReader(t *testing.T) {
	b := golden(t)
	d, err := NewReader(iotest.OneByteReader(bytes.NewReader(b)))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := d.Format(), (Format{Version: 4, Server: "9.7.4-2", Checksums: true, InUse: true}); got != want {
		t.Errorf("format: %+v, want %+v", got, want)
	}
	var got []string
	for {
		e, err := d.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		s := e.Type.String()
		if e.Type == GTIDEvent || e.Type == TaggedGTID {
			tx, err := e.Transaction()
			if err != nil {
				t.Fatal(err)
			}
			s = tx.GTID.String()
		}
		got = append(got, s)
	}
	want := "Previous_gtids " + u2 + ":tag:2 Query event type 19 event type 30 Xid " + u2 + ":4 Transaction_payload"
	if g := strings.Join(got, " "); g != want || d.Position() != int64(len(b)) {
		t.Errorf("events up to %d: %s, want up to %d: %s", d.Position(), g, len(b), want)
	}
}

func TestExecutedAt(t *testing.T) {
	b := golden(t)
	for _, c := range []struct {
		end  int64
		want string
		err  error
	}{
		{735, u2 + ":1-4:tag:1-2", nil},
		{736, "", io.ErrUnexpectedEOF},
		{734, "", ErrPosition},
		{243, u2 + ":1-3:tag:1", nil}, // behind Previous_gtids
		{321, "", ErrPosition},        // behind the GTID event
		{127, "", nil},                // behind the format description
		{126, "", ErrPosition},
		{3, "", ErrPosition},
		{0, "", ErrPosition},
	} {
		got, err := ExecutedAt(bytes.NewReader(b), c.end)
		if got.String() != c.want || !errors.Is(err, c.err) {
			t.Errorf("executed at %d: %s, %v, want %s, %v", c.end, got, err, c.want, c.err)
		}
	}
}

// TestReaderNotices changes each byte of a log. Only the flag that says that
// the log is in use has no checksum.
func TestReaderNotices(t *testing.T) {
	b := golden(t)
	for i := range b {
		b[i] ^= 0x01
		_, err := ExecutedAt(bytes.NewReader(b), int64(len(b)))
		b[i] ^= 0x01
		if inUse := i == 4+17; (err == nil) != inUse {
			t.Errorf("executed with byte %d changed: %v", i, err)
		}
	}
}

func TestNewReaderRefuses(t *testing.T) {
	if _, err := NewReader(strings.NewReader("\xfdbin" + strings.Repeat("x", 508))); !errors.Is(err, ErrEncrypted) {
		t.Errorf("read an encrypted log: %v, want ErrEncrypted", err)
	}
	for _, s := range []string{"", "\xfe", "\xfebin", "\xfebi?", "\xfebin" + strings.Repeat("\x00", 200)} {
		if _, err := NewReader(strings.NewReader(s)); err == nil || err == io.EOF {
			t.Errorf("read %q: %v, want an error that says more", s, err)
		}
	}
	if _, err := NewReader(bytes.NewReader(golden(t)[:100])); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("read a short log: %v, want io.ErrUnexpectedEOF", err)
	}
}

// TestReaderBounds announces a GTID set of a gigabyte and brings none of it.
func TestReaderBounds(t *testing.T) {
	b := golden(t)[:127+headerSize]
	copy(b[127+9:], []byte{0, 0, 0, 0x3f, 127, 0, 0, 0x3f})
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if _, err := ExecutedAt(bytes.NewReader(b), 1<<40); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("read: %v, want io.ErrUnexpectedEOF", err)
	}
	runtime.ReadMemStats(&after)
	if n := after.TotalAlloc - before.TotalAlloc; n > 1<<20 {
		t.Errorf("%d bytes allocated, want less than a megabyte", n)
	}
}

func TestGTIDSet(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"", ""},
		{" , ", ""},
		{u1 + ":1-5:7", u1 + ":1-5:7"},
		{strings.ToUpper(u1) + ":7:1-3 , " + u1 + " : 4 - 5", u1 + ":1-5:7"},
		{u2 + ":1,\n" + u1 + ":2", u1 + ":2," + u2 + ":1"},
		{u1 + ":1:Tag:1-3:_x9:5,\n" + u1 + ":tag:4", u1 + ":1:_x9:5:tag:1-4"},
		{u1 + ":b:1:a:2", u1 + ":a:2:b:1"},
		{u1 + ":1-9223372036854775806", u1 + ":1-9223372036854775806"},
		{u1 + ":1-3:5-7:4", u1 + ":1-7"},
		{u1 + ":10-20:1-3:5-12:30", u1 + ":1-3:5-20:30"},
	} {
		got, err := ParseGTIDSet(c.text)
		if err != nil || got.String() != c.want {
			t.Errorf("parse %q: %s, %v, want %s", c.text, got, err, c.want)
		}
	}
	for _, text := range []string{"x", u1, u1 + ":", u1 + ":0", u1 + ":5-3", u1 + ":1-9223372036854775807", u1 + ":-1", u1 + ":tag",
		u1 + ":1:tag", u1 + ":a:b:1", u1 + ":9tag:1", u1 + ":" + strings.Repeat("t", 33) + ":1", u1[1:] + ":1",
		strings.Replace(u1, "-", "0", 1) + ":1", strings.Replace(u1, "3", "g", 1) + ":1", u1 + ":1;2"} {
		if got, err := ParseGTIDSet(text); err == nil {
			t.Errorf("parse %q: %s, want an error", text, got)
		}
	}
}

func TestGTIDSetContains(t *testing.T) {
	set, err := ParseGTIDSet(u1 + ":1-5:8:t:2")
	if err != nil {
		t.Fatal(err)
	}
	uuid, err := ParseUUID(u1)
	if err != nil {
		t.Fatal(err)
	}
	for n, want := range map[int64]bool{0: false, 1: true, 5: true, 6: false, 7: false, 8: true, 9: false} {
		if got := set.contains(Source{UUID: uuid}, Interval{n, n}); got != want {
			t.Errorf("%s contains %d: %v, want %v", set, n, got, want)
		}
	}
	for text, want := range map[string]bool{"": true, u1 + ":2-4": true, u1 + ":t:2": true, u1 + ":4-6": false,
		u1 + ":5:8": true, u1 + ":5-8": false, u1 + ":t:1": false, u2 + ":1": false} {
		part, err := ParseGTIDSet(text)
		if err != nil {
			t.Fatal(err)
		}
		if got := set.ContainsSet(part); got != want {
			t.Errorf("%s contains %s: %v, want %v", set, part, got, want)
		}
		sum := GTIDSet{}
		sum.Union(part)
		sum.Union(set)
		if !sum.ContainsSet(set) || !sum.ContainsSet(part) || (sum.String() == set.String()) != want {
			t.Errorf("union of %s and %s: %s", set, part, sum)
		}
	}
	set.Add(GTID{Source{UUID: uuid}, 0})
	set.AddInterval(Source{UUID: uuid}, Interval{9, 8})
	if got, want := set.String(), u1+":1-5:8:t:2"; got != want {
		t.Errorf("after adding nothing: %s, want %s", got, want)
	}
}

func TestDecodeGTIDSet(t *testing.T) {
	uuid := strings.ReplaceAll(u1, "-", "")
	for _, c := range []struct{ name, bytes, want string }{
		{"empty", "0000000000000000", ""},
		{"untagged", "0100000000000000" + // sources
			uuid + "0200000000000000" + // intervals
			"0100000000000000" + "0600000000000000" + // 1 to 5
			"0700000000000000" + "0800000000000000", u1 + ":1-5:7"},
		{"tagged", "01 02 000000000001" + // sources, in the middle
			uuid + "00" + "0100000000000000" + "0100000000000000" + "0300000000000000" +
			uuid + "04 6162" + "0100000000000000" + "0900000000000000" + "0a00000000000000", u1 + ":1-2:ab:9"},
		{"backwards", "0100000000000000" + uuid + "0100000000000000" + "0600000000000000" + "0100000000000000", "error"},
		{"short", "0100000000000000" + uuid + "0100000000000000" + "0600000000000000", "error"},
		{"many", "ffffffffffffff00" + uuid, "error"},
		{"long", "000000000000000000", "error"},
		{"bad tag", "01 01 000000000001" + uuid + "02 41" + "0000000000000000", "error"},
		{"long tag", "01 01 000000000001" + uuid + "80" + strings.Repeat("61", 64) + "0000000000000000", "error"},
	} {
		b, err := hex.DecodeString(strings.ReplaceAll(c.bytes, " ", ""))
		if err != nil {
			t.Fatal(c.name, err)
		}
		set, err := DecodeGTIDSet(b)
		got := set.String()
		if err != nil {
			got = "error"
		}
		if got != c.want {
			t.Errorf("%s: decode %s: %s, %v, want %s", c.name, c.bytes, got, err, c.want)
		}
		if err != nil {
			continue
		}
		if again := encode(set); !bytes.Equal(again, b) {
			t.Errorf("%s: encode %s: %x, want %x", c.name, set, again, b)
		}
	}
}

// TestVarint uses the examples of libs/mysql/serialization/readme.md and the
// borders between lengths.
func TestVarint(t *testing.T) {
	if got, want := appendVarint(nil, 65535), []byte{0xfb, 0xff, 0x07}; !bytes.Equal(got, want) {
		t.Errorf("65535 is %x, want %x", got, want)
	}
	for shift := range 64 {
		for _, by := range []uint64{0, 1, ^uint64(0)} {
			v := uint64(1)<<shift + by
			b := appendVarint(nil, v)
			d := decoder{b: b}
			if got := d.varint("v"); got != v || d.err != nil || d.at != len(b) {
				t.Errorf("%d as %x: %d, %v", v, b, got, d.err)
			}
		}
	}
	for want, b := range map[int64][]byte{65535: {0xf3, 0xff, 0x0f}, -65535: {0xeb, 0xff, 0x0f}, -65536: {0xfb, 0xff, 0x0f}} {
		d := decoder{b: b}
		if got := d.svarint("v"); got != want {
			t.Errorf("%x: %d, want %d", b, got, want)
		}
	}
}

func FuzzGTIDText(f *testing.F) {
	f.Add(u1 + ":1-5:7:tag:1," + u2 + ":1")
	f.Fuzz(func(t *testing.T, text string) {
		set, err := ParseGTIDSet(text)
		if err != nil {
			return
		}
		again, err := ParseGTIDSet(set.String())
		if err != nil || again.String() != set.String() {
			t.Errorf("parse %q again: %s, %v", set, again, err)
		}
		if again, err = DecodeGTIDSet(encode(set)); err != nil || again.String() != set.String() {
			t.Errorf("decode %q: %s, %v", set, again, err)
		}
	})
}

func FuzzGTIDBinary(f *testing.F) {
	f.Add(golden(f)[146:239]) // the body of its Previous_gtids event
	f.Add(make([]byte, 8))
	f.Fuzz(func(t *testing.T, b []byte) {
		set, err := DecodeGTIDSet(b)
		if err != nil {
			return
		}
		if again, err := DecodeGTIDSet(encode(set)); err != nil || again.String() != set.String() {
			t.Errorf("decode %s again: %s, %v", set, again, err)
		}
	})
}

func FuzzExecutedAt(f *testing.F) {
	f.Add(golden(f), int64(735))
	f.Fuzz(func(t *testing.T, b []byte, end int64) {
		if _, err := ExecutedAt(bytes.NewReader(b), end); err == nil && (end < 0 || end > int64(len(b))) {
			t.Errorf("executed at %d of %d bytes: no error", end, len(b))
		}
	})
}

// FuzzTransaction passes over checksums, which keep most changes from getting
// anywhere.
func FuzzTransaction(f *testing.F) {
	b := golden(f)
	f.Add(b[243+headerSize:317], uint8(TaggedGTID))
	f.Fuzz(func(t *testing.T, body []byte, kind uint8) {
		e := Event{Type: Type(kind), Body: body}
		if tx, err := e.Transaction(); err == nil && !tx.Anonymous && (tx.GTID.Number < 1 || tx.Length < 0) {
			t.Errorf("transaction of %x: %+v", body, tx)
		}
	})
}

// The log of a real 8.0.30 (built from its source) without GTIDs, killed at the position that its log_status had named.
func TestLogOf8030(t *testing.T) {
	packed, err := os.ReadFile("testdata/8.0.30.binlog.zst")
	if err != nil {
		t.Fatal(err)
	}
	z, err := zstd.NewReader(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	b, err := z.DecodeAll(packed, nil)
	if err != nil {
		t.Fatal(err)
	}
	const position = 741202
	d, err := NewReader(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := d.Format(), (Format{Version: 4, Server: "8.0.30", Checksums: true, InUse: true}); got != want {
		t.Errorf("format: %+v, want %+v", got, want)
	}
	seen := map[Type]int{}
	for {
		e, err := d.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		seen[e.Type]++
	}
	if d.Position() != position || seen[AnonymousGTID] < 10 || seen[XID] == 0 || seen[XAPrepare] != 1 || seen[GTIDEvent] != 0 {
		t.Errorf("read to %d, want %d: %v", d.Position(), position, seen)
	}
	if set, err := ExecutedAt(bytes.NewReader(b), position); err != nil || set.String() != "" {
		t.Errorf("executed: %s, %v, want none", set, err)
	}
	if _, err := ExecutedAt(bytes.NewReader(b), position-1); !errors.Is(err, ErrPosition) {
		t.Errorf("executed a byte before: %v, want %v", err, ErrPosition)
	}
}
