package sdi_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/remora-backup/remora/core/mysqld/mysqldtest"
	"github.com/remora-backup/remora/core/needs"
	"github.com/remora-backup/remora/core/sdi"
)

func TestParse(t *testing.T) {
	const sound = `{"dd_object_type":"Table","dd_object":{"name":"n","engine":"MEMORY","columns":[{"name":"c"}],"schema_ref":"s"}}`
	if got, err := sdi.Parse([]byte(sound)); err != nil || got != (sdi.Table{Schema: "s", Name: "n", Engine: "MEMORY"}) {
		t.Errorf("got %+v, %v", got, err)
	}
	for _, without := range []string{`"name":"n",`, `"engine":"MEMORY",`, `,"schema_ref":"s"`, `"dd_object_type":"Table",`, `}`} {
		if got, err := sdi.Parse([]byte(strings.Replace(sound, without, "", 1))); err == nil {
			t.Errorf("without %s: got %+v", without, got)
		}
	}
	if _, err := sdi.Parse([]byte(strings.Replace(sound, "Table", "Schema", 1))); !errors.Is(err, sdi.ErrNotTable) {
		t.Errorf("of a schema: got %v", err)
	}
}

// A real server's descriptions name every table that is not InnoDB's.
func TestServer(t *testing.T) {
	needs.Server(t)
	s := mysqldtest.Start(t)
	s.Exec("CREATE DATABASE `grö ße`", "CREATE TABLE `grö ße`.m (i INT) ENGINE=MEMORY", "CREATE TABLE `grö ße`.`my-isam` (i INT) ENGINE=MyISAM",
		"CREATE TABLE `grö ße`.c (i INT NOT NULL) ENGINE=CSV", "CREATE TABLE `grö ße`.a (i INT) ENGINE=ARCHIVE", "CREATE TABLE `grö ße`.b (i INT) ENGINE=BLACKHOLE",
		"CREATE TABLE `grö ße`.u (i INT) ENGINE=MRG_MyISAM UNION=(`grö ße`.`my-isam`)", "CREATE TABLE `grö ße`.i (i INT)", "CREATE TABLE mysql.audit (i INT) ENGINE=MyISAM")
	var got []string
	files, err := filepath.Glob(filepath.Join(s.Dir, "*", "*.sdi"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		table, err := sdi.Parse(b)
		if err != nil {
			t.Errorf("%s: %v", f, err)
		}
		if table.Schema != "performance_schema" {
			got = append(got, table.Schema+"."+table.Name+" "+table.Engine)
		}
	}
	slices.Sort(got)
	want := []string{"grö ße.a ARCHIVE", "grö ße.b BLACKHOLE", "grö ße.c CSV", "grö ße.m MEMORY", "grö ße.my-isam MyISAM", "grö ße.u MRG_MYISAM", "mysql.audit MyISAM", "mysql.general_log CSV", "mysql.slow_log CSV"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"dd_object_type":"Table","dd_object":{"name":"n","engine":"MEMORY","schema_ref":"s"}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		if got, err := sdi.Parse(b); err == nil && (got.Schema == "" || got.Name == "" || got.Engine == "") {
			t.Errorf("got %+v without an error", got)
		}
	})
}
