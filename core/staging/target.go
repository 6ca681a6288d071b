package staging

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/remora-backup/remora/core/code"
)

// Target is what was found where a restore is to go.
type Target struct {
	Path       string // absolute, without symbolic links
	Exists     bool   // else its parent does
	Unfinished *State // of an interrupted restore; nil without one

	others []string // what is in it besides the staging directory
}

// Look looks at a target without changing anything.
func Look(target string) (Target, error) {
	path, exists, err := resolve(target)
	p := Target{Path: path, Exists: exists}
	if err != nil || !exists {
		return p, err
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		return p, fmt.Errorf("read the target: %w", err)
	}
	for _, e := range entries {
		switch e.Name() {
		case "lost+found": // a fresh file system has it; servers ignore it
		case Name:
			if p.Unfinished, err = inspectStaging(filepath.Join(path, e.Name())); err != nil {
				return p, code.Hint(code.Target, "empty the target, or name another",
					"read the remains of an earlier restore in %s: %w", path, err)
			}
		default:
			p.others = append(p.others, e.Name())
		}
	}
	return p, nil
}

// resolve returns the target's absolute path. Its parent must exist.
func resolve(target string) (path string, exists bool, err error) {
	if target == "" {
		return "", false, code.New(code.Usage, "find the target: no directory is named")
	}
	abs, err := filepath.Abs(target)
	if err != nil {
		return "", false, fmt.Errorf("find the target: %w", err)
	}
	info, err := os.Stat(abs)
	switch {
	case err == nil && !info.IsDir():
		return abs, true, code.New(code.Target, "find the target: %s is not a directory", abs)
	case err == nil:
		path, err = filepath.EvalSymlinks(abs)
		return path, true, err
	case !errors.Is(err, fs.ErrNotExist):
		return abs, false, fmt.Errorf("find the target: %w", err)
	}
	if _, err := os.Lstat(abs); err == nil {
		return abs, true, code.New(code.Target, "find the target: %s is a symbolic link to nothing", abs)
	}
	parent, err := filepath.EvalSymlinks(filepath.Dir(abs))
	if err != nil {
		return abs, false, code.Hint(code.Target, "mkdir -p "+code.Word(filepath.Dir(abs)), "find the target: its parent directory must exist: %w", err)
	}
	return filepath.Join(parent, filepath.Base(abs)), false, nil
}

// inspectStaging reads the state of an interrupted run. A run that was killed before it
// wrote its state has done nothing else either.
func inspectStaging(path string) (*State, error) {
	dir, err := os.OpenRoot(path)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	st, err := readState(dir)
	if err != nil || st != nil {
		return st, err
	}
	entries, err := fs.ReadDir(dir.FS(), ".")
	for _, e := range entries {
		if e.Name() != lockName && !strings.HasPrefix(e.Name(), stateName) {
			return nil, fmt.Errorf("%s is there without %s", e.Name(), stateName)
		}
	}
	return nil, err
}

// Accept returns nil if the restore may work here: in a new or empty directory, or in
// one where a restore of the same backup was interrupted.
func (p Target) Accept(want State) error {
	const hint = "name a directory that does not exist or is empty; remora never overwrites data"
	var foreign []string
	for _, name := range p.others {
		if p.Unfinished == nil || !slices.Contains(p.Unfinished.Entries, name) {
			foreign = append(foreign, name)
		}
	}
	if len(foreign) > 0 {
		if pid := InUse(p.Path); pid != 0 {
			return code.Hint(code.Target, hint, "check the target: %s is in use by process %d, a running server", p.Path, pid)
		}
		return code.Hint(code.Target, hint, "check the target: %s is not empty: it holds %s", p.Path, some(foreign))
	}
	if p.Unfinished == nil {
		return nil
	}
	if p.Unfinished.Backup != want.Backup || p.Unfinished.Repository != want.Repository {
		return code.Hint(code.Target, fmt.Sprintf("finish that one with --backup %s, or remove %s", p.Unfinished.Backup, filepath.Join(p.Path, Name)),
			"check the target: %s holds an unfinished restore of backup %s, not of %s", p.Path, p.Unfinished.Backup, want.Backup)
	}
	if p.Unfinished.Raw != want.Raw {
		kinds := map[bool]string{false: "restore", true: "export"}
		return code.Hint(code.Target, fmt.Sprintf("finish the %s, or remove %s", kinds[p.Unfinished.Raw], filepath.Join(p.Path, Name)),
			"check the target: %s holds an unfinished %s, this is the %s of it", p.Path, kinds[p.Unfinished.Raw], kinds[want.Raw])
	}
	return nil
}

// Outside refuses a target below a data directory: a server looks for tablespaces in all
// directories below its own, so the next start of that one would find each of them twice
// and fail.
func (p Target) Outside() error {
	for dir := filepath.Dir(p.Path); ; dir = filepath.Dir(dir) {
		for _, name := range []string{"ibdata1", Dictionary} {
			if _, err := os.Lstat(filepath.Join(dir, name)); err == nil {
				return code.Hint(code.Target, "name a directory that is not below "+dir,
					"check the target: %s is inside the data directory %s, whose server could not start any more", p.Path, dir)
			}
		}
		if dir == filepath.Dir(dir) {
			return nil
		}
	}
}

// Writable tells before anything is fetched that we may not write here.
func (p Target) Writable() error {
	dir := p.Path
	if !p.Exists {
		dir = filepath.Dir(dir)
	}
	if err := unix.Faccessat(unix.AT_FDCWD, dir, unix.W_OK|unix.X_OK, unix.AT_EACCESS); err != nil {
		return code.Hint(code.Target, "run remora as a user who may write there, or name another target",
			"check the target: write to %s as user %d: %w", dir, os.Geteuid(), err)
	}
	return nil
}

// Released waits until no server has the unfinished restore in use. That of a run that
// was killed ends with it, but not at the same instant.
func (p Target) Released(ctx context.Context) error {
	if p.Unfinished == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	for {
		pid := InUse(filepath.Join(p.Path, Name, Data))
		if pid == 0 {
			return nil
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			return code.New(code.Target, "check the target: the unfinished restore in %s is in use by process %d", p.Path, pid)
		}
	}
}

// some names the first few.
func some(names []string) string {
	const most = 5
	if len(names) <= most {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
}

// FreeBytes returns how much can be written where the target is, or will be.
func (p Target) FreeBytes() (int64, error) {
	path := p.Path
	if !p.Exists {
		path = filepath.Dir(path)
	}
	var st unix.Statfs_t
	if err := unix.Statfs(path, &st); err != nil {
		return 0, fmt.Errorf("read the free space of %s: %w", path, err)
	}
	return int64(st.Bavail) * st.Bsize, nil
}

// UsedBytes returns what the staging directory takes on disk.
func (p Target) UsedBytes() int64 {
	var used int64
	_ = filepath.WalkDir(filepath.Join(p.Path, Name), func(_ string, d fs.DirEntry, err error) error {
		if err != nil {
			return nil // it is an estimate
		}
		if info, err := d.Info(); err == nil {
			if st, ok := info.Sys().(*syscall.Stat_t); ok {
				used += st.Blocks * 512
			}
		}
		return nil
	})
	return used
}
