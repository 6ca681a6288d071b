package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// Keyring returns a mysqld that keeps its keys in file, with component_keyring_file. Such a server
// is told so by a file beside its program: the private MySQL that has bin gets a copy of its own,
// of links, in dir, which the caller removes.
func Keyring(ctx context.Context, bin, file string) (keyed, dir string, err error) {
	from := filepath.Dir(filepath.Dir(bin))
	plugins := "root/usr/lib/mysql/plugin"
	if _, err := os.Stat(filepath.Join(from, plugins, "component_keyring_file.so")); err != nil {
		return "", "", fmt.Errorf("make a server with a keyring: %w", err)
	}
	// Beside the original, as links cannot leave their file system.
	if dir, err = os.MkdirTemp(filepath.Dir(from), ".keyring-"); err != nil {
		return "", "", fmt.Errorf("make a server with a keyring: %w", err)
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("make a server with a keyring: %w", errors.Join(err, os.RemoveAll(dir)))
		}
	}()
	to := filepath.Join(dir, "mysql")
	if out, err := exec.CommandContext(ctx, "cp", "-al", from, to).CombinedOutput(); err != nil {
		return "", "", fmt.Errorf("link the private MySQL: %w: %s", err, out)
	}
	for name, text := range map[string]string{
		"root/usr/sbin/mysqld.my":               `{"components":"file://component_keyring_file"}`,
		plugins + "/component_keyring_file.cnf": fmt.Sprintf(`{"path":%q,"read_only":false}`, file),
	} {
		if err := os.WriteFile(filepath.Join(to, name), []byte(text), 0o600); err != nil {
			return "", "", err
		}
	}
	return filepath.Join(to, "bin/mysqld"), dir, nil
}
