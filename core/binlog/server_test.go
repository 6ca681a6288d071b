package binlog_test

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/remora-backup/remora/core/binlog"
	"github.com/remora-backup/remora/core/keyring"
	"github.com/remora-backup/remora/core/mysqld/mysqldtest"
	"github.com/remora-backup/remora/core/needs"
	"github.com/remora-backup/remora/core/version"
)

const other = "ffffffff-8000-7f7f-8080-000000000001" // bytes of either number of bits

// steps end each with a transaction of a kind of its own. The connection is
// the same for all of them. Those with a tag are for servers that know tags.
var steps = [][]string{
	{"CREATE DATABASE b", "CREATE TABLE b.t (id INT PRIMARY KEY AUTO_INCREMENT, v LONGTEXT)"},
	{"INSERT INTO b.t (v) VALUES ('x')"},
	{"SET gtid_next = 'AUTOMATIC:nightly'", "INSERT INTO b.t (v) VALUES ('tagged')", "CREATE TABLE b.u (id INT)"},
	{"SET gtid_next = 'AUTOMATIC:a_very_long_tag_of_32_characters'", "DROP TABLE b.u"},
	{"SET gtid_next = '" + other + ":300'", "INSERT INTO b.t (v) VALUES ('other')"},
	{"SET original_commit_timestamp = 1700000000000000", "SET gtid_next = '" + other + ":302'", "DELETE FROM b.t WHERE id = 1"},
	{"SET gtid_next = '" + other + ":zz:7'", "DELETE FROM b.t WHERE id = 2"},
	{"SET gtid_next = '" + other + ":zz:9223372036854775806'", "INSERT INTO b.t (v) VALUES ('last')"},
	{"SET original_commit_timestamp = DEFAULT", "SET gtid_next = 'AUTOMATIC'", "SET binlog_transaction_compression = ON", "INSERT INTO b.t (v) VALUES (REPEAT('z', 100000))"},
	{"SET gtid_next = 'AUTOMATIC:nightly'", "INSERT INTO b.t (v) VALUES (REPEAT('y', 300000))"},
	{"SET gtid_next = 'AUTOMATIC'", "SET binlog_transaction_compression = OFF", "INSERT INTO b.t (v) VALUES (REPEAT('long', 1000000))"},
	{"XA START 'x'", "INSERT INTO b.t (v) VALUES ('xa')", "XA END 'x'", "XA PREPARE 'x'", "XA COMMIT 'x'"},
	{"FLUSH BINARY LOGS"},
	{"INSERT INTO b.t (v) VALUES ('next file')"},
	{"SET GLOBAL binlog_checksum = NONE"},
	{"INSERT INTO b.t (v) VALUES ('no checksum')", "UPDATE b.t SET v = 'u' WHERE id < 4"},
}

// TestServer compares, after each step, what the log says with gtid_executed.
func TestServer(t *testing.T) {
	needs.Server(t)
	s := mysqldtest.Start(t)
	type point struct {
		file  string
		pos   int64
		gtids string
	}
	v, err := version.Parse(s.QueryString("SELECT VERSION()"), "")
	if err != nil {
		t.Fatal(err)
	}
	tagged := regexp.MustCompile(`gtid_next = '[^':]+:[a-z]`)
	var points []point
	for _, step := range steps {
		if !v.AtLeast(8, 3, 0) && tagged.MatchString(strings.Join(step, ";")) {
			continue
		}
		s.Exec(step...)
		file, pos := s.Position()
		points = append(points, point{file, int64(pos), s.QueryString("SELECT @@GLOBAL.gtid_executed")})
	}
	checked := map[string]bool{}
	for i, p := range points {
		b, err := os.ReadFile(filepath.Join(s.Dir, p.file))
		if err != nil {
			t.Fatal(err)
		}
		got, err := binlog.ExecutedAt(bytes.NewReader(b), p.pos)
		if want := strings.ReplaceAll(p.gtids, "\n", ""); err != nil || got.String() != want {
			t.Errorf("step %d: executed at %s:%d: %s, %v, want %s", i, p.file, p.pos, got, err, want)
		}
		if again, err := binlog.ParseGTIDSet(p.gtids); err != nil || again.String() != got.String() {
			t.Errorf("parse %q: %s, %v, want %s", p.gtids, again, err, got)
		}
		if !checked[p.file] {
			checked[p.file] = true
			everyPosition(t, b)
		}
	}
	if len(checked) != 3 {
		t.Errorf("checked the logs %v, want three", checked)
	}
}

// TestEncryptedServer compares, after each step, what the encrypted log says with gtid_executed, before and after the
// server's master key was rotated: then it has written the header anew.
func TestEncryptedServer(t *testing.T) {
	needs.Server(t)
	bin, ring := mysqldtest.Keyring(t)
	s := mysqldtest.Start(t, mysqldtest.Bin(bin), mysqldtest.Args("--binlog-encryption=ON"))
	s.Exec("CREATE DATABASE b", "CREATE TABLE b.t (id INT PRIMARY KEY AUTO_INCREMENT, v LONGTEXT)", "INSERT INTO b.t (v) VALUES (REPEAT('x', 100))")
	file, pos := s.Position()
	gtids := s.QueryString("SELECT @@GLOBAL.gtid_executed")
	path := filepath.Join(s.Dir, file)
	for _, rotated := range []bool{false, true} {
		if rotated {
			s.Exec("ALTER INSTANCE ROTATE BINLOG MASTER KEY")
		}
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if _, err := binlog.NewReader(f); !errors.Is(err, binlog.ErrEncrypted) {
			t.Errorf("read as it is: %v, want %v", err, binlog.ErrEncrypted)
		}
		plain, err := keyring.Binlog(ring, "", f)
		if err != nil {
			t.Fatal(err)
		}
		got, err := binlog.ExecutedAt(io.NewSectionReader(plain, 0, int64(pos)), int64(pos))
		if err != nil || got.String() != gtids {
			t.Errorf("key rotated %v: executed at %s:%d: %s, %v, want %s", rotated, file, pos, got, err, gtids)
		}
		if *update && !rotated {
			keep(t, f, ring)
		}
	}
}

var update = flag.Bool("update", false, "keep the encrypted log of a real server, and its key")

func keep(t *testing.T, log *os.File, ring string) {
	t.Helper()
	b, err := os.ReadFile(log.Name())
	if err != nil {
		t.Fatal(err)
	}
	e, err := binlog.ParseEncryption(b)
	if err != nil {
		t.Fatal(err)
	}
	keys, err := keyring.Read(ring)
	if err != nil {
		t.Fatal(err)
	}
	for name, b := range map[string][]byte{"binlog": b, "key": fmt.Appendf(nil, "%x\n", keys[e.KeyName])} {
		if err := os.WriteFile("testdata/encrypted-9.7.4."+name, b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// everyPosition asks for the positions around every event of a log. Those must
// be accepted behind which no transaction goes on.
func everyPosition(t *testing.T, b []byte) {
	d, err := binlog.NewReader(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	seen := map[binlog.Type]int{}
	for {
		at, good := d.Position(), true
		e, err := d.Next()
		switch {
		case err == io.EOF:
			at = int64(len(b))
		case err != nil:
			t.Fatal(err)
		default:
			seen[e.Type]++
			switch e.Type {
			case binlog.GTIDEvent, binlog.TaggedGTID, binlog.PreviousGTIDs, binlog.Rotate, binlog.Stop:
			default:
				good = false
			}
		}
		for _, by := range []int64{-1, 0, 1} {
			_, got := binlog.ExecutedAt(bytes.NewReader(b), at+by)
			want := binlog.ErrPosition
			switch {
			case by == 0 && good:
				want = nil
			case at+by > int64(len(b)):
				want = io.ErrUnexpectedEOF
			}
			if !errors.Is(got, want) {
				t.Errorf("executed at %d, %+d from an event's beginning: %v, want %v", at+by, by, got, want)
			}
		}
		if err == io.EOF {
			t.Logf("%v of %s", seen, d.Format().Server)
			return
		}
	}
}
