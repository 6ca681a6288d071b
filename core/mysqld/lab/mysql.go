// Package lab runs private MySQL servers to try things out.
//
// Tests, the quickstart and the benchmark use it. Servers listen on a unix socket in a directory of their
// own under /tmp, with root@localhost without a password; nothing outside of that directory and the cache of
// examples/mysql/get is touched.
package lab

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/remora-backup/remora/core/mysqld"
)

// MySQL returns the path of a mysqld, unpacking one first if the machine has none: see examples/mysql/get. It
// needs the source tree, which it finds from where it was compiled or from the working directory upwards.
func MySQL(ctx context.Context) (string, error) {
	script, err := getScript()
	if err != nil {
		return "", err
	}
	_ = os.Getenv("REMORA_MYSQLD") // go test sees what a test reads, not what the script does: another server is another test
	var stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, script)
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("get a private MySQL: %w\n%s", err, &stderr)
	}
	bin := strings.TrimSpace(string(out))
	if _, err := os.Stat(bin); err != nil { // for go test, too
		return "", fmt.Errorf("get a private MySQL: %w", err)
	}
	return bin, nil
}

func getScript() (string, error) {
	var dirs []string
	if _, file, _, ok := runtime.Caller(0); ok && filepath.IsAbs(file) {
		dirs = append(dirs, filepath.Dir(file)) // not with -trimpath
	}
	if wd, err := os.Getwd(); err == nil {
		dirs = append(dirs, wd)
	}
	for _, dir := range dirs {
		for ; dir != "/"; dir = filepath.Dir(dir) {
			script := filepath.Join(dir, "examples/mysql/get")
			if _, err := os.Stat(script); err == nil {
				return script, nil
			}
		}
	}
	return "", fmt.Errorf("find examples/mysql/get: no source tree above %s", strings.Join(dirs, " or "))
}

// CacheDir is the directory of things that can be made again: $REMORA_CACHE, else remora in the user's cache.
func CacheDir() (string, error) {
	if dir := os.Getenv("REMORA_CACHE"); dir != "" {
		return filepath.Abs(dir)
	}
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("find the cache directory: %w", err)
	}
	return filepath.Join(dir, "remora"), nil
}

// template returns an initialised data directory that is never started, only copied. It is made once for a
// version and its arguments, also when several processes ask at the same time.
func template(ctx context.Context, bin string, initArgs []string) (string, error) {
	v, err := mysqld.Version(ctx, bin)
	if err != nil {
		return "", err
	}
	cache, err := CacheDir()
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return "", fmt.Errorf("make the cache directory: %w", err)
	}
	key := sha256.Sum256([]byte(v.Flavour + "\x00" + strings.Join(initArgs, "\x00")))
	dir := filepath.Join(cache, fmt.Sprintf("datadir-%v-%x", v, key[:6]))
	unlock, err := lockFile(ctx, dir+".lock")
	if err != nil {
		return "", err
	}
	defer unlock()
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}
	return dir, initialise(ctx, bin, initArgs, dir)
}

func initialise(ctx context.Context, bin string, initArgs []string, dir string) error {
	temp, err := os.MkdirTemp(filepath.Dir(dir), ".datadir-")
	if err != nil {
		return fmt.Errorf("make a data directory: %w", err)
	}
	defer os.RemoveAll(temp)
	data := filepath.Join(temp, "data")
	args := append([]string{"--no-defaults", "--initialize-insecure", "--datadir=" + data}, initArgs...)
	cmd := exec.CommandContext(ctx, bin, append(args, asRoot()...)...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("initialise a data directory: %w\n%s", err, out)
	}
	// Each server makes its own identity.
	if err := os.Remove(filepath.Join(data, "auto.cnf")); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("initialise a data directory: %w", err)
	}
	if err := os.Rename(data, dir); err != nil {
		return fmt.Errorf("initialise a data directory: %w", err)
	}
	return nil
}

// asRoot is what mysqld needs to agree to run as root.
func asRoot() []string {
	if os.Geteuid() == 0 {
		return []string{"--user=root"}
	}
	return nil
}

// CopyDir copies a directory; with a file system that can, the copy shares its blocks. The target must not
// exist.
func CopyDir(ctx context.Context, from, to string) error {
	cmd := exec.CommandContext(ctx, "cp", "-a", "--reflink=auto", "-T", from, to)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("copy %s: %w\n%s", from, err, out)
	}
	return nil
}

// lockFile waits until it alone holds the lock. The lock ends with the process at the latest.
func lockFile(ctx context.Context, path string) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock: %w", err)
	}
	for {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return func() { f.Close() }, nil
		}
		select {
		case <-ctx.Done():
			f.Close()
			return nil, fmt.Errorf("lock %s: %w", path, ctx.Err())
		case <-time.After(50 * time.Millisecond):
		}
	}
}
