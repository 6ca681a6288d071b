package repo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"path"
	"runtime"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/klauspost/compress/zstd"
	"lukechampine.com/blake3"

	"github.com/remora-backup/remora/core/code"
	"github.com/remora-backup/remora/core/plug/plugtest"
)

// names is the test of an error that damage must give: its code, and the object's name.
func names(err error, name string) error {
	if code.Of(err) != code.Integrity {
		return fmt.Errorf("got %v, want code %d", err, code.Integrity)
	}
	if dir, base := path.Split(name); !strings.Contains(err.Error(), dir+strings.TrimRight(base, "-0123456789")) {
		return fmt.Errorf("got %v, want one that names %s", err, name)
	}
	return nil
}

// small returns a storage with a backup of few bytes but each kind of object, more than
// one pack and more than one segment of the index.
func small(t *testing.T) (*plugtest.Memory, Manifest) {
	t.Helper()
	m := new(plugtest.Memory)
	return m, mustBackup(t, m, makeSource(5, 3, 700), Options{Compression: Zstd, PackSize: 300, segment: 500}, 300)
}

func TestDamageIsFound(t *testing.T) {
	good, man := small(t)
	other := good.Clone()
	mustBackup(t, other, makeSource(6, 3, 700), Options{Compression: Zstd, PackSize: 300, segment: 500}, 300)
	if err := verify(t.Context(), good, man.ID); err != nil {
		t.Fatal(err)
	}
	try := func(what, name string, change func(m *plugtest.Memory)) {
		t.Helper()
		m := good.Clone()
		change(m)
		if err := names(verify(t.Context(), m, man.ID), name); err != nil {
			t.Errorf("%s %s: %v", name, what, err)
		}
	}
	kinds := map[string]bool{}
	for name, b := range good.All() {
		kinds[strings.TrimRight(path.Base(name), "-0123456789")] = true
		put := func(what string, b []byte) { try(what, name, func(m *plugtest.Memory) { m.Set(name, b) }) }
		for i := range b {
			flipped := bytes.Clone(b)
			flipped[i] ^= 1 << (i % 8)
			put(fmt.Sprintf("with byte %d of %d flipped", i, len(b)), flipped)
		}
		put("cut by 1", b[:len(b)-1])
		put("cut to half", b[:len(b)/2])
		put("cut to nothing", nil)
		put("with a byte more", append(bytes.Clone(b), 0))
		if name != manifestName(man.ID) {
			try("removed", name, func(m *plugtest.Memory) { m.Remove(name) })
		}
		for with, theirs := range other.All() {
			if !bytes.Equal(theirs, b) {
				put("replaced with "+with, theirs)
			}
		}
	}
	if want := []string{"files", "index", "manifest.json", "pack", "remora.json"}; len(kinds) != len(want) {
		t.Errorf("kinds of objects: got %v, want %v", kinds, want)
	}
}

func TestManifestOfOtherRepository(t *testing.T) {
	one, man := small(t)
	two, _ := small(t)
	for name, b := range one.All() {
		if name != configName {
			two.Set(name, b)
		}
	}
	if err := names(verify(t.Context(), two, man.ID), manifestName(man.ID)); err != nil {
		t.Error(err)
	}
}

func TestNewerFormat(t *testing.T) {
	m, man := small(t)
	raw := bytes.Replace(m.Bytes(manifestName(man.ID)), []byte(`"format": 1`), []byte(`"format": 2`), 1)
	body := raw[:len(raw)-len(sealOf(nil))]
	m.Set(manifestName(man.ID), []byte(string(body)+sealOf(body)))
	if err := verify(t.Context(), m, man.ID); code.Of(err) != code.Version {
		t.Errorf("got %v, want code %d", err, code.Version)
	}
	raw = []byte(strings.Replace(string(body), `"format": 2`, `"format": 1, "more": 2`, 1))
	m.Set(manifestName(man.ID), []byte(string(raw)+sealOf(raw)))
	if err := names(verify(t.Context(), m, man.ID), manifestName(man.ID)); err != nil {
		t.Errorf("unknown field: %v", err)
	}
}

func TestManifestTooLarge(t *testing.T) {
	if _, err := readAll(strings.NewReader("12345"), 4); !errors.Is(err, errTooLarge) {
		t.Errorf("got %v, want %v", err, errTooLarge)
	}
}

// forge writes a backup by hand: files, groups of packs, and all digests right.
func forge(t *testing.T, m *plugtest.Memory, files []File, groups []group, packs map[string][]byte, bases ...string) string {
	t.Helper()
	const id = "20300101T000000Z-0000"
	r, err := Open(t.Context(), m)
	if err != nil {
		t.Fatal(err)
	}
	b, err := r.NewBackup(t.Context(), id, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer b.cancel(errSealed)
	var man Manifest
	man.Format, man.ID, man.Repository, man.Compression, man.Bases = Format, id, r.config.Repository, Zstd, bases
	for name, p := range packs {
		m.Set(name, p)
		if strings.HasPrefix(name, dirName(id)) {
			man.Packs.Count++
			man.Packs.Size += int64(len(p))
		}
	}
	b.kept = files
	if man.Files, err = b.putFiles(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, g := range groups {
		var raw []byte
		for _, e := range g.entries {
			raw = e.append(raw)
		}
		b.groups++
		b.entries += int64(len(g.entries))
		b.enter(appendGroup(nil, g.source, g.pack, g.size, len(g.entries), raw))
	}
	if man.Index, err = b.endIndex(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := b.putManifest(t.Context(), &man); err != nil {
		t.Fatal(err)
	}
	return id
}

// TestIndexGroupsProveThemselves: a changed group is found when it is read, before anything
// is done with it.
func TestIndexGroupsProveThemselves(t *testing.T) {
	z := zeros(1, 16384, 16384)
	good := appendTrailer(appendGroup([]byte(indexMagic), 0, 0, 0, 1, z.append(nil)), 1, 1)
	read := func(b []byte) (int, error) {
		x, err := newIndexReader(bytes.NewReader(b))
		n := 0
		for ; err == nil; n++ {
			_, err = x.next()
		}
		return n - 1, err
	}
	if n, err := read(good); n != 1 || err != io.EOF {
		t.Fatalf("good: got %d groups, %v", n, err)
	}
	for i := range good {
		b := bytes.Clone(good)
		b[i] ^= 1
		n, err := read(b)
		if err == io.EOF || i < len(good)-headerSize-sumSize && n > 0 {
			t.Errorf("byte %d: got %d groups, %v", i, n, err)
		}
	}
}

// endless gives an object with no end.
type endless struct {
	*plugtest.Memory
	name string
}

func (m endless) Get(ctx context.Context, name string, offset, length int64) (io.ReadCloser, error) {
	body, err := m.Memory.Get(ctx, name, offset, length)
	if name == m.name && err == nil {
		return io.NopCloser(io.MultiReader(body, zeroReader{})), nil
	}
	return body, err
}

func TestEndlessObjects(t *testing.T) {
	m, man := small(t)
	for name := range m.All() {
		err := func() error {
			r, err := Open(t.Context(), endless{m, name})
			if err != nil {
				return err
			}
			b, err := r.OpenBackup(t.Context(), man.ID)
			if err != nil {
				return err
			}
			return b.Verify(t.Context(), 2)
		}()
		if strings.Contains(name, "/pack-") {
			if code.Of(err) != code.Storage { // of what was asked for, all is there
				t.Errorf("%s: got %v, want code %d", name, err, code.Storage)
			}
			continue
		}
		if err := names(err, name); err != nil {
			t.Error(err)
		}
	}
}

// TestPackMustBeFull: bytes of a pack that no extent proves are damage.
func TestPackMustBeFull(t *testing.T) {
	data := []byte("data")
	for _, tt := range []struct {
		name string
		size int64
		at   uint32
		pack string
		want code.Code
	}{
		{"full", 4, 0, "data", code.Done},
		{"more at the end", 5, 0, "data-", code.Integrity},
		{"more at the start", 5, 1, "-data", code.Integrity},
		{"less", 3, 0, "dat", code.Integrity},
	} {
		m := new(plugtest.Memory)
		pack := packName("20300101T000000Z-0000", 1)
		e := entry{Extent: Extent{File: 1, Length: 4}, at: tt.at, stored: 4, crc: crc32.Checksum(data, castagnoli), digest: blake3.Sum256(data)}
		id := forge(t, m, []File{{ID: 1, Kind: KindOther, Path: "f", Size: 4}},
			[]group{{pack: 1, size: tt.size, entries: []entry{e}}}, map[string][]byte{pack: []byte(tt.pack)})
		if err := verify(t.Context(), m, id); code.Of(err) != tt.want {
			t.Errorf("%s: got %v, want code %d", tt.name, err, tt.want)
		}
	}
}

func zeros(file FileID, offset int64, length int) entry {
	return entry{Extent: Extent{File: file, Offset: offset, Length: length, Zero: true}}
}

func TestExtentsMustCoverFiles(t *testing.T) {
	for _, tt := range []struct {
		name    string
		size    int64
		entries []entry
		ok      bool
	}{
		{"one", 10, []entry{zeros(1, 0, 10)}, true},
		{"any order", 10, []entry{zeros(1, 6, 4), zeros(1, 0, 5), zeros(1, 5, 1)}, true},
		{"copy not kept", 10, []entry{zeros(9, 3, 4), zeros(1, 0, 10)}, true},
		{"empty", 0, []entry{zeros(9, 0, 1)}, true},
		{"nothing", 10, []entry{zeros(9, 0, 1)}, false},
		{"gap at start", 10, []entry{zeros(1, 1, 9)}, false},
		{"gap at end", 10, []entry{zeros(1, 0, 9)}, false},
		{"gap", 10, []entry{zeros(1, 0, 4), zeros(1, 5, 5)}, false},
		{"overlap", 10, []entry{zeros(1, 0, 6), zeros(1, 5, 5)}, false},
		{"gap and overlap of one size", 10, []entry{zeros(1, 0, 5), zeros(1, 4, 5)}, false},
		{"twice", 10, []entry{zeros(1, 0, 10), zeros(1, 0, 10)}, false},
		{"beyond", 10, []entry{zeros(1, 0, 11)}, false},
		{"far beyond", 10, []entry{zeros(1, 0, 10), zeros(1, maxFileSize, 1)}, false},
		{"part twice", 10, []entry{zeros(1, 0, 5), zeros(1, 0, 5), zeros(1, 5, 5)}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := new(plugtest.Memory)
			id := forge(t, m, []File{{ID: 1, Kind: KindOther, Path: "f", Size: tt.size}}, []group{{entries: tt.entries}}, nil)
			err := verify(t.Context(), m, id)
			if tt.ok && err != nil {
				t.Errorf("got %v, want none", err)
			}
			if !tt.ok && code.Of(err) != code.Integrity {
				t.Errorf("got %v, want code %d", err, code.Integrity)
			}
		})
	}
}

// TestBase reads extents out of a pack of an earlier backup, as an incremental one does.
func TestBase(t *testing.T) {
	m, src := new(plugtest.Memory), makeSource(1, 2, 9000)
	base := mustBackup(t, m, src, Options{Compression: None}, 3000)
	r, err := Open(t.Context(), m)
	if err != nil {
		t.Fatal(err)
	}
	b, err := r.OpenBackup(t.Context(), base.ID)
	if err != nil {
		t.Fatal(err)
	}
	at := slices.IndexFunc(b.Files(), func(f File) bool { return f.Path == "mysql.ibd" })
	f := b.Files()[at]
	var groups []group
	for g, err := range b.groups(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		g.source = 1
		g.entries = slices.DeleteFunc(g.entries, func(e entry) bool { return e.File != f.ID })
		if len(g.entries) > 0 {
			groups = append(groups, g)
		}
	}
	id := forge(t, m, []File{f}, groups, nil, base.ID)
	got, err := restore(t.Context(), m, id)
	if err != nil {
		t.Fatal(err)
	}
	same(t, got, source{f.Path: src[f.Path]})
	for name := range m.All() {
		if strings.HasPrefix(name, dirName(base.ID)+"pack-") {
			m.Remove(name)
		}
	}
	if err := names(verify(t.Context(), m, id), packName(base.ID, 1)); err != nil {
		t.Error(err)
	}
}

// TestBomb: an extent that grows beyond what it says stops there.
func TestBomb(t *testing.T) {
	enc, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	bomb := enc.EncodeAll(make([]byte, 256<<20), nil)
	length := max(len(bomb)+1, 20_000)
	if length > MaxExtent {
		t.Fatalf("the bomb has %d bytes", len(bomb))
	}
	for _, tt := range []struct {
		name string
		data []byte
	}{
		{"grows", bomb},
		{"is short", enc.EncodeAll(make([]byte, length-1), nil)},
		{"is something else", enc.EncodeAll(bytes.Repeat([]byte{1}, length), nil)},
		{"asks for a large window", hugeWindow(t)},
		{"is no frame", []byte("hello")},
		{"is nothing", []byte{0x50, 0x2a, 0x4d, 0x18, 0, 0, 0, 0}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := new(plugtest.Memory)
			e := entry{Extent: Extent{File: 1, Length: length}, zstd: true, stored: uint32(len(tt.data)), crc: crc32.Checksum(tt.data, castagnoli)}
			e.digest = blake3.Sum256(make([]byte, length))
			pack := packName("20300101T000000Z-0000", 1)
			id := forge(t, m, []File{{ID: 1, Kind: KindOther, Path: "f", Size: int64(length)}},
				[]group{{pack: 1, size: int64(len(tt.data)), entries: []entry{e}}}, map[string][]byte{pack: tt.data})
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			err := verify(t.Context(), m, id)
			runtime.ReadMemStats(&after)
			if err := names(err, pack); err != nil {
				t.Error(err)
			}
			if grown := after.TotalAlloc - before.TotalAlloc; grown > 64<<20 {
				t.Errorf("it took %d bytes of memory", grown)
			}
		})
	}
}

// hugeWindow returns a frame that asks for 1 GiB of memory and says no size.
func hugeWindow(t *testing.T) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := zstd.NewWriter(&b, zstd.WithWindowSize(zstd.MaxWindowSize))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(w, io.LimitReader(zeroReader{}, 1<<20)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

type zeroReader struct{}

func (zeroReader) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func TestHostileNames(t *testing.T) {
	long := strings.Repeat("d/", 3000)
	for _, name := range []string{
		"", ".", "..", "/", "/abs", "../x", "../../etc/cron.d/x", "a/../../b", "a/..", "a/./b", "./a", "a//b", "a/", "a\x00b", `a\b`,
		`..\x`, "\xff\xfe", long + "x", strings.Repeat("n", 256), "a/" + strings.Repeat("n", 256),
	} {
		f := File{ID: 1, Kind: KindOther, Path: name}
		if f.check() == nil {
			t.Errorf("%.50q: got no error", name)
		}
		if !utf8.ValidString(name) {
			continue // JSON cannot carry it
		}
		m := new(plugtest.Memory)
		id := forge(t, m, []File{f}, nil, nil)
		if err := names(verify(t.Context(), m, id), filesName(id)); err != nil {
			t.Errorf("%.50q: %v", name, err)
		}
	}
	for _, name := range []string{"a", "...", "a..b", "#ib_16384_0.dblwr", "#innodb_redo/#ib_redo0", "s@0024/t#p#p0.ibd", "ü/x y.ibd", ".a", strings.Repeat("n", 255)} {
		f := File{ID: 1, Kind: KindOther, Path: name}
		if err := f.check(); err != nil {
			t.Errorf("%.50q: got %v", name, err)
		}
	}
}

func TestHostileFiles(t *testing.T) {
	file := func(id FileID, path string) File { return File{ID: id, Kind: KindOther, Path: path} }
	for _, tt := range []struct {
		name  string
		files []File
		fold  bool
		ok    bool
	}{
		{"good", []File{file(1, "a"), file(2, "A"), {ID: 3, Kind: KindDir, Path: "d"}, file(4, "d/x"), file(5, "d-x")}, false, true},
		{"id twice", []File{file(1, "a"), file(1, "b")}, false, false},
		{"out of order", []File{file(2, "a"), file(1, "b")}, false, false},
		{"name twice", []File{file(1, "a"), file(2, "b"), file(3, "a")}, false, false},
		{"name twice but for case", []File{file(1, "a/T"), file(2, "A/t")}, true, false},
		{"file is a directory", []File{file(1, "a"), file(2, "a-b"), file(3, "a/b/c/d")}, false, false},
		{"file is a directory but for case", []File{file(1, "A"), file(3, "a/b/c/d")}, true, false},
	} {
		if err := checkFiles(tt.files, tt.fold); (err == nil) != tt.ok {
			t.Errorf("%s: got %v", tt.name, err)
		}
	}
	for _, f := range []File{
		{ID: 0, Kind: KindOther, Path: "a"}, {ID: 1, Kind: "fifo", Path: "a"}, {ID: 1, Path: "a"}, {ID: 1, Kind: KindDir, Path: "a", Size: 1},
		{ID: 1, Kind: KindOther, Path: "a", Attrs: map[string]string{"k": strings.Repeat("v", maxAttrs)}}, {ID: 1, Kind: KindOther, Path: "a", Size: -1}, {ID: 1, Kind: KindOther, Path: "a", Size: maxFileSize + 1},
	} {
		if f.check() == nil {
			t.Errorf("%+v: got no error", f)
		}
	}
}
