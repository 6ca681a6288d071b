package restore

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/remora-backup/remora/core/code"
	"github.com/remora-backup/remora/core/staging"
)

// Names in the staging directory.
const (
	lockName  = "lock"
	stateName = "state.json"
	packsName = "packs"
	dataName  = "data"
	logName   = "prepare.log"
)

// stage is how far a restore has got; it says what the files in data/ are.
type stage string

const (
	fetching   stage = "fetching"   // data/ is being filled; packs names what is whole and synced
	preparing  stage = "preparing"  // a server changes data/: these are not the backup's bytes any more
	prepared   stage = "prepared"   // recovered, shut down and synced
	publishing stage = "publishing" // Entries move from data/ to the target, mysql.ibd last
)

// stageFormat is the version of the staging directory's layout.
const stageFormat = 1

// state is what state.json says.
type state struct {
	Format     int      `json:"format"`
	Repository string   `json:"repository"`
	Backup     string   `json:"backup"`
	Stage      stage    `json:"stage"`
	Raw        bool     `json:"raw,omitempty"`     // an export: nothing is prepared
	Entries    []string `json:"entries,omitempty"` // of data/, while publishing; mysql.ibd last
}

// unfinished is an unfinished restore, owned by this process while it is open:
//
//	TARGET/.remora-restore/
//	    lock         held while a restore works here
//	    state.json   which backup, and the stage
//	    packs        one line for each pack whose bytes are all written and synced
//	    data/        the data directory in the making
//	    binlog/      the source's last binary log, for recovery only
//	    prepare.log  what the recovering server said
//
// Everything happens below data/, so a server started on TARGET meanwhile finds no
// data at all, or, for the moment of the publishing, data without mysql.ibd: it refuses
// both. A later run of the same restore goes on from what is here.
type unfinished struct {
	path   string   // of the target, absolute, without symbolic links
	target *os.Root // TARGET
	dir    *os.Root // TARGET/.remora-restore
	lock   *os.File
	owner  owner
	state  state
}

// openStaging makes the target and its staging directory, or takes over those of an
// interrupted run of the same restore. The caller closes it.
func openStaging(at place, want state, own owner) (s *unfinished, err error) {
	s = &unfinished{path: at.path, owner: own}
	defer func() {
		if err != nil {
			s.Close()
			s = nil
		}
	}()
	if err := s.makeTarget(); err != nil {
		return s, noSpace(err)
	}
	if err := s.takeLock(); err != nil {
		return s, noSpace(err)
	}
	// Look again: another restore may have been here until a moment ago.
	again, err := inspect(s.path)
	if err != nil {
		return s, err
	}
	if err := again.accept(want); err != nil {
		return s, err
	}
	if again.left != nil {
		s.state = *again.left
		return s, nil
	}
	return s, s.save(want)
}

func (s *unfinished) makeTarget() (err error) {
	if err := os.Mkdir(s.path, 0o750); err == nil {
		if err := s.owner.path(s.path); err != nil {
			return err
		}
	} else if !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("make the target: %w", err)
	}
	if s.target, err = os.OpenRoot(s.path); err != nil {
		return fmt.Errorf("open the target: %w", err)
	}
	if err := s.target.Mkdir(staging.Name, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("make the staging directory: %w", err)
	}
	if err := s.owner.in(s.target, staging.Name); err != nil {
		return err
	}
	if s.dir, err = s.target.OpenRoot(staging.Name); err != nil {
		return fmt.Errorf("open the staging directory: %w", err)
	}
	return nil
}

// takeLock keeps other restores out of this target for as long as the process lives.
func (s *unfinished) takeLock() (err error) {
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
func (s *unfinished) Close() {
	if s.lock != nil {
		_ = s.lock.Close() // nothing was written to it
	}
	for _, root := range []*os.Root{s.dir, s.target} {
		if root != nil {
			_ = root.Close()
		}
	}
}

// dataPath is the data directory in the making.
func (s *unfinished) dataPath() string { return filepath.Join(s.path, staging.Name, dataName) }

// enter remembers a new stage, durably.
func (s *unfinished) enter(next stage, entries ...string) error {
	st := s.state
	st.Stage, st.Entries = next, entries
	return s.save(st)
}

func (s *unfinished) save(st state) error {
	if err := s.write(st); err != nil {
		return fmt.Errorf("write the state of the restore: %w", noSpace(err))
	}
	s.state = st
	return nil
}

func (s *unfinished) write(st state) error {
	b, err := json.Marshal(st)
	if err != nil {
		return err
	}
	const temp = stateName + ".new"
	if err := s.writeSynced(temp, append(b, '\n')); err != nil {
		return err
	}
	if err := s.dir.Rename(temp, stateName); err != nil {
		return err
	}
	return syncDir(s.dir, ".")
}

func (s *unfinished) writeSynced(name string, b []byte) error {
	f, err := s.dir.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	return errors.Join(err, f.Sync(), f.Close())
}

// forget throws away what was fetched: the next step begins with an empty data/.
func (s *unfinished) forget() error {
	for _, name := range []string{packsName, dataName, binlogDir} {
		if err := s.dir.RemoveAll(name); err != nil {
			return fmt.Errorf("remove the remains of an earlier run: %w", err)
		}
	}
	return s.enter(fetching)
}

// remove takes the staging directory away; nothing of the restore may be in it any more.
// Until only data/ and the state are left, a run that is killed here can be run again.
func (s *unfinished) remove() error {
	for _, name := range []string{packsName, binlogDir, logName, dataName} {
		if err := s.dir.RemoveAll(name); err != nil {
			return fmt.Errorf("remove the staging directory: %w", err)
		}
	}
	if err := s.target.RemoveAll(staging.Name); err != nil {
		return fmt.Errorf("remove the staging directory: %w", err)
	}
	return syncDir(s.target, ".")
}

// sync makes everything written to the target's file system durable. It is one call for
// any number of files. Errors of earlier writes to any of them are reported by it since
// Linux 5.8, but only those that happened after the file was opened: so it is the lock.
func (s *unfinished) sync() error {
	if err := unix.Syncfs(int(s.lock.Fd())); err != nil {
		return noSpace(fmt.Errorf("sync the target: %w", err))
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

// noSpace gives an error its code if it says that the file system is full.
func noSpace(err error) error {
	if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) {
		return code.Default(code.NoSpace, err)
	}
	return err
}

// readState returns nil if there is none.
func readState(dir *os.Root) (*state, error) {
	b, err := dir.ReadFile(stateName)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var st state
	if err := json.Unmarshal(b, &st); err != nil {
		return nil, fmt.Errorf("decode %s: %w", stateName, err)
	}
	known := []stage{fetching, preparing, prepared, publishing}
	if st.Format != stageFormat || !slices.Contains(known, st.Stage) {
		return nil, fmt.Errorf("decode %s: format %d, stage %q are not known here", stateName, st.Format, st.Stage)
	}
	return &st, nil
}
