package xtrabackup

import (
	"strings"
	"testing"
)

const checkpoints = "backup_type = full-backuped\nfrom_lsn = 0\nto_lsn = 24785178\nlast_lsn = 24785188\nflushed_lsn = 0\nredo_memory = 0\nredo_frames = 0\n"

func TestCheckpoints(t *testing.T) {
	got, err := ParseCheckpoints([]byte(checkpoints))
	if want := (Checkpoints{Type: Full, To: 24785178, Last: 24785188}); err != nil || got != want {
		t.Errorf("got %+v, %v, want %+v", got, err, want)
	}
	want := strings.Replace(checkpoints, "full-backuped", "full-prepared", 1)
	incremental := strings.Replace(strings.Replace(checkpoints, "full-backuped", "incremental", 1), "from_lsn = 0", "from_lsn = 77", 1)
	if got := string(MarkPrepared([]byte(incremental))); got != want {
		t.Errorf("mark prepared: got %q, want %q", got, want)
	}
	for _, bad := range []string{"", "backup_type = full\n", strings.Replace(checkpoints, "24785188", "-1", 1), strings.Replace(checkpoints, "to_lsn", "t", 1)} {
		if c, err := ParseCheckpoints([]byte(bad)); err == nil {
			t.Errorf("%q: got %+v, want an error", bad, c)
		}
	}
}

func TestInfo(t *testing.T) {
	const text = "tool_command = --backup --lock-ddl=REDUCED server_version = 5.7\nserver_version = 8.4.8-8\nserver_flavor = Percona Server\ncompressed = compressed\nencrypted = N\n"
	got, err := ParseInfo([]byte(text))
	if want := (Info{ServerVersion: "8.4.8-8", ServerFlavor: "Percona Server", LockDDL: "ON", Compressed: true}); err != nil || got != want {
		t.Errorf("got %+v, %v, want %+v", got, err, want)
	}
	if got, err = ParseInfo([]byte(text + "lock_ddl_type = REDUCED\n")); err != nil || got.LockDDL != "REDUCED" {
		t.Errorf("got %+v, %v, want REDUCED", got, err)
	}
	for _, bad := range []string{"", text + "lock_ddl_type = MAYBE\n"} {
		if got, err := ParseInfo([]byte(bad)); err == nil {
			t.Errorf("%q: got %+v, want an error", bad, got)
		}
	}
}

func TestSettings(t *testing.T) {
	const text = "# comment\n[mysqld]\ninnodb_log_checksums=1\ninnodb_data_file_path=ibdata1:12M;ibdata2:10M:autoextend\ninnodb_page_size=16384\n"
	got, err := ParseSettings([]byte(text))
	if want := (Settings{DataFilePath: "ibdata1:12M;ibdata2:10M:autoextend", PageSize: 16384, LogChecksums: true}); err != nil || got != want {
		t.Errorf("got %+v, %v, want %+v", got, err, want)
	}
	if got, _ = ParseSettings([]byte(strings.Replace(text, "sums=1", "sums=0", 1))); got.LogChecksums {
		t.Error("innodb_log_checksums=0 was not seen")
	}
	if got, err = ParseSettings([]byte(strings.Replace(text, "16384", "16385", 1))); err == nil {
		t.Errorf("page size 16385: got %+v, want an error", got)
	}
}

func TestBinlogInfo(t *testing.T) {
	got, err := ParseBinlogInfo([]byte("binlog.000003\t157\ta-b:1-5,\nc-d:1-7\n"))
	if want := (Position{File: "binlog.000003", Offset: 157, GTIDs: "a-b:1-5,c-d:1-7"}); err != nil || got != want {
		t.Errorf("got %+v, %v, want %+v", got, err, want)
	}
	for _, bad := range []string{"", "binlog.000003", "../binlog.000003\t4\n", "b\tx\n"} {
		if got, err := ParseBinlogInfo([]byte(bad)); err == nil {
			t.Errorf("%q: got %+v, want an error", bad, got)
		}
	}
}

func TestMarkers(t *testing.T) {
	tests := []struct {
		name string
		want Marker
		ok   bool
	}{
		{"d/t.ibd.crpt", Marker{Kind: Corrupt, File: "d/t.ibd"}, true},
		{"x.new/my.new.ibd.new", Marker{Kind: New, File: "x.new/my.new.ibd"}, true},
		{"d/12.del", Marker{Kind: Delete, Space: 12}, true},
		{"4294967279.del", Marker{Kind: Delete, Space: 4294967279}, true},
		{"d/12.ren", Marker{Kind: Rename, Space: 12}, true},
		{"x.new/my.new.ibd", Marker{}, false},
		{"d/.new", Marker{}, false},
		{"d/new", Marker{}, false},
	}
	for _, tt := range tests {
		got, ok, err := ParseMarker(tt.name)
		tt.want.Path = tt.name
		if err != nil || ok != tt.ok || ok && got != tt.want {
			t.Errorf("%s: got %+v, %v, %v, want %+v, %v", tt.name, got, ok, err, tt.want, tt.ok)
		}
	}
	for _, bad := range []string{"d/t.del", "d/4294967296.ren", "d/-1.del"} {
		if got, ok, err := ParseMarker(bad); err == nil || !ok {
			t.Errorf("%s: got %+v, %v, want an error", bad, got, ok)
		}
	}
}

func TestRename(t *testing.T) {
	for text, want := range map[string]string{
		"1\nd/t.ibd": "d/t.ibd", "1\n./d/t.ibd\n": "d/t.ibd", "1\n/elsewhere/d/t.ibd": "d/t.ibd", "1\n./g.ibd": "g.ibd",
		"": "", "2\nd/t.ibd": "", "1\n": "", "1\n../t.ibd": "", "1\nd/../../t.ibd": "", "1\na\nb": "", "1\n/": "", "d/t.ibd": "",
	} {
		if got, err := ParseRename([]byte(text)); got != want && want != "" || (err == nil) != (want != "") {
			t.Errorf("%q: got %q, %v, want %q", text, got, err, want)
		}
	}
}

func TestPacked(t *testing.T) {
	for name, want := range map[string]string{"d/t.ibd.zst": "--decompress", "t.qp": "--decompress", "t.ibd.xbcrypt": "--decrypt", "b.xbstream": "xbstream -x", "d/t.ibd": ""} {
		if got := Packed(name); !strings.Contains(got, want) || want == "" && got != "" {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
}
