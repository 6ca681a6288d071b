package prepare_test

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/remora-backup/remora/core/code"
	"github.com/remora-backup/remora/core/innodb/redo"
	"github.com/remora-backup/remora/core/keyring"
	"github.com/remora-backup/remora/core/mysqld/lab"
	"github.com/remora-backup/remora/core/mysqld/mysqldtest"
	"github.com/remora-backup/remora/core/needs"
	"github.com/remora-backup/remora/core/repo"
	"github.com/remora-backup/remora/core/xtrabackup"
)

// A table outside the data directory lies in its schema's directory in a backup, and is
// found there; the file of the source, if this is its machine, is not touched.
func TestPrepareExternalTablespace(t *testing.T) {
	needs.Server(t)
	outside := t.TempDir()
	s := mysqldtest.Start(t, mysqldtest.Args("--innodb-directories="+outside))
	s.Exec("CREATE DATABASE d", "CREATE TABLE d.t (id INT PRIMARY KEY AUTO_INCREMENT, v TEXT)",
		"CREATE TABLE d.outside (id INT PRIMARY KEY AUTO_INCREMENT, v TEXT) DATA DIRECTORY='"+outside+"'",
		"CREATE TABLESPACE far ADD DATAFILE '"+outside+"/far.ibd'", "CREATE TABLE d.far (id INT PRIMARY KEY) TABLESPACE far", "INSERT INTO d.far VALUES (1), (2)",
		"INSERT INTO d.outside (v) VALUES (REPEAT('a', 5000)), (REPEAT('b', 5000))", "INSERT INTO d.t (v) SELECT v FROM d.outside")
	want, err := mysqldtest.Checksums(s.DB())
	if err != nil {
		t.Fatal(err)
	}
	var m repo.Manifest
	m.Server.Version, m.Server.PageSize = s.QueryString("SELECT @@version"), 16<<10
	m.Binlog.File, m.Binlog.Position = s.Position()
	s.Kill()

	d := dir{t, filepath.Join(t.TempDir(), "b")}
	if err := lab.CopyDir(t.Context(), s.Dir, d.path); err != nil {
		t.Fatal(err)
	}
	blocks, checkpoint, end, _ := redoOf(t, filepath.Join(d.path, redo.Dir), "")
	m.LSN = repo.LSN{Checkpoint: uint64(checkpoint), End: uint64(end)}
	d.remove(redo.Dir, "auto.cnf", "ibtmp1", "#innodb_temp", "binlog.index")
	if err := os.MkdirAll(filepath.Join(d.path, redo.Dir), 0o750); err != nil {
		t.Fatal(err)
	}
	header := redo.FileHeader{Header: redo.Header{Format: redo.FormatCurrent, UUID: 1, Start: checkpoint.BlockStart()}, Checkpoints: [2]redo.LSN{checkpoint, checkpoint}}
	d.write("#innodb_redo/#ib_redo0", append(header.Append(nil), blocks...))
	d.write(repo.ExportName, nil)
	d.describe(m, "ON")
	original := map[string][]byte{}
	var external []string
	for _, name := range []string{"d/outside.ibd", "far.ibd"} {
		b, err := os.ReadFile(filepath.Join(outside, name))
		if err != nil {
			t.Fatal(err)
		}
		original[name] = b
		d.write(name, b)
		external = append(external, fmt.Sprintf(`{"file_name":"%s/%s","tablespace_name":"%s","tablespace_type":"TABLESPACE"}`, outside, name, strings.TrimSuffix(name, ".ibd")))
	}
	d.write(xtrabackup.TablespacesName, []byte(`{"version":2,"external_tablespaces":[`+strings.Join(external, ",")+`]}`))

	if _, err := d.prepare(t.Context()); err != nil {
		t.Fatal(err)
	}
	for name, b := range original {
		if now, err := os.ReadFile(filepath.Join(outside, name)); err != nil || !bytes.Equal(now, b) {
			t.Errorf("the source's %s was changed (%v)", name, err)
		}
	}
	if err := os.RemoveAll(outside); err != nil {
		t.Fatal(err)
	}
	restored := mysqldtest.StartDir(t, d.path)
	got, err := mysqldtest.Checksums(restored.DB())
	if err != nil {
		t.Fatal(err)
	}
	for name := range want {
		if got[name] != want[name] {
			t.Errorf("table %s: checksum %s, want %s", name, got[name], want[name])
		}
	}
}

// redoOf returns all blocks of a killed server from that of the newest checkpoint on, as
// they are.
func redoOf(t *testing.T, dir, keys string) (blocks []byte, checkpoint, end redo.LSN, info redo.Encryption) {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "#ib_redo*"))
	if err != nil {
		t.Fatal(err)
	}
	files := map[redo.LSN][]byte{}
	for _, name := range names {
		if _, spare, ok := redo.ParseName(filepath.Base(name)); !ok || spare {
			continue
		}
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		h, err := redo.ParseFileHeader(b)
		if err != nil {
			t.Fatal(err)
		}
		files[h.Start] = b[redo.HeaderSize:]
		if h.Checkpoint() > checkpoint {
			checkpoint, info = h.Checkpoint(), h.Encryption
		}
	}
	var key *redo.Key
	if info.Present {
		if key, err = keyring.RedoKey(keys, dir, info); err != nil {
			t.Fatal(err)
		}
	}
	for at := checkpoint.BlockStart(); ; at += redo.BlockSize {
		var raw []byte
		for start, b := range files {
			if at >= start && at < start+redo.LSN(len(b)) {
				raw = b[at-start:][:redo.BlockSize]
			}
		}
		blocks = append(blocks, raw...)
		if redo.IsEncrypted(raw) {
			key.Decrypt(raw)
		}
		block, state := redo.ParseBlock(raw, at, redo.RequireCRC)
		if state != redo.Good {
			t.Fatalf("redo block at %d is %v", at, state)
		}
		if !block.Full() {
			return blocks, checkpoint, block.End(), info
		}
	}
}

// A redo log that is encrypted stays so, its end, which is cut, included.
func TestPrepareEncryptedRedo(t *testing.T) {
	needs.Server(t)
	bin, keys := mysqldtest.Keyring(t)
	s := mysqldtest.Start(t, mysqldtest.Bin(bin), mysqldtest.Args("--innodb-redo-log-encrypt=ON"))
	s.Exec("CREATE DATABASE d", "CREATE TABLE d.t (id INT PRIMARY KEY AUTO_INCREMENT, v TEXT) ENCRYPTION='Y'", "INSERT INTO d.t (v) VALUES (REPEAT('a', 5000)), (REPEAT('b', 5000))")
	want, err := mysqldtest.Checksums(s.DB())
	if err != nil {
		t.Fatal(err)
	}
	var m repo.Manifest
	m.Server.Version, m.Server.PageSize = s.QueryString("SELECT @@version"), 16<<10
	m.Binlog.File, m.Binlog.Position = s.Position()
	s.Kill()
	d := dir{t, filepath.Join(t.TempDir(), "b")}
	if err := lab.CopyDir(t.Context(), s.Dir, d.path); err != nil {
		t.Fatal(err)
	}
	blocks, checkpoint, end, info := redoOf(t, filepath.Join(d.path, redo.Dir), keys)
	m.LSN = repo.LSN{Checkpoint: uint64(checkpoint), End: uint64(end)}
	d.remove(redo.Dir, "auto.cnf", "ibtmp1", "#innodb_temp", "binlog.index")
	if err := os.MkdirAll(filepath.Join(d.path, redo.Dir), 0o750); err != nil {
		t.Fatal(err)
	}
	header := redo.FileHeader{Header: redo.Header{Format: redo.FormatCurrent, UUID: 1, Start: checkpoint.BlockStart()}, Checkpoints: [2]redo.LSN{checkpoint, checkpoint}, Encryption: info}
	d.write("#innodb_redo/#ib_redo0", append(header.Append(nil), blocks...))
	d.write(repo.ExportName, nil)
	d.describe(m, "ON")
	cfg := d.config()
	cfg.Mysqld = bin
	if _, err := do(t, t.Context(), cfg); code.Of(err) != code.Usage || !strings.Contains(code.HintOf(err), "keyring_file") {
		t.Errorf("without the keyring: got %v, hint %q", err, code.HintOf(err))
	}
	cfg.KeyringFile = keys
	if _, err := do(t, t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	restored := mysqldtest.StartDir(t, d.path, mysqldtest.Bin(bin))
	got, err := mysqldtest.Checksums(restored.DB())
	if err != nil || !maps.Equal(got, want) {
		t.Errorf("got %v, %v, want %v", got, err, want)
	}
}
