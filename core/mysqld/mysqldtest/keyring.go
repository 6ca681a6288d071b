package mysqldtest

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/remora-backup/remora/core/mysqld/lab"
	"github.com/remora-backup/remora/core/needs"
)

// Keyring returns a mysqld that keeps its keys in the file named, which does not exist yet.
// Such a server is told so by a file beside its program: the private MySQL gets a copy of
// its own, of links.
func Keyring(t testing.TB) (bin, file string) {
	t.Helper()
	from := filepath.Dir(filepath.Dir(Binary(t)))
	plugins := "root/usr/lib/mysql/plugin"
	if _, err := os.Stat(filepath.Join(from, plugins, "component_keyring_file.so")); err != nil {
		needs.Missing(t, "the keyring can be used with the private MySQL only: %v", err)
	}
	// Beside the original, as links cannot leave their file system.
	dir, err := os.MkdirTemp(filepath.Dir(from), ".keyring-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	to := filepath.Join(dir, "mysql")
	if out, err := exec.CommandContext(t.Context(), "cp", "-al", from, to).CombinedOutput(); err != nil {
		t.Fatalf("link the private MySQL: %v\n%s", err, out)
	}
	file = filepath.Join(t.TempDir(), "keyring")
	for name, text := range map[string]string{
		"root/usr/sbin/mysqld.my":               `{"components":"file://component_keyring_file"}`,
		plugins + "/component_keyring_file.cnf": `{"path":"` + file + `","read_only":false}`,
	} {
		if err := os.WriteFile(filepath.Join(to, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return filepath.Join(to, "bin/mysqld"), file
}

// Bin starts another mysqld than Binary.
func Bin(path string) Option { return func(o *lab.Options) { o.Bin = path } }
