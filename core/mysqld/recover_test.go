package mysqld_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/remora-backup/remora/core/code"
	"github.com/remora-backup/remora/core/mysqld"
	"github.com/remora-backup/remora/core/mysqld/lab"
	"github.com/remora-backup/remora/core/mysqld/mysqldtest"
	"github.com/remora-backup/remora/core/needs"
)

// TestRecover recovers a server that was killed, and damaged copies of it.
func TestRecover(t *testing.T) {
	needs.Server(t)
	crashed := crash(t)
	end := redoEnd(t, crashed)
	options := func(dir string) mysqld.RecoverOptions {
		return mysqld.RecoverOptions{
			Bin: mysqldtest.Binary(t), DataDir: dir, Home: dir + ".home", EndLSN: end,
			LowerCaseTableNames: 0, BufferPool: 5 << 20, LogBin: "binlog", RedoBytes: 64 << 20,
			Args: []string{"--innodb-flush-method=nosync"},
		}
	}

	t.Run("whole", func(t *testing.T) {
		dir := copyOf(t, crashed)
		o := options(dir)
		var percents []int
		calls := 0
		o.OnProgress = func(p mysqld.Progress) {
			calls++
			if (p.Percent == nil) != (calls == 1) {
				t.Errorf("call %d: percent %v", calls, p.Percent)
			}
			if p.Percent != nil {
				percents = append(percents, *p.Percent)
			}
		}
		r, err := mysqld.Recover(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		if r.ScannedLSN != end || r.CheckpointLSN == 0 || r.FinalLSN < end {
			t.Errorf("result: %+v, want scanned to %d", r, end)
		}
		if len(percents) < 6 || percents[0] != 0 || percents[len(percents)-1] != 100 || !slices.IsSorted(percents) {
			t.Errorf("percents: got %v", percents)
		}
		if _, err := os.Stat(filepath.Join(dir, "binlog.000003")); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("recovery should add one binary log file, binlog.000002: %v", err)
		}
		s := mysqldtest.StartDir(t, dir)
		if got := s.QueryString("SELECT CONCAT(COUNT(*), ' ', SUM(c = 'lost')) FROM d.t"); got != "32768 0" {
			t.Errorf("rows and uncommitted changes: got %s, want 32768 0", got)
		}
		// What the server calls an error, and is none of the data.
		for _, code := range []string{"MY-013589", "MY-010901", "MY-013129"} {
			if !strings.Contains(strings.Join(r.Errors, "\n"), code) {
				t.Errorf("errors: got %q, want %s among them", r.Errors, code)
			}
		}
		if got := s.QueryString("SELECT id FROM aux.nul"); got != "7" {
			t.Errorf("row of aux.nul: got %s, want 7", got)
		}
	})

	for _, c := range []struct {
		name   string
		damage func(t *testing.T, dir string)
		end    uint64
		want   string // in the error
	}{
		{"end not reached", nil, end + 8, fmt.Sprintf("up to LSN %d, the backup ends at %d", end, end+8)},
		{"end passed", nil, end - 8, fmt.Sprintf("up to LSN %d, the backup ends at %d", end, end-8)},
		{"bad checksum", func(t *testing.T, dir string) { breakBlock(t, dir, false) }, end, "MY-012545"},
		{"bad record", func(t *testing.T, dir string) { breakBlock(t, dir, true) }, end, "mysqld: [MY-01"}, // which depends on the record before it
		{"missing tablespace", func(t *testing.T, dir string) { remove(t, dir, "d/t.ibd") }, end, "MY-012179"},
		{"missing redo log", func(t *testing.T, dir string) { remove(t, dir, "#innodb_redo/*") }, end, "MY-012893"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := copyOf(t, crashed)
			if c.damage != nil {
				c.damage(t, dir)
			}
			o := options(dir)
			o.EndLSN = c.end
			o.BufferPool = 64 << 20
			o.OnProgress = func(p mysqld.Progress) {
				if p.Percent != nil && *p.Percent == 100 && c.end > end {
					t.Error("100 percent without having reached the end")
				}
			}
			_, err := mysqld.Recover(t.Context(), o)
			if err == nil || code.Of(err) != code.Integrity || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v (code %d), want code %d with %q", err, code.Of(err), code.Integrity, c.want)
			}
		})
	}

	t.Run("cancelled", func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(t.Context())
		why := errors.New("no longer wanted")
		o := options(copyOf(t, crashed))
		o.OnProgress = func(p mysqld.Progress) {
			if p.Percent != nil {
				cancel(why)
			}
		}
		if _, err := mysqld.Recover(ctx, o); !errors.Is(err, why) {
			t.Errorf("got %v, want %v", err, why)
		}
	})
}

// A server without the keyring leaves encrypted tables as they are, the changes of open transactions too, and starts.
func TestRecoverWithoutTheKeyring(t *testing.T) {
	needs.Server(t)
	bin, _ := mysqldtest.Keyring(t)
	s := mysqldtest.Start(t, mysqldtest.Bin(bin))
	s.Exec("CREATE DATABASE d", "CREATE TABLE d.sealed (id INT PRIMARY KEY) ENCRYPTION='Y'", "INSERT INTO d.sealed VALUES (1)")
	// The one on the encrypted table is rolled back after the bigger one: not before the server could be asked.
	s.Exec("CREATE TABLE d.t (id INT PRIMARY KEY AUTO_INCREMENT, v INT)", "INSERT INTO d.t (v) VALUES (1)")
	for range 16 {
		s.Exec("INSERT INTO d.t (v) SELECT v FROM d.t")
	}
	for _, change := range []string{"UPDATE d.sealed SET id = 2", "UPDATE d.t SET v = 2"} {
		tx, err := s.DB().BeginTx(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := tx.Exec(change); err != nil {
			t.Fatal(err)
		}
	}
	s.Exec("FLUSH ENGINE LOGS", "DO innodb_redo_log_sharp_checkpoint()")
	s.Kill()
	recover := func(bin, dir string, end uint64) (mysqld.RecoverResult, error) {
		return mysqld.Recover(t.Context(), mysqld.RecoverOptions{Bin: bin, DataDir: dir, Home: dir + ".home", EndLSN: end, LogBin: "binlog", RedoBytes: 64 << 20})
	}
	r, _ := recover(bin, copyOf(t, s.Dir), 1<<60)
	end := max(r.ScannedLSN, r.CheckpointLSN)
	if _, err := recover(mysqldtest.Binary(t), copyOf(t, s.Dir), end); code.Of(err) != code.Integrity || !strings.Contains(err.Error(), "must be given the keyring") {
		t.Errorf("without the keyring: got %v, want code %d and what is missing", err, code.Integrity)
	}
	r, err := recover(bin, copyOf(t, s.Dir), end)
	if err != nil {
		t.Fatalf("with the keyring: %v", err)
	}
	if !slices.ContainsFunc(r.Answers.Tablespaces, func(s mysqld.Tablespace) bool { return s.Name == "d/sealed" && s.State == "normal" && s.Size > 0 }) {
		t.Errorf("tablespaces: got %+v", r.Answers.Tablespaces)
	}
}

// Some servers repeat this message for ever: the first one ends them.
// What a full disk leads to says nothing of the data.
func TestRecoverOnAFullDisk(t *testing.T) {
	const stamp = "2026-11-20T22:15:00.000000Z 1 "
	for name, line := range map[string]string{
		"InnoDB": stamp + "[ERROR] [MY-012640] [InnoDB] Error number 28 means 'No space left on device'",
		"binlog": stamp + "[ERROR] [MY-010907] [Server] Error writing file 'b.000002' (errno: 28 - No space left on device)",
		"other":  stamp + "[ERROR] [MY-012640] [InnoDB] Error number 281 means something else",
	} {
		bin := filepath.Join(t.TempDir(), "mysqld")
		write(t, bin, "#!/bin/sh\ncat <<'END'\n"+line+"\nEND\nexit 2\n", 0o755)
		_, err := mysqld.Recover(t.Context(), mysqld.RecoverOptions{Bin: bin, DataDir: t.TempDir(), Home: filepath.Join(t.TempDir(), "home"), EndLSN: 8704})
		want := code.NoSpace
		if name == "other" {
			want = code.Unclassified
		}
		if code.Of(err) != want {
			t.Errorf("%s: got code %d of %v, want %d", name, code.Of(err), err, want)
		}
	}
}

func TestRecoverEndsAFlood(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	flood := filepath.Join(t.TempDir(), "mysqld")
	write(t, flood, "#!/bin/bash\nwhile :; do echo '"+note("MY-012519", "CORRUPT LOG RECORD FOUND")+"'; done\n", 0o755)
	r, err := mysqld.Recover(ctx, mysqld.RecoverOptions{Bin: flood, DataDir: t.TempDir(), Home: filepath.Join(t.TempDir(), "home"), EndLSN: 10_000})
	if code.Of(err) != code.Integrity || !strings.Contains(err.Error(), "CORRUPT LOG RECORD") {
		t.Errorf("got %v (code %d), want code %d", err, code.Of(err), code.Integrity)
	}
	if len(r.Errors) > 10 {
		t.Errorf("kept %d lines, want at most 10", len(r.Errors))
	}
}

// crash returns the data of a server that was killed with redo to apply and a transaction open.
func crash(t *testing.T) string {
	t.Helper()
	s := mysqldtest.Start(t, mysqldtest.Args("--innodb-redo-log-capacity=64M", "--innodb-adaptive-flushing=OFF",
		"--innodb-max-dirty-pages-pct=99", "--innodb-max-dirty-pages-pct-lwm=99", "--innodb-idle-flush-pct=0"))
	s.Exec("CREATE DATABASE d", "CREATE TABLE d.t (id INT PRIMARY KEY AUTO_INCREMENT, c CHAR(255), KEY(c))",
		"INSERT INTO d.t (c) VALUES ('a')")
	for range 15 {
		s.Exec("INSERT INTO d.t (c) SELECT REPEAT(CHAR(97 + RAND() * 25), 255) FROM d.t")
	}
	s.Exec("CREATE DATABASE aux", "CREATE TABLE aux.nul (id INT PRIMARY KEY)", "INSERT INTO aux.nul VALUES (7)",
		"INSERT INTO mysql.plugin VALUES ('gone', 'gone.so')", "INSERT INTO mysql.component VALUES (99, 99, 'file://component_gone')")
	tx, err := s.DB().BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec("UPDATE d.t SET c = 'lost' WHERE id < 1000"); err != nil {
		t.Fatal(err)
	}
	s.Exec("FLUSH ENGINE LOGS")
	s.Kill()
	return s.Dir
}

// redoEnd lets a copy be recovered to learn where its redo log ends.
func redoEnd(t *testing.T, crashed string) uint64 {
	t.Helper()
	r, err := mysqld.Recover(t.Context(), mysqld.RecoverOptions{
		Bin: mysqldtest.Binary(t), DataDir: copyOf(t, crashed), Home: filepath.Join(t.TempDir(), "home"), EndLSN: 1 << 60, LogBin: "binlog",
		RedoBytes: 64 << 20, Args: []string{"--innodb-flush-method=nosync"},
	})
	if err == nil || r.ScannedLSN == 0 {
		t.Fatalf("recover up to an LSN that is not there: got %+v, %v", r, err)
	}
	return r.ScannedLSN
}

func copyOf(t *testing.T, dir string) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), "data")
	if err := lab.CopyDir(t.Context(), dir, to); err != nil {
		t.Fatal(err)
	}
	return to
}

func remove(t *testing.T, dir, pattern string) {
	t.Helper()
	files, _ := filepath.Glob(filepath.Join(dir, pattern))
	if len(files) == 0 {
		t.Fatalf("nothing to remove: %s", pattern)
	}
	for _, f := range files {
		if err := os.Remove(f); err != nil {
			t.Fatal(err)
		}
	}
}

// breakBlock damages a block in the middle of the redo log; with a new checksum the damage is in the records.
func breakBlock(t *testing.T, dir string, sealed bool) {
	t.Helper()
	files, _ := filepath.Glob(filepath.Join(dir, "#innodb_redo", "#ib_redo*[0-9]"))
	slices.Sort(files)
	if len(files) < 3 {
		t.Fatalf("redo files: got %v, want at least 3", files)
	}
	f, err := os.OpenFile(files[1], os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	const at = 2048 + 100*512
	block := make([]byte, 512)
	if _, err := f.ReadAt(block, at); err != nil {
		t.Fatal(err)
	}
	for i := 12; i < 508; i++ {
		block[i] = 0xFF
	}
	if sealed {
		binary.BigEndian.PutUint32(block[508:], crc32.Checksum(block[:508], crc32.MakeTable(crc32.Castagnoli)))
	}
	if _, err := f.WriteAt(block, at); err != nil {
		t.Fatal(err)
	}
}
