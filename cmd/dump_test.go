package cmd

import (
	"compress/gzip"
	"flag"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/remora-backup/remora/core/code"
)

var update = flag.Bool("update", false, "write what the dump commands print to testdata/dump")

// unpacked returns the path of a file without its compression.
func unpacked(t *testing.T, name string) string {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	to := filepath.Join(t.TempDir(), strings.TrimSuffix(filepath.Base(name), ".gz"))
	if err := os.WriteFile(to, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return to
}

func dump(t *testing.T, args ...string) (string, string, code.Code) {
	t.Helper()
	var out, failed buffer
	got := Main(t.Context(), Env{Args: append([]string{"dump"}, args...), Getenv: os.Getenv, Stdin: strings.NewReader(""), Stdout: &out, Stderr: &failed})
	return out.String(), failed.String(), code.Code(got)
}

// TestDump shows real files of a MySQL 9.7.4.
func TestDump(t *testing.T) {
	log := unpacked(t, "../core/innodb/redo/testdata/16k.redo.gz")
	table := unpacked(t, "testdata/dump/small.ibd.gz")
	for name, args := range map[string][]string{
		"redo":   {"redo", log, "--from", "20366000"},
		"ibd":    {"ibd", table},
		"page":   {"page", table, "--page", "4"},
		"binlog": {"binlog", "../core/binlog/testdata/tagged-9.7.4.binlog"},
	} {
		t.Run(name, func(t *testing.T) {
			got, failed, c := dump(t, args...)
			if c != code.Done {
				t.Fatalf("code %d: %s", c, failed)
			}
			golden := filepath.Join("testdata/dump", name+".txt")
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("%s differs from\n%s", golden, got)
			}
		})
	}
}

func TestDumpOfDamage(t *testing.T) {
	damaged := func(path string, at int64) string {
		f, err := os.OpenFile(path, os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if _, err := f.WriteAt([]byte("damage"), at); err != nil {
			t.Fatal(err)
		}
		return path
	}
	table := damaged(unpacked(t, "testdata/dump/small.ibd.gz"), 4*8192+1000)
	log := damaged(unpacked(t, "../core/innodb/redo/testdata/16k.redo.gz"), 2048+512*3+100)
	tests := []struct {
		name string
		args []string
		text string
		want code.Code
	}{
		{"page in file", []string{"ibd", table}, "page 4 type=INDEX space=1 lsn=16746255 verdict=checksum mismatch\n", code.Integrity},
		{"page", []string{"page", table, "--page", "4"}, "verdict    checksum mismatch\n", code.Done},
		{"block", []string{"redo", log}, "state=torn\n", code.Done},
		{"not a tablespace", []string{"ibd", log}, "", code.Integrity},
		{"not redo", []string{"redo", "dump_test.go"}, "", code.Integrity},
		{"not a binlog", []string{"binlog", table}, "", code.Integrity},
		{"page behind the end", []string{"page", table, "--page", "7"}, "", code.Usage},
		{"no file", []string{"ibd", filepath.Join(t.TempDir(), "x")}, "", code.Usage},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, failed, c := dump(t, tt.args...)
			if c != tt.want || !strings.Contains(got, tt.text) || c != code.Done && !strings.Contains(failed, "error: ") {
				t.Errorf("got code %d, %s%s; want code %d, %q", c, got, failed, tt.want, tt.text)
			}
		})
	}
}
