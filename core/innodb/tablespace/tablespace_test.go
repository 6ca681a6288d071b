package tablespace

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/remora-backup/remora/core/innodb/page"
)

func TestKind(t *testing.T) {
	names := Names{System: []string{"ibdata1", "/fast/ibdata2", "extra/sys"}, Temp: []string{"ibtmp1"}}
	for _, c := range []struct {
		want  Kind
		files string
	}{
		{SystemFile, "ibdata1 /fast/ibdata2 extra/sys ./ibdata1"},
		{TableFile, "mysql.ibd gt.ibd t/a.ibd sys/sys_config.ibd a@002db/#sql-ib1099-3.ibd t/a#p#p0#sp#s1.ibd /ext/t/a.ibd"},
		{UndoFile, "undo_001 undo_127 undo001 u3.ibu sub/u4.ibu /undo/undo_002"},
		{EngineFile, "t/m.MYD t/m.MYI t/m_12.sdi t/a.ARZ t/c.CSV t/c.CSM t/g.MRG t/db.opt mysql/general_log.CSV performance_schema/x_1.sdi"},
		{TemporaryFile, "ibtmp1 #innodb_temp/temp_1.ibt"},
		{RedoFile, "#innodb_redo/#ib_redo17 #innodb_redo/#ib_redo18_tmp /log/#innodb_redo/#ib_redo9 ib_logfile0"},
		{DoublewriteFile, "#ib_16384_0.dblwr #ib_16384_1.bdblwr /dblwr/#ib_4096_0.dblwr"},
		{UndoTruncation, "undo_1_trunc.log"},
		{BinlogFile, "binlog.000001 binlog.index mysql-bin.1000000 host-relay-bin.000003 host-relay-bin-c1.index"},
		{IdentityFile, "auto.cnf mysqld-auto.cnf"},
		{SecretFile, "ca.pem private_key.pem"},
		{ScratchFile, "ib_buffer_pool host.pid mysqld.sock mysqld.sock.lock host.err slow.log mysql_upgrade_history #clone/#view_progress"},
		{OtherFile, "notes.txt t/m.MYD.bak t/deep/m.MYD ibdata2 lost+found/x t/binlog.000001"},
	} {
		for f := range strings.FieldsSeq(c.files) {
			if got := names.Kind(f); got != c.want {
				t.Errorf("kind of %s: %s, want %s", f, got, c.want)
			}
		}
	}
	for k := range OtherFile + 1 {
		if k.String() == "unknown" {
			t.Errorf("kind %d has no name", k)
		}
	}
}

func TestParseDataFiles(t *testing.T) {
	for _, c := range []struct {
		setting string
		want    []DataFile // nil for an error
	}{
		{"ibdata1:12M:autoextend", []DataFile{{Path: "ibdata1", Size: 12 << 20, AutoExtend: true}}},
		{"ibdata1:12M;/fast/ibdata2:10m:autoextend:max:2G;", []DataFile{{Path: "ibdata1", Size: 12 << 20},
			{Path: "/fast/ibdata2", Size: 10 << 20, AutoExtend: true, Max: 2 << 30}}},
		{"/dev/sdb:3Gnewraw;/dev/sdc:512Kraw", []DataFile{{Path: "/dev/sdb", Size: 3 << 30, Raw: true},
			{Path: "/dev/sdc", Size: 512 << 10, Raw: true}}},
		{"x:1048576", []DataFile{{Path: "x", Size: 1 << 20}}},
		{"", nil}, {"ibdata1", nil}, {":12M", nil}, {"a:12X", nil}, {"a:M", nil}, {"a:-1M", nil}, {"a:1M:max:2M", nil},
		{"a:1M:autoextend;b:1M", nil}, {"a:9999999999999G", nil}, {"a:1M:autoextend:max", nil}, {"a:1M;;b:1M", nil},
	} {
		got, err := ParseDataFiles(c.setting)
		if !reflect.DeepEqual(got, c.want) || (err == nil) != (c.want != nil) {
			t.Errorf("parse %q: %+v, %v, want %+v", c.setting, got, err, c.want)
		}
	}
}

// undoHex begins an undo tablespace that a MySQL 9.7.4 made; zeros follow.
const undoHex = "917ae8e8 00000000 00016250 00000001 0000000003804989 0008 0000000000000000 ffffffed" +
	"ffffffed 00000000 00000400 00000140 00000000"

func first(t *testing.T, text string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(text, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return append(b, make([]byte, HeaderSize)...)
}

func TestParseHeader(t *testing.T) {
	b := first(t, undoHex)
	got, err := ParseHeader(b)
	want := Header{Space: 0xFFFFFFED, Size: 1024, FreeLimit: 320, ServerVersion: 90704, SpaceVersion: 1}
	if err != nil || got != want {
		t.Errorf("parse header: %+v, %v, want %+v", got, err, want)
	}
	if _, err := ParseHeader(b[:HeaderSize-1]); err == nil {
		t.Error("parse short header: no error")
	}
	if _, err := ParseHeader(make([]byte, HeaderSize)); !errors.Is(err, ErrBlank) {
		t.Errorf("parse blank header: %v, want ErrBlank", err)
	}
	for _, i := range []int{7, 25, 37, 57} { // number, type, space, flags
		b[i] ^= 0xff
		if _, err := ParseHeader(b); !errors.Is(err, page.ErrCorrupt) {
			t.Errorf("parse header with byte %d changed: %v, want ErrCorrupt", i, err)
		}
		b[i] ^= 0xff
	}
}

func TestFlags(t *testing.T) {
	for _, c := range []struct {
		flags Flags
		want  page.Size // zero for an error
		text  string
	}{
		{16417, page.Plain(16384), "post-antelope atomic-blobs sdi pages of 16384 bytes"},
		{18432, page.Plain(16384), "shared sdi pages of 16384 bytes"},
		{4096, page.Plain(16384), "temporary pages of 16384 bytes"},
		{0xC0, page.Plain(4096), "pages of 4096 bytes"},
		{0x1C0, page.Plain(65536), "pages of 65536 bytes"},
		{0x6023, page.Zip(16384, 1024), "post-antelope atomic-blobs encrypted sdi pages of 16384 bytes compressed to 1024"},
		{0x402B, page.Zip(16384, 16384), "post-antelope atomic-blobs sdi pages of 16384 bytes compressed to 16384"},
		{15 << 6, page.Size{}, ""},
	} {
		got, err := c.flags.PageSize()
		if c.want == (page.Size{}) {
			if err == nil {
				t.Errorf("page size of flags %#x: %s, want an error", uint32(c.flags), got)
			}
			continue
		}
		if err != nil || got != c.want || c.flags.String() != c.text {
			t.Errorf("flags %#x: %s, %v, %q, want %s, %q", uint32(c.flags), got, err, c.flags, c.want, c.text)
		}
	}
	if f := Flags(0x6423); !f.Encrypted() || f.Shared() || f.String() != "post-antelope atomic-blobs data-dir encrypted sdi pages of 16384 bytes compressed to 1024" {
		t.Errorf("flags %s, want encrypted, sdi and data-dir only", f)
	}
}

func TestSpaceIDs(t *testing.T) {
	for _, c := range []struct {
		id     uint32
		number int // of an undo tablespace
	}{
		{id: System}, {id: 1}, {id: 4243766279},
		{id: 4243767281}, {id: 4244167279}, // #innodb_temp/temp_1.ibt
		{id: 4244167280, number: 127}, {id: 4294967279, number: 1}, {id: 4294967278, number: 2}, {id: 4294967279 - 127, number: 1},
		{id: 0xFFFFFFF0}, {id: Temporary}, {id: Dictionary}, {id: Invalid},
	} {
		if IsUndo(c.id) != (c.number > 0) || UndoNumber(c.id) != c.number {
			t.Errorf("space %d: undo %v %d, want %d", c.id, IsUndo(c.id), UndoNumber(c.id), c.number)
		}
	}
}

func TestParseEncryption(t *testing.T) {
	size := page.Plain(16384)
	b := make([]byte, size.Physical)
	if _, ok := ParseEncryption(b, size); ok {
		t.Error("parse encryption of a page without: found")
	}
	info, err := hex.DecodeString("6c43430000000162623263386361642d653533372d313166312d386131652d303266633030303030303031ae2214")
	if err != nil {
		t.Fatal(err)
	}
	copy(b[10390:], info)
	got, ok := ParseEncryption(b, size)
	want := Encryption{Version: 3, MasterKey: 1, ServerUUID: "bb2c8cad-e537-11f1-8a1e-02fc00000001"}
	if !ok || got != want {
		t.Errorf("parse encryption: %+v, %v, want %+v", got, ok, want)
	}
	if _, ok := ParseEncryption(b[:10390], size); ok {
		t.Error("parse encryption of half a page: found")
	}
}

func TestIsSchema(t *testing.T) {
	for dir, want := range map[string]bool{"t": true, "a@002db": true, "performance_schema": true, "#innodb_redo": false,
		"lost+found": false, ".ssh": false, "a/b": false, "": false} {
		if got := IsSchema(dir); got != want {
			t.Errorf("is %q a schema: %v, want %v", dir, got, want)
		}
	}
}

func FuzzKind(f *testing.F) {
	f.Add("a/b.ibd")
	f.Add("#ib_16384_0.dblwr")
	f.Fuzz(func(t *testing.T, name string) {
		if k := (Names{}).Kind(name); k.String() == "unknown" {
			t.Errorf("kind of %q: %d", name, k)
		}
	})
}

func FuzzHeader(f *testing.F) {
	f.Add(make([]byte, 16384))
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := ParseHeader(b)
		if err != nil {
			return
		}
		size, err := h.Flags.PageSize()
		if err != nil {
			t.Fatalf("page size of an accepted header: %v", err)
		}
		if at := EncryptionOffset(size); at+encryptionSize > size.Physical {
			t.Errorf("%s: encryption at %d, behind the page", size, at)
		}
		ParseEncryption(b, size)
	})
}

func FuzzDataFiles(f *testing.F) {
	f.Add("ibdata1:12M;/fast/ibdata2:10M:autoextend:max:2G")
	f.Fuzz(func(t *testing.T, s string) {
		files, err := ParseDataFiles(s)
		for _, d := range files {
			if err != nil || d.Path == "" || d.Size < 0 || d.Max < 0 {
				t.Errorf("parse %q: %+v, %v", s, d, err)
			}
		}
	})
}

func TestSealedKey(t *testing.T) {
	size := page.Plain(16384)
	key := append([]byte("lCC"), bytes.Repeat([]byte{7}, 108)...)
	first := make([]byte, size.Physical)
	if got := SealedKey(first, size); got != nil {
		t.Errorf("a page without: got %x", got)
	}
	PutSealedKey(first, size, key)
	if got := SealedKey(first, size); !bytes.Equal(got, key) {
		t.Errorf("got %x, want %x", got, key)
	}
	if f := Flags(binary.BigEndian.Uint32(first[offFSP+16:])); !f.Encrypted() {
		t.Errorf("flags %v, want encrypted", f)
	}
	for n := range size.Physical - 1 { // cut pages
		if n%97 == 0 {
			SealedKey(first[:n], size)
		}
	}
}
