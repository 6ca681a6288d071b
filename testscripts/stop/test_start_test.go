package stop

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/remora-backup/remora/core/mysqld/lab"
	"github.com/remora-backup/remora/core/run"
)

// moody is a mysqld that starts on a directory of its own, as it is tried, and recovers all data,
// but then refuses to serve them.
const moody = `#!/bin/sh
case "$*" in
*--version* | *--validate-config* | *--initialize*) exec %[1]q "$@" ;;
esac
exec %[1]q "$@" --no-such-setting=1
`

// wontStart restores with a server that recovers all the data and then refuses to serve them:
// the recovery is a start like any other. What was restored is set aside, and published by the
// same command when the reason is gone.
func wontStart(t *testing.T, b *bench) {
	want, err := lab.Checksums(t.Context(), b.server(t).DB())
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(b.dir, "start")
	h, err := newHome(dir, "/nowhere", b.repo, "")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	target := h.path("new")
	mysqld, err := lab.MySQL(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(h.path("moody"), fmt.Appendf(nil, moody, mysqld), 0o700); err != nil {
		t.Fatal(err)
	}
	good, bad := fmt.Sprintf("mysqld = %q", mysqld), fmt.Sprintf("mysqld = %q", h.path("moody"))
	h.change(t, good, bad)
	for range 2 { // the second finds what the first left, and is no wiser
		a, err := begin(h, "restore", "--target", target).wait(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		end := a.end()
		if a.code == 0 || end == nil || end.State != run.Failed || !strings.Contains(end.Error, "no-such-setting") ||
			!strings.HasPrefix(end.Message, "Operation aborted. Incomplete files in") || len(end.Leftovers) != 1 {
			t.Fatalf("a server that does not start: exit code %d\n%s", a.code, a)
		}
		log, err := os.ReadFile(filepath.Join(target, ".remora-restore/prepare.log"))
		if err != nil || !strings.Contains(string(log), "InnoDB initialization has ended") {
			t.Errorf("the data were not recovered first: %v\n%s", err, log)
		}
		if exists(filepath.Join(target, "mysql.ibd")) || !exists(filepath.Join(target, ".remora-restore/data/mysql.ibd")) {
			t.Error("what was restored is not set aside")
		}
	}
	h.change(t, bad, good)
	if a, err := begin(h, "restore", "--target", target).wait(t.Context()); err != nil || a.code != 0 {
		t.Fatalf("with the setting gone: %v, exit code %d\n%s", err, a.code, a)
	}
	c := &check{t: t, b: b, home: h, o: one{"restore", "", "", 1000}}
	if got := c.starts(t.Context(), target); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("restored are %v, want %v", got, want)
	}
}
