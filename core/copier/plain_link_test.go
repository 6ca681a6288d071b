package copier

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/remora-backup/remora/core/code"
	"github.com/remora-backup/remora/core/repo"
)

// A link that took the place of a table's file after it was looked at is not copied.
func TestLinkInPlaceOfATable(t *testing.T) {
	dir := t.TempDir()
	secret, link := filepath.Join(dir, "secret"), filepath.Join(dir, "t.MYD")
	if err := os.WriteFile(secret, []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(secret, link); err != nil {
		t.Fatal(err)
	}
	p := &Plain{Root: dir, NewFile: func() repo.FileID { return 1 }}
	if c, err := p.copy(t.Context(), link); code.Of(err) != code.Version {
		t.Errorf("copied %+v, %v; want it refused", c, err)
	}
}
