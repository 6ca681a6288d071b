// Package mysqld runs a mysqld of our own.
//
// A restore lets the server that will serve the data recover it first: Recover starts it without network,
// turns its log into progress, and accepts the result only if the redo log was read to its very end. Tests and
// examples start servers with Start.
package mysqld

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/remora-backup/remora/core/version"
)

// Find returns the absolute path of the mysqld to run: path if it is not empty, else the one in PATH, else
// one at a place where distributions install it (often outside of a user's PATH).
func Find(path string) (string, error) {
	if path != "" {
		return executable(path)
	}
	if found, err := exec.LookPath("mysqld"); err == nil {
		return filepath.Abs(found)
	}
	for _, dir := range []string{"/usr/sbin", "/usr/libexec", "/usr/local/sbin", "/usr/local/mysql/bin"} {
		if found, err := executable(filepath.Join(dir, "mysqld")); err == nil {
			return found, nil
		}
	}
	return "", fmt.Errorf("find mysqld: it is not in PATH; name it in the configuration: [mysql] mysqld = \"/path/to/mysqld\"")
}

func executable(path string) (string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return "", fmt.Errorf("find mysqld: %w", err)
	}
	if !info.Mode().IsRegular() || info.Mode()&0o111 == 0 {
		return "", fmt.Errorf("find mysqld: %s is not an executable file", path)
	}
	return filepath.Abs(path)
}

// versionWithin bounds the question for the version: it takes milliseconds, on a machine with other work seconds.
const versionWithin = time.Minute

// Version asks the binary for its version. One that does not say it within a minute is no mysqld.
func Version(ctx context.Context, bin string) (version.Version, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, versionWithin, fmt.Errorf("no answer within %v", versionWithin))
	defer cancel()
	cmd := exec.CommandContext(ctx, bin, "--version")
	cmd.WaitDelay = time.Second
	out, err := cmd.Output()
	if ctx.Err() != nil {
		err = context.Cause(ctx) // not that it was killed
	}
	if err != nil {
		return version.Version{}, fmt.Errorf("run %s --version: %w", bin, err)
	}
	v, err := version.ParseBanner(string(out))
	if err != nil {
		return version.Version{}, fmt.Errorf("run %s --version: %w", bin, err)
	}
	return v, nil
}
