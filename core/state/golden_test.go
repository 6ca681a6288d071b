package state

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/remora-backup/remora/core/code"
)

// testdata/vN.db was written by a remora whose schema was version N; vN.json is what is to be
// read of it. A new version gets a file of its own; none is ever written anew.
func TestFilesOfEverySchemaLoad(t *testing.T) {
	for n := 1; n <= len(migrations()); n++ {
		t.Run(fmt.Sprintf("v%d", n), func(t *testing.T) {
			dir := t.TempDir()
			copyGolden(t, n, dir)
			s := open(t, dir)
			all, err := s.History(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			got, err := json.MarshalIndent(all, "", " ")
			if err != nil {
				t.Fatal(err)
			}
			want, err := os.ReadFile(fmt.Sprintf("testdata/v%d.json", n))
			if err != nil {
				t.Fatalf("%v; it holds:\n%s", err, got)
			}
			if strings.TrimSpace(string(want)) != string(got) {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
			writeOn(t, s)
			kept, err := os.ReadFile(filepath.Join(dir, fmt.Sprintf("remora.db.v%d", n)))
			switch {
			case n == len(migrations()) && !os.IsNotExist(err):
				t.Errorf("a copy was kept though nothing was changed (%v)", err)
			case n < len(migrations()) && err != nil:
				t.Error(err)
			case n < len(migrations()):
				readByThen(t, n, kept, len(all))
			}
		})
	}
}

func copyGolden(t *testing.T, version int, dir string) {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("testdata/v%d.db", version))
	if err != nil {
		t.Fatalf("each schema has its file: %v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "remora.db"), text, 0o600); err != nil {
		t.Fatal(err)
	}
}

// writeOn takes an operation to what was loaded, with what older versions did not know.
func writeOn(t *testing.T, s *Store) {
	t.Helper()
	if crashed, err := s.MarkCrashed(t.Context()); err != nil || len(crashed) != 1 {
		t.Errorf("%d operations are found crashed (%v), want the one without an end", len(crashed), err)
	}
	begin(t, s, Operation{ID: "new", Operation: "backup", RequestedBy: "api:anna", RequestKey: "k1", Request: `{"operation":"backup"}`})
	o, err := s.Requested(t.Context(), "k1")
	if err != nil || o == nil || o.ID != "new" || o.RequestedBy != "api:anna" || o.Request == "" {
		t.Errorf("got %+v, %v", o, err)
	}
	if o, err := s.Requested(t.Context(), "k2"); err != nil || o != nil {
		t.Errorf("of another key: got %+v, %v", o, err)
	}
}

// readByThen reads the copy as the binary of that version did.
func readByThen(t *testing.T, version int, kept []byte, rows int) {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "remora.db"), kept, 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := openSchema(context.Background(), dir, migrations()[:version])
	if err != nil {
		t.Fatalf("a downgrade is not possible: %v", err)
	}
	defer s.Close()
	var n int
	if err := s.db.QueryRow("SELECT count(*) FROM backup_history").Scan(&n); err != nil || n != rows {
		t.Errorf("the copy has %d operations (%v), want %d", n, err, rows)
	}
}

func TestRecentGoesBackPageByPage(t *testing.T) {
	s := open(t, t.TempDir())
	for i := range 7 {
		begin(t, s, Operation{ID: fmt.Sprint(i), Operation: "backup"}) // some of one millisecond
	}
	var ids []string
	for before := ""; ; {
		page, err := s.Recent(t.Context(), 3, before)
		if err != nil {
			t.Fatal(err)
		}
		if len(page) == 0 {
			break
		}
		for _, o := range page {
			ids = append(ids, o.ID)
		}
		before = page[len(page)-1].ID
	}
	if got := strings.Join(ids, " "); got != "6 5 4 3 2 1 0" {
		t.Errorf("got %s", got)
	}
	if _, err := s.Recent(t.Context(), 3, "none"); code.Of(err) != code.Usage {
		t.Errorf("before an unknown one: got %v, want 10", err)
	}
}

func TestASidecarIsSeen(t *testing.T) {
	dir := t.TempDir()
	see := func(want bool) {
		t.Helper()
		if got, err := Served(dir); err != nil || got != want {
			t.Errorf("served: got %v, %v, want %v", got, err, want)
		}
	}
	see(false)
	l, err := LockServe(dir, Owner{PID: 7, Operation: "sidecar"})
	if err != nil {
		t.Fatal(err)
	}
	see(true)
	if _, err := LockServe(dir, Owner{}); code.Of(err) != code.Busy {
		t.Errorf("a second one: got %v, want 11", err)
	}
	if err := l.Release(); err != nil {
		t.Fatal(err)
	}
	see(false)
}
