package mysqldtest

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/remora-backup/remora/core/mysqld/lab"
	"github.com/remora-backup/remora/core/needs"
)

// Keyring returns a mysqld that keeps its keys in the file named, which does not exist yet.
func Keyring(t testing.TB) (bin, file string) {
	t.Helper()
	file = filepath.Join(t.TempDir(), "keyring")
	bin, dir, err := lab.Keyring(t.Context(), Binary(t), file)
	if err != nil {
		needs.Missing(t, "a keyring can be had with the private MySQL only: %v", err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return bin, file
}

// Bin starts another mysqld than Binary.
func Bin(path string) Option { return func(o *lab.Options) { o.Bin = path } }
