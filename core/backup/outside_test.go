package backup_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/remora-backup/remora/core/code"
	"github.com/remora-backup/remora/core/mysqld/mysqldtest"
	"github.com/remora-backup/remora/core/needs"
	"github.com/remora-backup/remora/core/repo"
	"github.com/remora-backup/remora/core/syncpoint"
)

// A file that no server would find where it is restored is no backup's: the restored server
// would open that of its source.
func TestOutsideInADirectoryNotNamedAsTheDatabase(t *testing.T) {
	needs.Server(t)
	out := t.TempDir()
	l := newLab(t, mysqldtest.InitArgs("--innodb-directories="+out))
	l.source.Exec("CREATE DATABASE aux", "CREATE TABLE aux.within (id INT)", "CREATE TABLE aux.t (id INT) DATA DIRECTORY='"+out+"'")
	if _, _, err := l.backup(); code.Of(err) != code.Version || !strings.Contains(err.Error(), "aux@@@/t.ibd") {
		t.Fatalf("got %v (code %d), want code %d and the file", err, code.Of(err), code.Version)
	}
	l.forget()
	l.source.Exec("CREATE DATABASE s", "RENAME TABLE aux.t TO s.t")
	if _, _, err := l.backup(); err != nil {
		t.Errorf("with the table in another database: %v", err)
	}
}

// TestOutsideTheDataDirectory backs up a server that has files everywhere: tables with DATA
// DIRECTORY, partitions, general tablespaces, undo tablespaces, the system tablespace, some of
// which come and go meanwhile. All are found within the data directory of the restored server.
func TestOutsideTheDataDirectory(t *testing.T) {
	needs.Server(t)
	out := t.TempDir()
	for _, dir := range []string{"a", "b", "undo", "home", "deep/er"} {
		if err := os.MkdirAll(filepath.Join(out, dir), 0o750); err != nil {
			t.Fatal(err)
		}
	}
	dirs := strings.ReplaceAll("@/a;@/b;@/undo;@/deep", "@", out)
	l := newLab(t, mysqldtest.InitArgs(
		"--innodb-directories="+dirs, "--innodb-undo-directory="+out+"/undo",
		"--innodb-data-home-dir="+out+"/home", "--innodb-data-file-path=ibdata1:12M;ibdata2:16M:autoextend"))
	l.numbers()
	in := func(q string) string { return strings.ReplaceAll(q, "@", out) }
	run := func(statements []string) {
		for i := range statements {
			statements[i] = in(statements[i])
		}
		l.source.Exec(statements...)
	}
	run(flat([]string{"CREATE DATABASE s", "CREATE DATABASE s2"},
		table("s.t", 300, "DATA DIRECTORY='@/a'"), table("s.index", 300, "DATA DIRECTORY='@/a'"), table("s.gone", 30, "DATA DIRECTORY='@/b'"), table("s.system", 3000, "TABLESPACE innodb_system"),
		table("s.`part größe`", 0, "PARTITION BY RANGE (id) (PARTITION p0 VALUES LESS THAN (100) DATA DIRECTORY='@/a', PARTITION p1 VALUES LESS THAN MAXVALUE DATA DIRECTORY='@/b')"), []string{fill("s.`part größe`", 300)},
		[]string{"CREATE TABLESPACE g ADD DATAFILE '@/b/g.ibd'", "CREATE TABLESPACE h ADD DATAFILE '@/deep/er/h.ibd'", "CREATE TABLESPACE i ADD DATAFILE '@/a/i.ibd'"},
		table("s.general", 200, "TABLESPACE g"), table("s.deep", 100, "TABLESPACE h"),
		[]string{"CREATE UNDO TABLESPACE u1 ADD DATAFILE '@/undo/u1.ibu'", "CREATE UNDO TABLESPACE u2 ADD DATAFILE '@/a/u2.ibu'", "CREATE UNDO TABLESPACE u4 ADD DATAFILE 'u4.ibu'"}))
	l.hold(syncpoint.CopyDone, 1, func() {
		run(flat([]string{"DROP TABLE s.gone", "RENAME TABLE s.t TO s2.t2", "ALTER TABLE s.index ADD INDEX (a)", "DROP TABLESPACE i", "ALTER TABLE s.system ADD INDEX (a)"},
			table("s.new", 40, "DATA DIRECTORY='@/b'"), []string{"CREATE TABLESPACE j ADD DATAFILE '@/b/j.ibd'"}, table("s.newgeneral", 33, "TABLESPACE j"),
			[]string{"TRUNCATE s.general", fill("s.general", 21), "ALTER UNDO TABLESPACE u2 SET INACTIVE", "CREATE UNDO TABLESPACE u3 ADD DATAFILE '@/undo/u3.ibu'",
				"ALTER TABLE s.`part größe` TRUNCATE PARTITION p0", fill("s2.t2", 10)}))
		l.emptied("u2")
		run([]string{"ALTER UNDO TABLESPACE u2 SET ACTIVE"})
	})
	res, _, err := l.backup()
	if err != nil {
		t.Fatal(err)
	}
	l.allHeld()
	// Their paths at the source are told.
	r, err := repo.Open(t.Context(), l.storage)
	if err != nil {
		t.Fatal(err)
	}
	b, err := r.OpenBackup(t.Context(), repo.Latest)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range b.Files() {
		if want := in("@/b/s/new.ibd"); f.Path == "s/new.ibd" && (f.Attrs["source"] != want || f.Attrs["why"] != "new") {
			t.Errorf("attributes of %s are %v, want source %s and why new", f.Path, f.Attrs, want)
		}
	}
	p := l.manifest().Server.Paths
	if p.Data != l.source.Dir || p.Undo != in("@/undo") || p.Redo != l.source.Dir || !strings.HasPrefix(p.Binlog, l.source.Dir) || p.RelayLog == "" {
		t.Errorf("paths in the manifest: %+v", p)
	}
	if want := []string{in("@/a"), in("@/a/s"), in("@/a/s2"), in("@/b"), in("@/b/s"), in("@/deep/er"), in("@/home"), in("@/undo")}; !slices.Equal(p.External, want) {
		t.Errorf("directories outside: %q, want %q", p.External, want)
	}
	restored := l.restore(mysqldtest.Args("--innodb-data-file-path=ibdata1:12M;ibdata2:16M:autoextend"))
	l.same(restored, res)
	if err := restored.Server.Exec(t.Context(), "INSERT INTO s.new (a) VALUES (1)", "DROP TABLE s2.t2", "ALTER TABLE s.index FORCE"); err != nil {
		t.Error(err)
	}
	if got := l.source.QueryString("SELECT COUNT(*) FROM s.new"); got != "40" {
		t.Errorf("writing to the restored server changed the source: %s rows", got)
	}
}
