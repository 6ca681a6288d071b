package backup_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/remora-backup/remora/core/backup"
	"github.com/remora-backup/remora/core/code"
	"github.com/remora-backup/remora/core/innodb/redo"
	"github.com/remora-backup/remora/core/mysqld/mysqldtest"
	"github.com/remora-backup/remora/core/needs"
	"github.com/remora-backup/remora/core/repo"
	"github.com/remora-backup/remora/core/restore"
	"github.com/remora-backup/remora/core/run"
	"github.com/remora-backup/remora/core/syncpoint"
	"github.com/remora-backup/remora/examples/workload"
)

// secret is a text that must not be readable in a backup.
const secret = "the quick brown secret"

// An encrypted redo log is read with the server's keyring, and stays encrypted in the backup.
func TestEncryptedRedo(t *testing.T) {
	needs.Server(t)
	bin, keys := mysqldtest.Keyring(t)
	l := newLab(t, mysqldtest.Bin(bin), mysqldtest.Args("--innodb-redo-log-encrypt=ON", "--innodb-undo-log-encrypt=ON"))
	l.source.Exec("CREATE DATABASE e", "CREATE TABLE e.t (id INT PRIMARY KEY AUTO_INCREMENT, v VARCHAR(100)) ENCRYPTION='Y'")
	stop := l.busy(workload.Options{Tables: 1, Rows: 3000, Seed: 7}, 2)
	defer stop()
	for range 50 {
		l.source.Exec("INSERT INTO e.t (v) VALUES ('" + secret + "')")
	}
	res, _, err := l.backup(func(c *backup.Config) { c.KeyringFile, c.Compression = keys, repo.None })
	if err != nil {
		t.Fatalf("backup: %v", err)
	}
	stop()

	raw := l.plainFiles()
	blocks, err := os.ReadFile(filepath.Join(raw, redo.Dir, "#ib_redo0"))
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(blocks, []byte(secret)) {
		t.Error("the redo in the backup tells what is in an encrypted table")
	}
	size := redo.HeaderSize + int(redo.LSN(res.LSN).BlockStart()-redo.LSN(mustHeader(t, blocks).Start))
	if last := blocks[size : size+redo.BlockSize]; !redo.IsEncrypted(last) && redo.LSN(res.LSN).Offset() != redo.BlockHeader {
		t.Error("the last block, which was cut, is not encrypted")
	}
	l.sameWith(bin, res)
}

func mustHeader(t *testing.T, b []byte) redo.FileHeader {
	t.Helper()
	h, err := redo.ParseFileHeader(b)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// plainFiles writes the newest backup as plain files.
func (l *lab) plainFiles() string {
	l.t.Helper()
	r, err := repo.Open(l.t.Context(), l.storage)
	if err != nil {
		l.t.Fatal(err)
	}
	target := filepath.Join(l.t.TempDir(), "export")
	plan, err := restore.NewExport(restore.Config{ID: "test", Repo: r, BackupID: repo.Latest, Target: target})
	if err == nil {
		err = run.Do(l.t.Context(), plan, run.Options{})
	}
	if err != nil {
		l.t.Fatalf("export: %v", err)
	}
	return target
}

// sameWith restores with a server that has the keyring, and compares.
func (l *lab) sameWith(bin string, res backup.Result) {
	l.t.Helper()
	r, err := repo.Open(l.t.Context(), l.storage)
	if err != nil {
		l.t.Fatal(err)
	}
	target := filepath.Join(l.t.TempDir(), "data")
	plan, err := restore.New(restore.Config{ID: "test", Repo: r, BackupID: repo.Latest, Target: target, Mysqld: bin})
	if err == nil {
		err = run.Do(l.t.Context(), plan, run.Options{})
	}
	if err != nil {
		l.t.Fatalf("restore: %v", err)
	}
	l.same(mysqldtest.StartDir(l.t, target, mysqldtest.TCP(), mysqldtest.Bin(bin)), res)
}

// Encryption that is switched on, and a master key that is rotated, while redo is followed.
func TestRedoEncryptionSwitchedOn(t *testing.T) {
	needs.Server(t)
	bin, keys := mysqldtest.Keyring(t)
	l := newLab(t, mysqldtest.Bin(bin))
	stop := l.busy(workload.Options{Tables: 1, Rows: 3000, Seed: 8}, 2)
	defer stop()
	l.hold(syncpoint.RedoCaughtUp, 1, func() {
		l.source.Exec("SET GLOBAL innodb_redo_log_encrypt = ON", "INSERT INTO shop.`select` (`where`) VALUES ('"+secret+"')", "ALTER INSTANCE ROTATE INNODB MASTER KEY")
	})
	res, _, err := l.backup(func(c *backup.Config) { c.KeyringFile = keys })
	if err != nil {
		t.Fatalf("backup: %v", err)
	}
	stop()
	l.sameWith(bin, res)
}

func TestEncryptedRedoIsRefusedWithoutItsKey(t *testing.T) {
	needs.Server(t)
	bin, keys := mysqldtest.Keyring(t)
	l := newLab(t, mysqldtest.Bin(bin), mysqldtest.Args("--innodb-redo-log-encrypt=ON"))
	b, err := os.ReadFile(keys)
	if err != nil {
		t.Fatal(err)
	}
	var ring struct {
		Version  string           `json:"version"`
		Elements []map[string]any `json:"elements"`
	}
	if err := json.Unmarshal(b, &ring); err != nil {
		t.Fatal(err)
	}
	write := func(name string, text []byte) string {
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for _, e := range ring.Elements {
		e["data"] = strings.Repeat("00", 32)
	}
	wrong, err := json.Marshal(ring)
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		file string
		want code.Code
		text string
	}{
		"no setting":   {"", code.Usage, "the setting [mysql] keyring_file is not there"},
		"no file":      {filepath.Join(t.TempDir(), "x"), code.Usage, "no such file"},
		"wrong key":    {write("wrong", wrong), code.Integrity, redo.ErrKey.Error()},
		"other keys":   {write("other", []byte(`{"version":"1.0","elements":[]}`)), code.Integrity, "no such key"},
		"no data file": {write("plugin", []byte("Keyring file version:2.0")), code.Usage, "no data file of component_keyring_file"},
	} {
		_, _, err := l.backup(func(c *backup.Config) { c.KeyringFile = tt.file })
		if code.Of(err) != tt.want || !strings.Contains(err.Error(), tt.text) {
			t.Errorf("%s: got code %d, %v; want %d, %q", name, code.Of(err), err, tt.want, tt.text)
		}
		if !strings.Contains(code.HintOf(err), "keyring_file") {
			t.Errorf("%s: hint is %q, want it to name the setting", name, code.HintOf(err))
		}
	}
}
