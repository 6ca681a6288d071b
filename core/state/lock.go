package state

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/remora-backup/remora/core/code"
)

// Owner says who holds the lock file.
type Owner struct {
	PID       int       `json:"pid"`
	Operation string    `json:"operation"`
	ID        string    `json:"id"`
	Host      string    `json:"host"`
	Since     time.Time `json:"since"`
}

// LockFile is the held lock. It ends with Release or with the process.
type LockFile struct {
	f *os.File
}

// Lock takes the lock file in dir for o, at once or not at all: the error then carries
// code.Busy and names who holds it. A lock file left by a process that is gone is free.
func Lock(dir string, o Owner) (*LockFile, error) {
	return lock(dir, "remora.lock", "wait for it, or stop it with Ctrl-C there", o)
}

// serveLock is held by the sidecar of dir as long as it lives.
const serveLock = "remora.serve.lock"

// LockServe takes the lock file of the sidecar, which is another one than that of operations: a
// sidecar takes the latter, too, for each. The error is as Lock's.
func LockServe(dir string, o Owner) (*LockFile, error) {
	return lock(dir, serveLock, "one sidecar serves a state directory: remora status asks it", o)
}

// Served reports whether a sidecar has the directory. It looks by taking the lock beside
// others who look, for a moment: a sidecar that is just being started tries more than once.
func Served(dir string) (bool, error) {
	f, err := os.Open(filepath.Join(dir, serveLock))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("look for a sidecar: %w", err)
	}
	defer f.Close() // with it goes the lock
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_SH|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return true, nil
	}
	if err != nil {
		return false, fmt.Errorf("look for a sidecar: %w", err)
	}
	return false, nil
}

func lock(dir, name, hint string, o Owner) (*LockFile, error) {
	if err := makeDir(dir); err != nil {
		return nil, fmt.Errorf("take the operation lock: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(dir, name), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("take the operation lock: %w", refused(dir, err))
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		defer f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, busy(f, hint)
		}
		return nil, fmt.Errorf("take the operation lock %s: %w", f.Name(), err)
	}
	text, err := json.Marshal(o)
	if err == nil {
		err = errors.Join(f.Truncate(0), write(f, append(text, '\n')))
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("write the operation lock: %w", refused(dir, err))
	}
	return &LockFile{f}, nil
}

func write(f *os.File, text []byte) error {
	_, err := f.WriteAt(text, 0)
	return err
}

func busy(f *os.File, hint string) error {
	who := "another operation"
	var o Owner
	if text, err := io.ReadAll(io.LimitReader(f, 4096)); err == nil && json.Unmarshal(text, &o) == nil {
		who = fmt.Sprintf("%s %s (pid %d on %s, since %s)", o.Operation, o.ID, o.PID, o.Host, o.Since.UTC().Format(time.RFC3339))
	}
	return code.Hint(code.Busy, hint, "%s is running: it holds %s", who, f.Name())
}

// Release gives the lock back. The file stays: removing it would let two processes lock
// two files of the same name.
func (l *LockFile) Release() error {
	return errors.Join(l.f.Truncate(0), l.f.Close())
}
