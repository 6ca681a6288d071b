// Package staging is an unfinished directory that becomes its target by renames.
package staging

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/remora-backup/remora/core/code"
)

// Dir is an unfinished restore, owned by this process while it is open:
//
//	TARGET/.remora-restore/
//	    lock         held while a restore works here
//	    state.json   which backup, and the stage
//	    files        how each file of data/ looked when it was whole: from stage prepared on
//	    packs        one line for each pack whose bytes are all written and synced
//	    data/        the data directory in the making
//	    binlog/      the source's last binary log, for recovery only
//	    prepare.log  what the recovering server said
//
// Everything happens below data/, so a server started on TARGET meanwhile finds no
// data at all, or, for the moment of the publishing, data without mysql.ibd: it refuses
// both. A later run of the same restore goes on from what is here.
type Dir struct {
	path   string   // of the target, absolute, without symbolic links
	target *os.Root // TARGET
	dir    *os.Root // TARGET/.remora-restore
	lock   *os.File
	owner  Owner
	state  State
}

// Open makes the target and its staging directory, or takes over those of an
// interrupted run of the same restore. The caller closes it.
func Open(at Target, want State, own Owner) (s *Dir, err error) {
	s = &Dir{path: at.Path, owner: own}
	defer func() {
		if err != nil {
			s.Close()
			s = nil
		}
	}()
	if err := s.makeTarget(); err != nil {
		return s, code.Full(err)
	}
	if err := s.takeLock(); err != nil {
		return s, code.Full(err)
	}
	// Look again: another restore may have been here until a moment ago.
	again, err := Look(s.path)
	if err != nil {
		return s, err
	}
	if err := again.Accept(want); err != nil {
		return s, err
	}
	if again.Unfinished != nil {
		s.state = *again.Unfinished
		return s, nil
	}
	return s, s.save(want)
}

func (s *Dir) makeTarget() (err error) {
	if err := os.Mkdir(s.path, 0o750); err == nil {
		if err := s.owner.Path(s.path); err != nil {
			return err
		}
	} else if !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("make the target: %w", err)
	}
	if s.target, err = os.OpenRoot(s.path); err != nil {
		return fmt.Errorf("open the target: %w", err)
	}
	if err := s.target.Mkdir(Name, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("make the staging directory: %w", err)
	}
	if err := s.owner.In(s.target, Name); err != nil {
		return err
	}
	if s.dir, err = s.target.OpenRoot(Name); err != nil {
		return fmt.Errorf("open the staging directory: %w", err)
	}
	return nil
}

// takeLock keeps other restores out of this target for as long as the process lives.
func (s *Dir) takeLock() (err error) {
	if s.lock, err = s.dir.OpenFile(lockName, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600); err != nil {
		return fmt.Errorf("lock the staging directory: %w", err)
	}
	err = unix.Flock(int(s.lock.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return code.New(code.Target, "lock the target %s: another restore into it is running", s.path)
	}
	if err != nil {
		return fmt.Errorf("lock the staging directory: %w", err)
	}
	return nil
}

// Close gives the target free. What is in it stays.
func (s *Dir) Close() {
	if s.lock != nil {
		_ = s.lock.Close() // nothing was written to it
	}
	for _, root := range []*os.Root{s.dir, s.target} {
		if root != nil {
			_ = root.Close()
		}
	}
}

// Path is the directory itself.
func (s *Dir) Path() string { return filepath.Join(s.path, Name) }

// DataPath is the data directory in the making.
func (s *Dir) DataPath() string { return filepath.Join(s.path, Name, Data) }

// Stage is how far the restore has got.
func (s *Dir) Stage() Stage { return s.state.Stage }

// Tried reports which server was said to have shown that it can work here; SetTried says so.
func (s *Dir) Tried() string { return s.state.Tried }

// SetTried remembers, durably, which server has shown that it can work here.
func (s *Dir) SetTried(server string) error {
	st := s.state
	st.Tried = server
	return s.save(st)
}

// Root is where everything of the restore is written below.
func (s *Dir) Root() *os.Root { return s.dir }

// Owner is to whom what is written belongs.
func (s *Dir) Owner() Owner { return s.owner }

// Enter remembers a new stage, durably.
func (s *Dir) Enter(next Stage) error { return s.enter(next, nil) }

func (s *Dir) enter(next Stage, entries []string) error {
	st := s.state
	st.Stage, st.Entries = next, entries
	return s.save(st)
}

func (s *Dir) save(st State) error {
	if err := s.write(st); err != nil {
		return fmt.Errorf("write the state of the restore: %w", code.Full(err))
	}
	s.state = st
	return nil
}

func (s *Dir) write(st State) error {
	b, err := json.Marshal(st)
	if err != nil {
		return err
	}
	const temp = stateName + ".new"
	if err := s.WriteFile(temp, append(b, '\n')); err != nil {
		return err
	}
	if err := s.dir.Rename(temp, stateName); err != nil {
		return err
	}
	return syncDir(s.dir, ".")
}

// WriteFile writes a small file, durably.
func (s *Dir) WriteFile(name string, b []byte) error {
	f, err := s.dir.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return code.Full(err)
	}
	_, err = f.Write(b)
	return code.Full(errors.Join(err, f.Sync(), f.Close()))
}

// Forget throws away what was fetched: the next step begins with an empty data/.
func (s *Dir) Forget() error {
	for _, name := range []string{packsName, inventoryName, Data, Binlog} {
		if err := s.dir.RemoveAll(name); err != nil {
			return fmt.Errorf("remove the remains of an earlier run: %w", err)
		}
	}
	return s.Enter(Fetching)
}

// Remove takes the staging directory away; nothing of the restore may be in it any more.
// Until only data/ and the state are left, a run that is killed here can be run again.
func (s *Dir) Remove() error {
	for _, name := range []string{packsName, inventoryName, Binlog, Log, Data} {
		if err := s.dir.RemoveAll(name); err != nil {
			return fmt.Errorf("remove the staging directory: %w", err)
		}
	}
	if err := s.target.RemoveAll(Name); err != nil {
		return fmt.Errorf("remove the staging directory: %w", err)
	}
	return syncDir(s.target, ".")
}

// Sync makes everything written to the target's file system durable. It is one call for
// any number of files. Errors of earlier writes to any of them are reported by it since
// Linux 5.8, but only those that happened after the file was opened: so it is the lock.
func (s *Dir) Sync() error {
	if err := unix.Syncfs(int(s.lock.Fd())); err != nil {
		return code.Full(fmt.Errorf("sync the target: %w", err))
	}
	return nil
}

func syncDir(root *os.Root, name string) error {
	d, err := root.Open(name)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
