package prepare_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/remora-backup/remora/core/backup"
	"github.com/remora-backup/remora/core/innodb/redo"
	"github.com/remora-backup/remora/core/mysqld/lab"
	"github.com/remora-backup/remora/core/mysqld/mysqldtest"
	"github.com/remora-backup/remora/core/prepare"
	"github.com/remora-backup/remora/core/repo"
	"github.com/remora-backup/remora/core/restore"
	"github.com/remora-backup/remora/core/run"
	"github.com/remora-backup/remora/core/run/runtest"
	"github.com/remora-backup/remora/core/server"
	"github.com/remora-backup/remora/core/xtrabackup"
	"github.com/remora-backup/remora/examples/workload"
	"github.com/remora-backup/remora/plugins/fs"
	"github.com/remora-backup/remora/plugins/mysqllock"
	"github.com/remora-backup/remora/plugins/sdk"
)

// source is a server with an export that was taken of it under load. The server has more
// by now.
type source struct {
	server *mysqldtest.Server
	raw    string // the export; not to be changed
	export repo.Export
}

// tables lie where the markers of the tests move them from.
var tables = []string{
	"CREATE DATABASE d", "CREATE DATABASE e",
	"CREATE TABLESPACE general ADD DATAFILE 'my.new.ibd'",
	"CREATE TABLE d.x (id INT PRIMARY KEY AUTO_INCREMENT, v VARCHAR(500))",
	"CREATE TABLE d.y LIKE d.x", "CREATE TABLE d.z LIKE d.x", "CREATE TABLE d.fresh LIKE d.x", "CREATE TABLE d.again LIKE d.x", "CREATE TABLE e.moved LIKE d.x",
	"CREATE TABLE d.g (id INT PRIMARY KEY AUTO_INCREMENT, v VARCHAR(500)) TABLESPACE general",
}

var names = []string{"d.x", "d.y", "d.z", "d.fresh", "d.again", "d.g", "e.moved"}

func newSource(t *testing.T) *source {
	t.Helper()
	s := &source{server: mysqldtest.Start(t, mysqldtest.TCP()), raw: filepath.Join(t.TempDir(), "export")}
	db := s.server.DB()
	s.server.Exec(tables...)
	o := workload.Options{Tables: 1, Rows: 5000, Seed: 3}
	if err := workload.Load(t.Context(), db, o); err != nil {
		t.Fatal(err)
	}
	stop := s.busy(t, o)
	defer stop()
	storage, err := fs.Open(fs.Config{Path: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	conn, err := server.Connect(t.Context(), server.Config{Socket: s.server.Socket, User: "root"})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	lock, err := mysqllock.Open(mysqllock.Config{Lease: "1m"}, sdk.Server{Socket: s.server.Socket, User: "root"})
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Drain(t.Context())
	plan, err := backup.New(t.Context(), backup.Config{Server: conn, Storage: storage, Lock: lock, Version: "test"})
	if err == nil {
		err = run.Do(t.Context(), plan, run.Options{})
	}
	if err != nil {
		t.Fatalf("backup: %v", err)
	}
	stop()
	r, err := repo.Open(t.Context(), storage)
	if err != nil {
		t.Fatal(err)
	}
	plan, err = restore.NewExport(restore.Config{ID: "e", Repo: r, BackupID: repo.Latest, Target: s.raw})
	if err == nil {
		err = run.Do(t.Context(), plan, run.Options{})
	}
	if err != nil {
		t.Fatalf("export: %v", err)
	}
	if s.export, err = repo.ReadExport(s.raw); err != nil {
		t.Fatal(err)
	}
	return s
}

// busy writes into every table until it is told to stop.
func (s *source) busy(t *testing.T, o workload.Options) (stop func()) {
	ctx, cancel := context.WithCancel(t.Context())
	var g sync.WaitGroup
	var w workload.Written
	var failed error
	g.Go(func() { failed = workload.Write(ctx, s.server.DB(), 2, o, &w) })
	g.Go(func() {
		for n := 0; ctx.Err() == nil; n++ {
			_ = s.server.Server.Exec(ctx, "INSERT INTO "+names[n%len(names)]+" (v) SELECT HEX(RANDOM_BYTES(200)) FROM bench.sbtest1 LIMIT 10")
		}
	})
	return sync.OnceFunc(func() {
		cancel()
		g.Wait()
		if failed != nil || w.Transactions.Load() == 0 {
			t.Errorf("writers: %v after %d transactions", failed, w.Transactions.Load())
		}
	})
}

// dir is a directory in the making.
type dir struct {
	t    *testing.T
	path string
}

// copy returns a copy of the export, in a directory whose name could be taken for a marker.
func (s *source) copy(t *testing.T) dir {
	t.Helper()
	d := dir{t, filepath.Join(t.TempDir(), "backup.new")}
	if err := lab.CopyDir(t.Context(), s.raw, d.path); err != nil {
		t.Fatal(err)
	}
	return d
}

// xtrabackup returns the same backup as XtraBackup writes it.
func (s *source) xtrabackup(t *testing.T, lockDDL string) dir {
	t.Helper()
	d := s.copy(t)
	d.describe(s.export.Manifest, lockDDL)
	return d
}

// describe turns an export into a directory of XtraBackup's.
func (d dir) describe(m repo.Manifest, lockDDL string) {
	d.t.Helper()
	log := d.read("#innodb_redo/#ib_redo0")
	h, err := redo.ParseFileHeader(log)
	if err != nil {
		d.t.Fatal(err)
	}
	h.Creator = "xtrabkup 261120 22:15:00"
	size := redo.HeaderSize + int(redo.LSN(m.LSN.End).BlockStart()-h.Start) + redo.BlockSize
	d.write(xtrabackup.LogName, append(h.Append(nil), log[redo.HeaderSize:size]...))
	d.remove("#innodb_redo", repo.ExportName)
	d.write(xtrabackup.CheckpointsName, fmt.Appendf(nil, "backup_type = full-backuped\nfrom_lsn = 0\nto_lsn = %d\nlast_lsn = %d\nflushed_lsn = 0\nredo_memory = 0\nredo_frames = 0\n", m.LSN.Checkpoint, m.LSN.End))
	d.write(xtrabackup.InfoName, fmt.Appendf(nil, `uuid = 5c4c2b1f-0000-11f1-9402-02fc00000001
name =
tool_name = xtrabackup
tool_command = --backup --user=root --password=... --target-dir=/b
tool_version = 9.7.0-1
ibbackup_version = 9.7.0-1
server_version = %s
server_flavor = MySQL
start_time = 2026-11-20 22:15:00
end_time = 2026-11-20 22:15:09
lock_time = 0
binlog_pos = filename '%s', position '%d'
innodb_from_lsn = 0
innodb_to_lsn = %d
partial = N
incremental = N
format = file
compressed = N
encrypted = N
lock_ddl_type = %s
`, m.Server.Version, m.Binlog.File, m.Binlog.Position, m.LSN.Checkpoint, lockDDL))
	d.write(xtrabackup.BinlogInfoName, fmt.Appendf(nil, "%s\t%d\t%s\n", m.Binlog.File, m.Binlog.Position, strings.ReplaceAll(m.GTIDExecuted, ",", ",\n")))
	d.write(xtrabackup.SettingsName, fmt.Appendf(nil, "# This MySQL options file was generated by innobackupex.\n\n# The MySQL server\n[mysqld]\ninnodb_checksum_algorithm=crc32\n"+
		"innodb_log_checksums=1\ninnodb_data_file_path=ibdata1:12M:autoextend\ninnodb_page_size=%d\ninnodb_undo_directory=./\ninnodb_undo_tablespaces=2\n"+
		"server_id=1\ninnodb_log_checksums=ON\ninnodb_redo_log_encrypt=OFF\ninnodb_undo_log_encrypt=OFF\nserver_uuid=%s\nmaster_key_id=0\n", m.Server.PageSize, m.Server.UUID))
	d.write(xtrabackup.TablespacesName, []byte(`{"version":2,"external_tablespaces":[]}`))
}

func (d dir) read(name string) []byte {
	d.t.Helper()
	b, err := os.ReadFile(filepath.Join(d.path, name))
	if err != nil {
		d.t.Fatal(err)
	}
	return b
}

func (d dir) write(name string, b []byte) {
	d.t.Helper()
	if err := os.WriteFile(filepath.Join(d.path, name), b, 0o640); err != nil {
		d.t.Fatal(err)
	}
}

func (d dir) replace(name, old, to string) {
	d.t.Helper()
	text := string(d.read(name))
	if !strings.Contains(text, old) {
		d.t.Fatalf("%s does not contain %q", name, old)
	}
	d.write(name, []byte(strings.ReplaceAll(text, old, to)))
}

func (d dir) remove(names ...string) {
	d.t.Helper()
	for _, name := range names {
		if err := os.RemoveAll(filepath.Join(d.path, name)); err != nil {
			d.t.Fatal(err)
		}
	}
}

func (d dir) move(from, to string) {
	d.t.Helper()
	if err := os.Rename(filepath.Join(d.path, from), filepath.Join(d.path, to)); err != nil {
		d.t.Fatal(err)
	}
}

// space is the id of a tablespace.
func (d dir) space(name string) uint32 { return binary.BigEndian.Uint32(d.read(name)[34:]) }

// stale writes the first pages of a tablespace under a name, as another space: a copy that
// DDL made worthless.
func (d dir) stale(name, like string, space uint32) {
	d.t.Helper()
	b := slices.Clone(d.read(like)[:3*16384+100])
	binary.BigEndian.PutUint32(b[34:], space)
	binary.BigEndian.PutUint32(b[38:], space)
	d.write(name, b)
}

// tree lists all files with their sizes, to tell a change.
func (d dir) tree() map[string]string {
	all := map[string]string{}
	err := filepath.WalkDir(d.path, func(p string, e os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err == nil && !e.IsDir() {
			all[p] = fmt.Sprint(info.Size(), info.ModTime())
		}
		return err
	})
	if err != nil {
		d.t.Fatal(err)
	}
	return all
}

func (d dir) config() prepare.Config {
	return prepare.Config{ID: "p", Dir: d.path, Mysqld: mysqldtest.Binary(d.t), BufferPool: 128 << 20}
}

// prepare prepares the directory and returns what was told.
func (d dir) prepare(ctx context.Context) ([]run.Event, error) { return do(d.t, ctx, d.config()) }

func do(t *testing.T, ctx context.Context, cfg prepare.Config) ([]run.Event, error) {
	t.Helper()
	plan, err := prepare.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	seen := new(runtest.Tape)
	err = run.Do(ctx, plan, run.Options{Readers: []run.Reader{seen}})
	return seen.Events(), err
}

// same starts a server on the directory, lets it follow the source from the position, and
// compares all tables.
func (s *source) same(t *testing.T, d dir) {
	t.Helper()
	replica := mysqldtest.StartDir(t, d.path, mysqldtest.TCP())
	m := s.export.Manifest
	mysqldtest.CatchUp(t, s.server, replica, m.Binlog.File, m.Binlog.Position)
	want, err := mysqldtest.Checksums(s.server.DB())
	if err != nil {
		t.Fatal(err)
	}
	got, err := mysqldtest.Checksums(replica.DB())
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range slices.Sorted(maps.Keys(want)) {
		if got[name] != want[name] {
			t.Errorf("table %s: checksum %s, source has %s", name, got[name], want[name])
		}
	}
	if len(got) != len(want) {
		t.Errorf("%d tables, source has %d", len(got), len(want))
	}
	log, err := os.ReadFile(replica.Log)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(log)) {
		if strings.Contains(line, "[ERROR]") || strings.Contains(line, "in the future") || strings.Contains(line, "was not shutdown normally") {
			t.Errorf("the server said: %s", line)
		}
	}
	for _, marker := range []string{"*.new", "*/*.new", "*.del", "*/*.del", "*/*.ren", "*/*.crpt", "*/*.remora-*"} {
		if left, _ := filepath.Glob(filepath.Join(d.path, marker)); len(left) > 0 {
			t.Errorf("left behind: %v", left)
		}
	}
}
