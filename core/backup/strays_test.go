package backup

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/remora-backup/remora/core/code"
	"github.com/remora-backup/remora/core/datadir"
	"github.com/remora-backup/remora/core/mysqld/mysqldtest"
	"github.com/remora-backup/remora/core/needs"
	"github.com/remora-backup/remora/core/server"
)

// A file that no list names is left out if the dictionary does not know it, or if it is a copy
// of another; one that is missing in the list is not.
func TestStraysAreExplained(t *testing.T) {
	needs.Server(t)
	m := mysqldtest.Start(t)
	m.Exec("CREATE DATABASE s", "CREATE TABLE s.t (i INT)", "CREATE TABLE s.u (i INT)", "CREATE TABLE s.T (i INT)", "CREATE TABLE s.gone (i INT)",
		"SET GLOBAL innodb_max_dirty_pages_pct = 0, innodb_max_dirty_pages_pct_lwm = 0", "SELECT innodb_redo_log_sharp_checkpoint()")
	at := func(name string) string { return filepath.Join(m.Dir, "s", name+".ibd") }
	read := func(name string) []byte {
		b, err := os.ReadFile(at(name))
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	kept, gone := read("t"), read("gone")
	m.Exec("DROP TABLE s.gone")
	for name, b := range map[string][]byte{"copy": kept, "gone": gone, "empty": nil, "U": nil, "junk": []byte(strings.Repeat("x", 100_000))} {
		if err := os.WriteFile(at(name), b, 0o640); err != nil {
			t.Fatal(err)
		}
	}
	srv, err := server.Connect(t.Context(), server.Config{Socket: m.Socket, User: "root"})
	if err != nil {
		t.Fatal(err)
	}
	defer srv.Close()
	facts, err := srv.Facts(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	dir, err := datadir.New(facts)
	if err != nil {
		t.Fatal(err)
	}
	s := &survey{site: &site{server: srv, facts: facts, dir: dir}, redo: &capture{ledger: newLedger(0)}}
	f, err := s.look(t.Context(), true)
	if err == nil {
		err = s.explain(t.Context(), &f)
	}
	if err != nil {
		t.Fatal(err)
	}
	strays := f.strays()
	slices.Sort(strays)
	if want := []string{"s/U.ibd", "s/copy.ibd", "s/empty.ibd", "s/gone.ibd", "s/junk.ibd"}; !slices.Equal(strays, want) {
		t.Errorf("left out are %q, want %q", strays, want)
	}
	for _, name := range []string{"t", "u", "T"} {
		cut := f
		cut.spaces = slices.DeleteFunc(slices.Clone(f.spaces), func(file datadir.File) bool { return file.Path == "s/"+name+".ibd" })
		err := s.explain(t.Context(), &cut)
		if code.Of(err) != code.Integrity || !strings.Contains(err.Error(), "not whole: s/"+name+" ") {
			t.Errorf("the list has not s.%s: got %v (code %d), want code %d that names it", name, err, code.Of(err), code.Integrity)
		}
	}
}
