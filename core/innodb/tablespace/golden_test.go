package tablespace_test

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"os"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/remora-backup/remora/core/innodb/page"
	"github.com/remora-backup/remora/core/innodb/tablespace"
)

// Files of a real 8.0.30 (built from its source), as kill -9 left them, and what that server said of them in
// information_schema.innodb_tablespaces, which does not list ibdata1.
func TestFilesOf8030(t *testing.T) {
	const sdi = 1 << 14 // not yet in the first page of a new file
	files := untar(t, unpack(t, "testdata/8.0.30-tables.tar.zst"))
	files["ibdata1"] = unpack(t, "testdata/8.0.30-ibdata1.zst")
	want := map[string]struct{ space, flags uint32 }{
		"ibdata1": {0, 18432}, "g/t1.ibd": {2, 16417}, "g/t4renamed.ibd": {5, 16417}, "g/t3.ibd": {30, 16423}, "g/y.ibd": {31, 16425}, "g/t2.ibd": {32, 16384},
	}
	if len(files) != len(want) {
		t.Errorf("%d files, want %d", len(files), len(want))
	}
	for name, w := range want {
		b := files[name]
		h, err := tablespace.ParseHeader(b)
		if err != nil || h.Space != w.space || uint32(h.Flags)&^sdi != w.flags&^sdi || h.Size != 0 && h.ServerVersion != 80030 {
			t.Errorf("%s: %+v, %v, want space %d with flags %d", name, h, err, w.space, w.flags)
			continue
		}
		size, err := h.Flags.PageSize()
		if err != nil {
			t.Fatal(err)
		}
		v, err := page.NewVerifier(size)
		if err != nil {
			t.Fatal(err)
		}
		skip := func(n uint32) bool { return name == "ibdata1" && size.InDoublewrite(n) }
		e := v.VerifyExtent(b, 0, skip)
		if e.Bad >= 0 || e.Pages != len(b)/size.Physical || e.Zero == e.Pages {
			t.Errorf("%s: %+v of %d bytes, want all pages sound", name, e, len(b))
		}
		b[len(b)/size.Physical/2*size.Physical+100] ^= 1
		if o := v.VerifyExtent(b, 0, nil); o.Bad < 0 {
			t.Errorf("%s: a byte changed in the middle: %+v, want it noticed", name, o)
		}
	}
}

func unpack(t *testing.T, file string) []byte {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	z, err := zstd.NewReader(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	b, err = io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func untar(t *testing.T, b []byte) map[string][]byte {
	t.Helper()
	files := map[string][]byte{}
	for r := tar.NewReader(bytes.NewReader(b)); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		if files[h.Name], err = io.ReadAll(r); err != nil {
			t.Fatal(err)
		}
	}
}
