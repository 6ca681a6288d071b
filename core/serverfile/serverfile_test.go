package serverfile

import (
	"errors"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/remora-backup/remora/core/code"
)

// What may lie in place of a file of the server's is opened only if it is one.
func TestOpen(t *testing.T) {
	dir, outside := t.TempDir(), t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	secret := filepath.Join(outside, "secret")
	listener, err := net.Listen("unix", at("socket"))
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	for _, err := range []error{
		os.WriteFile(secret, []byte("secret"), 0o600), os.Mkdir(at("shop"), 0o700), os.WriteFile(at("shop/t.MYD"), []byte("rows"), 0o600),
		os.Symlink(secret, at("shop/link.MYD")), os.Symlink("t.MYD", at("shop/near.MYD")), os.Symlink(at("shop"), at("moved")),
		unix.Mkfifo(at("shop/fifo.MYD"), 0o600),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for name, want := range map[string]string{
		"shop/t.MYD": "rows", "moved/t.MYD": "rows", "shop/link.MYD": "refused", "shop/near.MYD": "refused", "shop/fifo.MYD": "refused",
		"socket": "error", "shop": "refused", "none": "absent",
	} {
		if got := opened(Open(at(name))); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
}

func opened(f *os.File, err error) string {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "absent"
	case code.Of(err) == code.Version:
		return "refused"
	case err != nil:
		return "error"
	}
	defer f.Close()
	b, err := io.ReadAll(f)
	if err != nil {
		return err.Error()
	}
	return string(b)
}
