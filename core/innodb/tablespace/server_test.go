package tablespace_test

import (
	"database/sql"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/remora-backup/remora/core/innodb/page"
	"github.com/remora-backup/remora/core/innodb/tablespace"
	"github.com/remora-backup/remora/core/mysqld/mysqldtest"
	"github.com/remora-backup/remora/core/needs"
)

// TestServer compares what first pages and names say with what a real server
// says of the same files.
func TestServer(t *testing.T) {
	needs.Server(t)
	s := mysqldtest.Start(t)
	s.Exec("CREATE DATABASE `a-b$c`", "USE `a-b$c`",
		"CREATE TABLE red (id INT PRIMARY KEY) ROW_FORMAT=REDUNDANT",
		"CREATE TABLE dyn (id INT PRIMARY KEY)",
		"CREATE TABLE zip1 (id INT PRIMARY KEY) ROW_FORMAT=COMPRESSED KEY_BLOCK_SIZE=1",
		"CREATE TABLE zip16 (id INT PRIMARY KEY) ROW_FORMAT=COMPRESSED KEY_BLOCK_SIZE=16",
		"CREATE TABLE `a#p#b` (id INT PRIMARY KEY) PARTITION BY HASH (id) PARTITIONS 2",
		"CREATE TABLE ft (id INT PRIMARY KEY, b TEXT, FULLTEXT (b))",
		"CREATE TABLE my (id INT) ENGINE=MyISAM", "CREATE TABLE cs (id INT NOT NULL) ENGINE=CSV",
		"CREATE TABLE ar (id INT) ENGINE=ARCHIVE", "CREATE TABLE mg (id INT) ENGINE=MERGE UNION=(my)",
		"CREATE TABLESPACE gt ADD DATAFILE 'gt.ibd'", "CREATE TABLE ingt (id INT PRIMARY KEY) TABLESPACE gt",
		"CREATE UNDO TABLESPACE u3 ADD DATAFILE 'u3.ibu'")
	setting, err := tablespace.ParseDataFiles(s.QueryString("SELECT @@innodb_data_file_path"))
	if err != nil {
		t.Fatal(err)
	}
	names := tablespace.Names{Temp: []string{"ibtmp1"}}
	for _, f := range setting {
		names.System = append(names.System, f.Path)
	}
	known := spaces(t, s.DB(), s.Dir)
	const sdi = 1 << 14 // not yet in the first page of a new file
	for _, mask := range []uint32{^uint32(sdi), ^uint32(0)} {
		found := walk(t, s.Dir, names, known, mask)
		if len(known) < 20 || found != len(known) {
			t.Errorf("found %d of the server's %d tablespaces", found, len(known))
		}
		if mask != ^uint32(0) {
			s.Stop()
		}
	}
}

// space is what the server says of one tablespace.
type space struct {
	id, flags uint32
	pageSize  int
	zipSize   int
	name      string
}

// spaces returns the permanent tablespaces by path below the data directory.
func spaces(t *testing.T, db *sql.DB, dir string) map[string]space {
	t.Helper()
	rows, err := db.QueryContext(t.Context(), `SELECT f.file_name, s.space, s.flag, s.page_size, s.zip_page_size, s.name
		FROM information_schema.innodb_tablespaces s JOIN information_schema.files f ON f.file_id = s.space
		WHERE s.space <> 4294967293`)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	all := map[string]space{}
	for rows.Next() {
		var path string
		var v space
		if err := rows.Scan(&path, &v.id, &v.flags, &v.pageSize, &v.zipSize, &v.name); err != nil {
			t.Fatal(err)
		}
		if filepath.IsAbs(path) {
			if path, err = filepath.Rel(dir, path); err != nil {
				t.Fatal(err)
			}
		}
		all[filepath.Clean(path)] = v
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return all
}

// walk judges every file below dir and returns how many known tablespaces it met.
func walk(t *testing.T, dir string, names tablespace.Names, known map[string]space, mask uint32) (found int) {
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		kind := names.Kind(rel)
		if kind == tablespace.OtherFile {
			t.Errorf("kind of %s: %s", rel, kind)
		}
		want, ok := known[rel]
		if inno := kind == tablespace.TableFile || kind == tablespace.UndoFile; ok != inno {
			t.Errorf("%s is of kind %s; the server has a tablespace of that name: %v", rel, kind, ok)
		}
		if ok {
			found++
			compare(t, path, rel, want, mask)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func compare(t *testing.T, path, rel string, want space, mask uint32) {
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	h, err := tablespace.ParseHeader(b)
	if err != nil {
		t.Errorf("%s: %v", rel, err)
		return
	}
	size, err := h.Flags.PageSize()
	v, verr := page.NewVerifier(size)
	if verr != nil {
		t.Fatal(verr)
	}
	if o := v.Verify(b[:size.Physical], 0); o != page.OK {
		t.Errorf("%s: first page: %s, want ok", rel, o)
	}
	zip := 0
	if size.Zip {
		zip = size.Physical
	}
	want.flags &= mask
	got := space{h.Space, uint32(h.Flags) & mask, size.Logical, zip, want.name}
	if err != nil || got != want || h.ServerVersion < 80030 {
		t.Errorf("%s: %+v, %v, created by %d, want %+v", rel, got, err, h.ServerVersion, want)
	}
	if undo := strings.HasPrefix(want.name, "innodb_undo") || want.name == "u3"; tablespace.IsUndo(h.Space) != undo {
		t.Errorf("%s: space %d is undo: %v, want %v", rel, h.Space, !undo, undo)
	}
}
