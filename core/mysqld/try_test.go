package mysqld_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/remora-backup/remora/core/code"
	"github.com/remora-backup/remora/core/mysqld"
	"github.com/remora-backup/remora/core/mysqld/mysqldtest"
	"github.com/remora-backup/remora/core/needs"
)

// The places that the source's configuration names, and a TMPDIR that does not exist, do not matter; what keeps the
// server from starting is told with what helps.
func TestTry(t *testing.T) {
	needs.Server(t)
	foreign := []string{"--innodb-undo-directory=/nonexistent/undo", "--tmpdir=/nonexistent", "--innodb-tmpdir=/nonexistent",
		"--log-error=/nonexistent/log", "--relay-log=/nonexistent/relay", "--innodb-data-home-dir=/nonexistent", "--secure-file-priv=/nonexistent",
		"--innodb-temp-data-file-path=../../ibtmp:12M", "--innodb-directories=/nonexistent", "--pid-file=/nonexistent/pid", "--ssl-ca=/nonexistent"}
	for name, c := range map[string]struct {
		bin  string
		args []string
		code code.Code
		hint string // in it
	}{
		"as the source was configured": {"", foreign, code.Done, ""},
		"unknown option":               {"", []string{"--nonsense=1"}, code.Usage, "mysqld_args"},
		"no such configuration":        {"", []string{"--defaults-file=/nonexistent/my.cnf"}, code.Usage, "mysqld_args"},
		"not executable":               {os.DevNull, nil, code.Usage, "noexec"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("TMPDIR", "/nonexistent")
			if c.bin == "" {
				c.bin = mysqldtest.Binary(t)
			}
			dir := filepath.Join(root(t), "trial")
			err := mysqld.Try(t.Context(), mysqld.TryOptions{Bin: c.bin, Args: c.args, Dir: dir, PageSize: 16 << 10})
			if code.Of(err) != c.code || !strings.Contains(code.HintOf(err), c.hint) {
				t.Errorf("got code %d of %v, hint %q; want %d, %q", code.Of(err), err, code.HintOf(err), c.code, c.hint)
			}
			if _, err := os.Lstat(dir); !os.IsNotExist(err) {
				t.Errorf("the trial left %s: %v", dir, err)
			}
		})
	}
}

// root is a directory that does not lie in $TMPDIR.
func root(t *testing.T) string {
	dir, err := os.MkdirTemp("/tmp", "try")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// Every option of this server that names a place is set by us.
func TestNoPlaceIsLeftToOthers(t *testing.T) {
	needs.Server(t)
	out, err := exec.CommandContext(t.Context(), mysqldtest.Binary(t), "--no-defaults", "--verbose", "--help").Output()
	if err != nil {
		t.Fatal(err)
	}
	_, list, _ := strings.Cut(string(out), "\nVariables (--variable-name=value)")
	place := regexp.MustCompile(`(dir|dirs|directory|directories|[^-]file|-file|filename|path|socket|-home|relay-log|relay-log-index)$`)
	// The installation, keys of clients that cannot connect, and what is no place.
	left := regexp.MustCompile(`^(basedir|character-sets-dir|lc-messages-dir|plugin-dir|chroot|keyring-migration-socket|ndb-tls-search-path|innodb-status-file|sync-relay-log` +
		`|max-.*|.*-core-file|local-infile|slave-load-tmpdir|.*ssl-(capath|crlpath)|.*(private|public)-key-path|init-file|innodb-data-file-path)$`)
	ours, n := mysqld.PlaceArgs(), 0
	for line := range strings.Lines(list) {
		name, _, _ := strings.Cut(line, " ")
		if !place.MatchString(name) || left.MatchString(name) {
			continue
		}
		n++
		if !slices.ContainsFunc(ours, func(a string) bool {
			return strings.HasPrefix(strings.Replace(a, "--loose-", "--", 1), "--"+name+"=") || a == "--skip-"+name
		}) {
			t.Errorf("a user's --%s would be taken", name)
		}
	}
	if n < 15 {
		t.Errorf("only %d options name a place: the list was not read", n)
	}
}
