package prepare_test

import (
	"encoding/binary"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/remora-backup/remora/core/code"
	"github.com/remora-backup/remora/core/innodb/page"
	"github.com/remora-backup/remora/core/innodb/redo"
	"github.com/remora-backup/remora/core/innodb/tablespace"
	"github.com/remora-backup/remora/core/mysqld/lab"
	"github.com/remora-backup/remora/core/mysqld/mysqldtest"
	"github.com/remora-backup/remora/core/needs"
	"github.com/remora-backup/remora/core/repo"
	"github.com/remora-backup/remora/core/run"
	"github.com/remora-backup/remora/core/xtrabackup"
)

// chain is a base that was prepared with --apply-log-only, and an increment on it.
type chain struct {
	base, inc string
	sums      map[string]string
}

// newChain makes the base of a server that was shut down, which is what a log-applied
// directory looks like that no transaction was open in, and the increment of the same
// server that was killed later.
func newChain(t *testing.T) chain {
	s := mysqldtest.Start(t)
	s.Exec("CREATE DATABASE d", "CREATE DATABASE gone",
		"CREATE TABLE d.a (id INT PRIMARY KEY AUTO_INCREMENT, v VARCHAR(500))", "CREATE TABLE d.b LIKE d.a", "CREATE TABLE d.same LIKE d.a", "CREATE TABLE d.dropped LIKE d.a",
		"CREATE TABLE d.cut LIKE d.a", "CREATE TABLE d.zip (id INT PRIMARY KEY AUTO_INCREMENT, v VARCHAR(500)) ROW_FORMAT=COMPRESSED KEY_BLOCK_SIZE=8",
		"CREATE TABLE gone.t (id INT)", "CREATE TABLE gone.m (id INT) ENGINE=MyISAM")
	fill := func(tables ...string) {
		for _, name := range tables {
			s.Exec("INSERT INTO " + name + " (v) SELECT HEX(RANDOM_BYTES(200)) FROM information_schema.columns LIMIT 400")
		}
	}
	fill("d.a", "d.b", "d.same", "d.dropped", "d.cut", "d.zip")
	s.Stop()
	c := chain{base: filepath.Join(t.TempDir(), "base"), inc: filepath.Join(t.TempDir(), "inc")}
	base := dir{t, c.base}
	if err := lab.CopyDir(t.Context(), s.Dir, c.base); err != nil {
		t.Fatal(err)
	}
	_, from, _, _ := redoOf(t, filepath.Join(c.base, redo.Dir), "")
	base.remove(redo.Dir, "auto.cnf", "binlog.index", "binlog.000001", "ib_buffer_pool", "#innodb_temp")
	base.write(xtrabackup.CheckpointsName, fmt.Appendf(nil, "backup_type = log-applied\nfrom_lsn = 0\nto_lsn = %d\nlast_lsn = %d\nflushed_lsn = 0\n", from, from))

	s.Restart()
	fill("d.a", "d.zip", "d.b")
	s.Exec("DROP TABLE d.dropped", "RENAME TABLE d.a TO d.x, d.b TO d.a, d.x TO d.b", "TRUNCATE d.cut", "DROP DATABASE gone",
		"CREATE DATABASE fresh", "CREATE TABLE fresh.t LIKE d.a", "ALTER TABLE d.a ADD INDEX (v(100))", "CREATE TABLE fresh.m (id INT) ENGINE=MyISAM")
	fill("fresh.t", "d.cut", "d.a")
	var m repo.Manifest
	m.Server.Version, m.Server.PageSize = s.QueryString("SELECT @@version"), 16<<10
	m.Binlog.File, m.Binlog.Position = s.Position()
	var err error
	if c.sums, err = mysqldtest.Checksums(s.DB()); err != nil {
		t.Fatal(err)
	}
	s.Kill()
	c.increment(t, s.Dir, m, from)
	return c
}

// increment writes what XtraBackup --incremental-lsn=from would have of the directory.
func (c chain) increment(t *testing.T, data string, m repo.Manifest, from redo.LSN) {
	blocks, checkpoint, end, _ := redoOf(t, filepath.Join(data, redo.Dir), "")
	m.LSN = repo.LSN{Checkpoint: uint64(checkpoint), End: uint64(end)}
	inc := dir{t, c.inc}
	err := filepath.WalkDir(data, func(p string, e os.DirEntry, err error) error {
		rel, _ := filepath.Rel(data, p)
		switch {
		case err != nil:
			return err
		case e.IsDir() && strings.HasPrefix(rel, "#"):
			return filepath.SkipDir
		case e.IsDir():
			return os.MkdirAll(filepath.Join(c.inc, rel), 0o750)
		}
		b, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		switch kind := (tablespace.Names{System: []string{"ibdata1"}}).Kind(rel); {
		case kind.InnoDB():
			inc.delta(rel, b, uint64(from))
		case kind == tablespace.EngineFile || rel == m.Binlog.File:
			inc.write(rel, b)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	inc.write(repo.ExportName, nil)
	if err := os.Mkdir(filepath.Join(c.inc, redo.Dir), 0o750); err != nil {
		t.Fatal(err)
	}
	header := redo.FileHeader{Header: redo.Header{Format: redo.FormatCurrent, UUID: 1, Start: checkpoint.BlockStart()}, Checkpoints: [2]redo.LSN{checkpoint, checkpoint}}
	inc.write("#innodb_redo/#ib_redo0", append(header.Append(nil), blocks...))
	inc.describe(m, "REDUCED")
	inc.replace(xtrabackup.CheckpointsName, "full-backuped\nfrom_lsn = 0", fmt.Sprintf("incremental\nfrom_lsn = %d", from))
}

// delta writes the pages of a file that changed since an LSN, and its meta file.
func (d dir) delta(name string, b []byte, from uint64) {
	h, err := tablespace.ParseHeader(b)
	if err != nil {
		d.t.Fatal(name, err)
	}
	size, _ := h.Flags.PageSize()
	n, zip := size.Physical, 0
	if size.Zip {
		zip = n
	}
	d.write(name+".meta", fmt.Appendf(nil, "page_size = %d\nzip_size = %d\nspace_id = %d\nspace_flags = %d\n", size.Logical, zip, h.Space, uint32(h.Flags)))
	var out []byte
	index, pages, count := []byte("xtra"), []byte(nil), 0
	end := func(magic string) {
		copy(index, magic)
		for len(index) < n {
			index = append(index, 0xFF)
		}
		out = append(append(out, index...), pages...)
		index, pages, count = []byte("xtra"), nil, 0
	}
	for i := 0; (i+1)*n <= len(b); i++ {
		p := b[i*n : (i+1)*n]
		if page.LSN(p) < from {
			continue
		}
		if count == n/4-1 {
			end("xtra")
		}
		index = binary.BigEndian.AppendUint32(index, uint32(i))
		pages = append(pages, p...)
		count++
	}
	end("XTRA")
	d.write(name+".delta", out)
}

func (d dir) moveBoth(from, to string) {
	d.move(from+".delta", to+".delta")
	d.move(from+".meta", to+".meta")
}

// reduce rearranges the increment as DDL during its copy would have it.
func (c chain) reduce(t *testing.T) {
	d := dir{t, c.inc}
	id := func(name string) uint32 {
		m, err := xtrabackup.ParseMeta(d.read(name + ".meta"))
		if err != nil {
			t.Fatal(err)
		}
		return m.Space
	}
	a, b := id("d/a.ibd"), id("d/b.ibd")
	d.moveBoth("d/a.ibd", "d/t")
	d.moveBoth("d/b.ibd", "d/a.ibd")
	d.moveBoth("d/t", "d/b.ibd")
	d.write(fmt.Sprintf("d/%d.ren", a), []byte("1\n./d/a.ibd"))
	d.write(fmt.Sprintf("d/%d.ren", b), []byte("1\nd/b.ibd"))
	d.moveBoth("fresh/t.ibd", "fresh/t.ibd.new")
	d.moveBoth("d/cut.ibd", "d/cut.ibd.new")
	d.write("d/cut.ibd.delta", []byte("of no use"))
	d.write("d/cut.ibd.meta", d.read("d/cut.ibd.new.meta"))
	d.write("d/cut.ibd.crpt", nil)
	d.write("d/late.ibd.delta", d.read("d/same.ibd.delta"))
	d.write("d/late.ibd.meta", []byte("page_size = 16384\nzip_size = 0\nspace_id = 70001\nspace_flags = 16417\n"))
	d.write("d/70001.del", nil)
	d.moveBoth("undo_002", "undo_002.new")
}

func TestPrepareIncremental(t *testing.T) {
	needs.Server(t)
	c := newChain(t)
	for name, change := range map[string]func(*testing.T, chain){
		"plain":   func(*testing.T, chain) {},
		"reduced": func(t *testing.T, c chain) { c.reduce(t) },
	} {
		t.Run(name, func(t *testing.T) {
			mine := chain{filepath.Join(t.TempDir(), "base"), filepath.Join(t.TempDir(), "inc.new"), c.sums}
			for from, to := range map[string]string{c.base: mine.base, c.inc: mine.inc} {
				if err := lab.CopyDir(t.Context(), from, to); err != nil {
					t.Fatal(err)
				}
			}
			change(t, mine)
			d, inc := dir{t, mine.base}, dir{t, mine.inc}
			before := inc.tree()
			cfg := d.config()
			cfg.Incremental = mine.inc
			events, err := do(t, t.Context(), cfg)
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range events {
				if e.Kind == run.KindWarning {
					t.Errorf("warning: %s", e.Message)
				}
			}
			if !maps.Equal(inc.tree(), before) {
				t.Error("the incremental backup was changed")
			}
			d.checkPrepared()
			for _, gone := range []string{"gone/t.ibd", "gone/m.MYD", "d/dropped.ibd", "d/late.ibd"} {
				if _, err := os.Stat(filepath.Join(d.path, gone)); !os.IsNotExist(err) {
					t.Errorf("%s: got %v, want it gone", gone, err)
				}
			}
			s := mysqldtest.StartDir(t, d.path)
			got, err := mysqldtest.Checksums(s.DB())
			if err != nil || !maps.Equal(got, c.sums) {
				t.Errorf("got %v, %v, want %v", got, err, c.sums)
			}
			s.Exec("INSERT INTO d.cut (v) VALUES ('new')", "CREATE TABLE d.dropped (id INT)")
		})
	}
	t.Run("refusals", c.testRefusals)
}

func (c chain) testRefusals(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(base, inc dir)
		want   code.Code
		text   string
	}{
		"another base":   {func(base, _ dir) { base.replace(xtrabackup.CheckpointsName, "to_lsn = ", "to_lsn = 1") }, code.Integrity, "do not belong together"},
		"raw base":       {func(base, _ dir) { base.replace(xtrabackup.CheckpointsName, "log-applied", "full-backuped") }, code.Target, "--apply-log-only"},
		"a full one":     {func(_, inc dir) { inc.replace(xtrabackup.CheckpointsName, "incremental", "full-backuped") }, code.Target, "no incremental backup"},
		"del of nothing": {func(_, inc dir) { inc.write("d/99999.del", nil) }, code.Integrity, "neither the base nor"},
		"ren of nothing": {func(_, inc dir) { inc.write("d/99999.ren", []byte("1\nd/q.ibd")) }, code.Integrity, "no delta is of it"},
		"no delta":       {func(_, inc dir) { inc.remove("d/same.ibd.delta") }, code.Integrity, "there is no d/same.ibd.delta"},
	} {
		t.Run(name, func(t *testing.T) {
			base, inc := dir{t, filepath.Join(t.TempDir(), "base")}, dir{t, filepath.Join(t.TempDir(), "inc")}
			linkTree(t, c.base, base.path)
			linkTree(t, c.inc, inc.path)
			tt.change(base, inc)
			before := base.tree()
			cfg := base.config()
			cfg.Incremental = inc.path
			if _, err := do(t, t.Context(), cfg); code.Of(err) != tt.want || !strings.Contains(err.Error(), tt.text) {
				t.Errorf("got code %d, %v; want code %d, %q", code.Of(err), err, tt.want, tt.text)
			}
			if !maps.Equal(base.tree(), before) {
				t.Error("the base was changed")
			}
		})
	}
}
