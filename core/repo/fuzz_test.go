package repo

import (
	"bytes"
	"errors"
	"io"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"
)

// FuzzIndex: any bytes end in groups that can lie in a pack or an error, and groups are
// encoded again to the bytes they came from.
func FuzzIndex(f *testing.F) {
	good := []byte(indexMagic)
	e := entry{Extent: Extent{File: 1, Offset: 16384, Length: 5, MaxLSN: 9}, stored: 5, crc: 1}
	z := zeros(1, 0, 16384)
	z.at = 5
	raw := z.append(e.append(nil))
	good = appendGroup(good, 0, 1, 5, 2, raw)
	good = appendTrailer(good, 1, 2)
	f.Add(good)
	f.Add(good[:len(good)-1])
	f.Add(appendTrailer([]byte(indexMagic), 0, 0))
	f.Add(append([]byte(indexMagic), groupMagic+strings.Repeat("\xff", 40)...))
	f.Fuzz(func(t *testing.T, b []byte) {
		again := []byte(indexMagic)
		x, err := newIndexReader(bytes.NewReader(b))
		for err == nil {
			var g group
			if g, err = x.next(); err != nil {
				break
			}
			var raw []byte
			for _, e := range g.entries {
				raw = e.append(raw)
			}
			again = appendGroup(again, g.source, g.pack, g.size, len(g.entries), raw)
		}
		if !errors.Is(err, io.EOF) {
			return
		}
		again = appendTrailer(again, x.groups, x.entries)
		if !bytes.HasPrefix(b, again) {
			t.Errorf("read as an index, but written again it differs")
		}
	})
}

// FuzzGroup is FuzzIndex behind the checksum: entries that no honest writer made.
func FuzzGroup(f *testing.F) {
	e := entry{Extent: Extent{File: 1, Offset: 16384, Length: 5, MaxLSN: 9}, stored: 5, crc: 1}
	f.Add(uint32(0), uint32(1), int64(5), e.append(nil))
	f.Add(uint32(0), uint32(0), int64(0), (&entry{Extent: Extent{File: 1, Length: 1, Zero: true}}).append(nil))
	f.Fuzz(func(t *testing.T, source, pack uint32, size int64, raw []byte) {
		g := group{source: source, pack: pack, size: size}
		if g.decode(raw[:len(raw)/entrySize*entrySize]) != nil {
			return
		}
		end := int64(0)
		for _, e := range g.entries {
			if e.Length < 1 || e.Length > MaxExtent || e.Offset < 0 || e.Offset+int64(e.Length) < e.Offset || int64(e.at) < end {
				t.Errorf("took %+v", e)
			}
			end = int64(e.at) + int64(e.stored)
		}
		if end > size {
			t.Errorf("took extents up to %d in a pack of %d", end, size)
		}
	})
}

// FuzzFiles: whatever is taken for a table of files has names that stay below one
// directory, and is written again to the same table.
func FuzzFiles(f *testing.F) {
	var good bytes.Buffer
	files := []File{{ID: 1, Kind: KindTablespace, Path: "a/b.ibd", Size: 1 << 40, SpaceID: 1, PageSize: 16384, Flags: 5, Sparse: true,
		Attrs: map[string]string{"k": "v"}}, {ID: 7, Kind: KindDir, Path: "d"}}
	if err := encodeFiles(&good, files); err != nil {
		f.Fatal(err)
	}
	f.Add(good.Bytes(), int64(2))
	f.Add([]byte(`{"id":1,"kind":"other","path":"../x","size":0}`), int64(1))
	f.Add([]byte(`{"id":1,"kind":"other","path":"x","size":0}{}`), int64(1))
	f.Fuzz(func(t *testing.T, b []byte, count int64) {
		files, err := decodeFiles(bytes.NewReader(b), count)
		if err != nil {
			return
		}
		for _, f := range files {
			if strings.HasPrefix(f.Path, "/") || strings.Contains("/"+f.Path+"/", "/../") || strings.ContainsAny(f.Path, "\x00\\") || f.Path == "" {
				t.Errorf("took the name %q", f.Path)
			}
		}
		var out bytes.Buffer
		if err := encodeFiles(&out, files); err != nil {
			t.Fatal(err)
		}
		if again, err := decodeFiles(&out, count); err != nil || len(files) > 0 && !reflect.DeepEqual(again, files) {
			t.Errorf("written again: got %v, %v; want %v", again, err, files)
		}
		_ = checkFiles(files, true)
	})
}

// FuzzManifest: any bytes are an error or exactly what would be written again; also bytes
// whose digest fits.
func FuzzManifest(f *testing.F) {
	good, err := encodeSealed(&Manifest{Format: 1, ID: "20261120T221500Z-7f3a", Notes: []string{"<ü>"}, Bases: []string{"x"}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add(good[:len(good)-len(sealOf(nil))])
	f.Add([]byte("{\n  \"format\": 1,\n"))
	f.Add([]byte(strings.Repeat("[", 20000)))
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, raw := range [][]byte{b, []byte(string(b) + sealOf(b))} {
			var m Manifest
			if decodeSealed("m", raw, &m) != nil {
				continue
			}
			if again, err := encodeSealed(&m); err != nil || !bytes.Equal(again, raw) {
				t.Errorf("written again: got %q, %v; want %q", again, err, raw)
			}
			_ = m.check("20261120T221500Z-7f3a", "")
		}
	})
}

func FuzzID(f *testing.F) {
	f.Add("20261120T221500Z-7f3a")
	f.Fuzz(func(t *testing.T, id string) {
		if ValidID(id) && (strings.ContainsAny(id, "/. \x00") || !utf8.ValidString(id)) {
			t.Errorf("took %q", id)
		}
	})
}
