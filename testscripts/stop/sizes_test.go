package stop

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/remora-backup/remora/core/mysqld/lab"
	"github.com/remora-backup/remora/core/syncpoint"
)

// sizesAndVersions backs up servers of other page sizes, all of which are supported, and tries
// one that says that it is too old.
func sizesAndVersions(t *testing.T, b *bench) {
	sizes := []string{"4096"}
	if *full {
		sizes = append(sizes, "8192", "32768", "65536")
	}
	for _, size := range sizes {
		own := b.own(t, lab.Options{InitArgs: []string{"--innodb-page-size=" + size}, Args: []string{"--innodb-buffer-pool-size=64M"}},
			"CREATE TABLE shop.wide (id INT AUTO_INCREMENT PRIMARY KEY, v MEDIUMTEXT, KEY (v(100)))",
			"INSERT INTO shop.wide (v) WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i < 200) SELECT REPEAT(SHA2(i, 256), 1 + i * 2) FROM n")
		c := own.backupAt(t, syncpoint.CopyDone)
		own.source.kill(t, "CREATE INDEX late ON shop.wide (v(50))")
		own.source.kill(t, "UPDATE shop.wide SET v = REVERSE(v) WHERE id % 3 = 0")
		if a := c.goOn(); a.code != 0 {
			t.Errorf("page size %s: exit code %d\n%s", size, a.code, a)
			continue
		}
		target := c.home.path("exact")
		if a, err := begin(c.home, "restore", "--target", target).wait(t.Context()); err != nil || a.code != 0 {
			t.Errorf("page size %s: restore: %v, exit code %d\n%s", size, err, a.code, a)
			continue
		}
		want, err := lab.Checksums(t.Context(), own.source.DB())
		if err != nil {
			t.Fatal(err)
		}
		s, err := lab.Start(t.Context(), lab.Options{DataDir: target, Args: []string{"--innodb-page-size=" + size, "--innodb-flush-method=nosync"}})
		if err != nil {
			t.Errorf("page size %s: start the restored server: %v", size, err)
			continue
		}
		if got, err := lab.Checksums(t.Context(), s.DB()); err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("page size %s: restored are %v, %v, want %v", size, got, err, want)
		}
		if err := s.Remove(); err != nil {
			t.Error(err)
		}
	}
	tooOld(t, b)
}

// tooOld is a server that tells another version than it is of.
func tooOld(t *testing.T, b *bench) {
	b = b.own(t, lab.Options{TCP: true})
	var version string
	if err := b.source.DB().QueryRowContext(t.Context(), "SELECT @@version").Scan(&version); err != nil {
		t.Fatal(err)
	}
	for _, says := range []string{"8.0.29", "5.7.44"} {
		n := newNetwork(t, b.source.Port)
		n.change(version, says+strings.Repeat("-", len(version)-len(says)))
		dir := filepath.Join(b.dir, says)
		h, err := newHome(dir, b.source.Socket, filepath.Join(dir, "repo"), "")
		if err != nil {
			t.Fatal(err)
		}
		defer os.RemoveAll(dir)
		h.change(t, fmt.Sprintf("socket = %q", b.source.Socket), fmt.Sprintf("host = \"127.0.0.1\"\nport = %d", n.listener.Addr().(*net.TCPAddr).Port))
		a, err := begin(h, "backup").wait(t.Context())
		if err != nil || a.code != 20 || !strings.Contains(a.out, says) || exists(h.path("repo/remora.json")) {
			t.Errorf("a server of version %s: %v, exit code %d, want 20 and nothing stored\n%s", says, err, a.code, a)
		}
	}
}
