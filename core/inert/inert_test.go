package inert

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/remora-backup/remora/core/repo"
)

func TestARecordIsReadAsItWasWritten(t *testing.T) {
	dir := t.TempDir()
	if _, err := Read(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("an empty directory: got %v", err)
	}
	want := Record{As: Inert, Manifest: repo.Manifest{ID: "b", GTIDExecuted: "u:1-8"}, Settings: Settings(), Tablespaces: []Tablespace{{7, "db/t"}}}
	text, err := want.Encode()
	if err != nil {
		t.Fatal(err)
	}
	write := func(text []byte) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, Name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(text)
	want.Format = format
	if got, err := Read(dir); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v\nwant %+v", got, err, want)
	}
	write([]byte(strings.Replace(string(text), `"format": 1`, `"format": 2`, 1)))
	if _, err := Read(dir); err == nil || !strings.Contains(err.Error(), "format 2 is not known") {
		t.Errorf("a newer one: got %v", err)
	}
}

func TestLift(t *testing.T) {
	r := Record{Settings: Settings()}
	if got := r.Lift(Inert); got != nil {
		t.Errorf("inert: got %q", got)
	}
	same := func(as As, want []string) {
		t.Helper()
		if got := r.Lift(as); !slices.Equal(got, want) {
			t.Errorf("%s: got\n%s\nwant\n%s", as, strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	}
	same(Primary, []string{
		"SET GLOBAL super_read_only = OFF", "RESET PERSIST IF EXISTS super_read_only",
		"SET GLOBAL read_only = OFF", "RESET PERSIST IF EXISTS read_only",
		"SET GLOBAL event_scheduler = ON", "RESET PERSIST IF EXISTS event_scheduler",
		"RESET PERSIST IF EXISTS group_replication_start_on_boot",
		"RESET PERSIST IF EXISTS skip_replica_start",
	})
	same(Replica, []string{
		"RESET PERSIST IF EXISTS group_replication_start_on_boot",
		"RESET PERSIST IF EXISTS skip_replica_start",
	})
}

func TestParseAs(t *testing.T) {
	for text, want := range map[string]As{"": Inert, "inert": Inert, "primary": Primary, "replica": Replica} {
		if got, err := ParseAs(text); err != nil || got != want {
			t.Errorf("%q: got %q, %v", text, got, err)
		}
	}
	if _, err := ParseAs("master"); err == nil {
		t.Error("master was taken")
	}
}
