package host

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/remora-backup/remora/core/code"
	"github.com/remora-backup/remora/plugins/internal/wire"
)

// Descriptors that a plugin inherits beside the standard ones.
const (
	livenessFD   = 3
	executableFD = 4
)

// command makes the plugin's command line. release closes what was opened for it once
// the process runs.
func command(spec Spec, opts Options) (cmd *exec.Cmd, release func(), err error) {
	cmd = &exec.Cmd{
		Env:         environment(spec.EnvPass),
		SysProcAttr: &syscall.SysProcAttr{Setpgid: true},
		ExtraFiles:  make([]*os.File, 1), // livenessFD, filled in by process
	}
	release = func() {}
	switch {
	case slices.Contains(opts.Builtins[spec.Kind], spec.Name):
		cmd.Path = opts.Self
		cmd.Args = append([]string{"remora", "plugin", spec.Kind, spec.Name}, spec.Args...)
		return cmd, release, nil
	case !strings.Contains(spec.Name, "/"):
		known := strings.Join(opts.Builtins[spec.Kind], ", ")
		return nil, nil, code.Hint(code.Plugin, "name a built-in or give the absolute path of an executable",
			"unknown %s plugin %q; known: %s", spec.Kind, spec.Name, known)
	}
	file, err := openExecutable(spec.Name)
	if err != nil {
		return nil, nil, err
	}
	cmd.Path = spec.Name
	cmd.Args = append([]string{spec.Name}, spec.Args...)
	if spec.SHA256 == "" {
		return cmd, release, file.Close()
	}
	if err := checkDigest(file, spec.SHA256); err != nil {
		_ = file.Close()
		return nil, nil, err
	}
	// The file that was read is the file that runs, whatever its name means by then.
	cmd.ExtraFiles = append(cmd.ExtraFiles, file)
	cmd.Path = fmt.Sprintf("/proc/self/fd/%d", executableFD)
	return cmd, func() { _ = file.Close() }, nil
}

// environment is what a plugin sees: nothing of the host's but what it was promised.
func environment(pass []string) []string {
	env := []string{fmt.Sprintf("%s=%d", wire.LivenessEnv, livenessFD)}
	for _, name := range pass {
		if value, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+value)
		}
	}
	return env
}

// openExecutable opens a third party's executable if nobody but its owner, who must be
// this user or root, can have put it there.
func openExecutable(path string) (*os.File, error) {
	if !filepath.IsAbs(path) || filepath.Clean(path) != path {
		return nil, fmt.Errorf("%q is not a clean absolute path", path)
	}
	dir := filepath.Dir(path)
	real, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return nil, fmt.Errorf("follow the directory: %w", err)
	}
	if real != dir {
		return nil, fmt.Errorf("directory %s is reached through a symbolic link; its real name is %s", dir, real)
	}
	for d := dir; ; d = filepath.Dir(d) {
		info, err := os.Lstat(d)
		if err != nil {
			return nil, fmt.Errorf("check the directory: %w", err)
		}
		// Others' entries are safe in a sticky directory, such as /tmp, but not in the
		// one that holds the plugin.
		if sticky := info.Mode()&os.ModeSticky != 0 && d != dir; !sticky {
			if err := onlyOwnerWrites(d, info); err != nil {
				return nil, err
			}
		}
		if d == "/" {
			break
		}
	}
	file, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, fmt.Errorf("open the executable: %w", err)
	}
	info, err := file.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is not a regular file", path)
	}
	if err == nil {
		err = onlyOwnerWrites(path, info)
	}
	if err != nil {
		_ = file.Close()
		return nil, err
	}
	return file, nil
}

func onlyOwnerWrites(path string, info os.FileInfo) error {
	if info.Mode().Perm()&0o022 != 0 {
		return fmt.Errorf("%s can be written by others than its owner (mode %v)", path, info.Mode().Perm())
	}
	if st, ok := info.Sys().(*syscall.Stat_t); ok && st.Uid != 0 && int(st.Uid) != os.Geteuid() {
		return fmt.Errorf("%s belongs to user %d, neither root nor the user that runs remora", path, st.Uid)
	}
	return nil
}

func checkDigest(file *os.File, want string) error {
	h := sha256.New()
	if _, err := io.Copy(h, file); err != nil {
		return fmt.Errorf("read the executable: %w", err)
	}
	if got := hex.EncodeToString(h.Sum(nil)); !strings.EqualFold(got, want) {
		return fmt.Errorf("its SHA-256 is %s, not %s", got, want)
	}
	return nil
}

// socketDir makes the private directory of a plugin's sockets. The name of a socket must
// fit in 108 bytes, so a long path is not used.
func socketDir(base string) (string, error) {
	const room = 60 // for what is made below base
	if len(base)+room > 107 {
		base = "/tmp"
	}
	dir, err := os.MkdirTemp(base, "remora-")
	if err != nil {
		return "", fmt.Errorf("make a directory for sockets: %w", err)
	}
	return dir, nil // MkdirTemp gives it mode 0700
}

func shortName(name string) string { return filepath.Base(name) }
