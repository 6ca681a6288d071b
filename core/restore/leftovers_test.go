package restore

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/remora-backup/remora/core/repo"
)

// What lies at the source's places is found, whatever it is, and named with what takes it away.
func TestLeftovers(t *testing.T) {
	top := t.TempDir()
	put := func(name string) {
		t.Helper()
		at := filepath.Join(top, name)
		if err := os.MkdirAll(filepath.Dir(at), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(at, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	in := func(name string) string { return filepath.Join(top, name) }
	paths := repo.Paths{
		Data: in("data"), Binlog: in("my logs/binlog"), RelayLog: in("relay/host-relay-bin"), Redo: in("redo"), Undo: in("undo"), External: []string{in("fast/shop"), in("none")},
	}
	put("my logs/binlogs.000001") // of another server
	put("my logs/other.index")
	put("my logs/before-restore/binlog.000001") // moved there as we said
	put("relay/readme")
	put("redo/x")
	put("undo/undo_dir/readme")
	put("fast/readme")
	if found, err := leftovers(paths); err != nil || len(found) > 0 {
		t.Errorf("nothing is left: got %v, %v", found, err)
	}
	for _, c := range []struct{ name, move string }{
		{"my logs/binlog.000007", "mkdir -p '" + in("my logs/before-restore") + "' && mv '" + in("my logs/binlog") + "'.* '" + in("my logs/before-restore") + "'"},
		{"my logs/binlog.index", "'" + in("my logs/before-restore") + "'"},
		{"relay/host-relay-bin.000001", "mv " + in("relay/host-relay-bin") + ".* "},
		{"redo/#innodb_redo/#ib_redo3", "mv " + in("redo") + " " + in("redo.before-restore") + " && mkdir " + in("redo")},
		{"undo/undo_001", "undo.before-restore"},
		{"undo/mine.ibu", "undo.before-restore"},
		{"fast/shop/orders.ibd", "no innodb_directories leads"},
	} {
		put(c.name)
		found, err := leftovers(paths)
		if err != nil || len(found) != 1 || !strings.HasPrefix(in(c.name), found[0].name) || !strings.Contains(found[0].move, c.move) {
			t.Errorf("%s: got %+v, %v", c.name, found, err)
		}
		if err := os.RemoveAll(in(c.name)); err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(c.name, "redo/") {
			_ = os.RemoveAll(in("redo/#innodb_redo"))
		}
	}
	// What is in the source's data directory goes with it.
	put("data/binlog.000001")
	if found, err := leftovers(repo.Paths{Data: in("data") + "/", Binlog: in("data/binlog"), Undo: in("data")}); err != nil || len(found) > 0 {
		t.Errorf("in the data directory: got %v, %v", found, err)
	}
}
