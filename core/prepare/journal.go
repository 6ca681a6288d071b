package prepare

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/remora-backup/remora/core/code"
	"github.com/remora-backup/remora/core/inert"
	"github.com/remora-backup/remora/core/syncpoint"
)

// JournalName is the file in which a prepare writes how far it is, before the first change.
const JournalName = "remora-prepare.json"

// stage says what the files of the directory are.
type stage string

const (
	applying   stage = "applying_markers" // Groups[Done:] are to be carried out, the redo to be converted
	recovering stage = "recovering"       // a server changes the files; there is no way back and none on
	recovered  stage = "recovered"        // it has shut down; what tells other tools so is to be written
	prepared   stage = "prepared"
)

// journal is what JournalName says.
type journal struct {
	Format int      `json:"format"`
	Stage  stage    `json:"stage"`
	Groups [][]step `json:"groups,omitempty"`
	Done   int      `json:"done"` // groups carried out
	// As is what a server on the directory is to be; "" is as its source was. A run that goes
	// on goes on with it.
	As inert.Role `json:"as,omitempty"`
	// PreparedXA and XA are what the recovery left of clients' transactions, as in inert.Record.
	PreparedXA int      `json:"prepared_xa,omitempty"`
	XA         []string `json:"xa,omitempty"`

	// disk is the directory, opened before the first change of this run: write errors are
	// told to whoever syncs the file system, but only those that came after the open.
	disk *os.File
}

const journalFormat = 1

// readJournal returns nil if there is none. The caller closes the journal.
func readJournal(root *os.Root) (*journal, error) {
	b, err := root.ReadFile(JournalName)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the journal: %w", err)
	}
	var j journal
	if err := json.Unmarshal(b, &j); err != nil {
		return nil, code.New(code.Integrity, "decode %s: %w", JournalName, err)
	}
	known := []stage{applying, recovering, recovered, prepared}
	if j.Format != journalFormat || !slices.Contains(known, j.Stage) || j.Done < 0 || j.Done > len(j.Groups) {
		return nil, code.New(code.Integrity, "decode %s: format %d, stage %q are not known here", JournalName, j.Format, j.Stage)
	}
	if err := j.open(root); err != nil {
		return nil, fmt.Errorf("read the journal: %w", err)
	}
	return &j, nil
}

// open is done before the first change: by the first save, or when an earlier run is gone on with.
func (j *journal) open(root *os.Root) (err error) {
	if j.disk == nil {
		j.disk, err = root.Open(".")
	}
	return err
}

func (j *journal) close() error {
	if j == nil || j.disk == nil {
		return nil
	}
	return j.disk.Close()
}

// save writes the journal durably, after all that was done before.
func (j *journal) save(root *os.Root) error {
	b, err := json.Marshal(j)
	if err != nil {
		return fmt.Errorf("write the journal: %w", err)
	}
	if err := j.open(root); err != nil {
		return fmt.Errorf("write the journal: %w", err)
	}
	if err := j.sync(); err != nil {
		return err
	}
	const temp = JournalName + ".tmp"
	if err := writeFile(root, temp, append(b, '\n')); err != nil {
		return fmt.Errorf("write the journal: %w", code.Full(err))
	}
	if err := root.Rename(temp, JournalName); err != nil {
		return fmt.Errorf("write the journal: %w", err)
	}
	return j.sync()
}

// stage is how far an earlier run came; "" if there was none.
func (j *journal) stage() stage {
	if j == nil {
		return ""
	}
	return j.Stage
}

// role is what a server on the directory is to be.
func (j *journal) role() inert.Role {
	if j == nil {
		return ""
	}
	return j.As
}

func (j *journal) enter(root *os.Root, s stage) error {
	j.Stage = s
	return j.save(root)
}

// sync makes everything written to the file system durable.
func (j *journal) sync() error {
	if err := unix.Syncfs(int(j.disk.Fd())); err != nil {
		return code.Full(fmt.Errorf("sync the directory: %w", err))
	}
	return nil
}

// carryOut does the groups that are not done yet.
func (j *journal) carryOut(ctx context.Context, root *os.Root) error {
	for j.Done < len(j.Groups) {
		for _, s := range j.Groups[j.Done] {
			if err := s.do(root); err != nil {
				return fmt.Errorf("apply the markers: %w", err)
			}
		}
		j.Done++
		if err := j.save(root); err != nil {
			return err
		}
		if err := syncpoint.Between(ctx, syncpoint.ApplyingGroup); err != nil {
			return err
		}
	}
	return nil
}

// step is one change of a name in the directory.
type step struct {
	Name string `json:"name"`
	To   string `json:"to,omitempty"` // "" removes the file
	// Over: To may be there already, and is replaced.
	Over bool `json:"over,omitempty"`
}

// do carries the step out unless an earlier run did.
func (s step) do(root *os.Root) error {
	_, err := root.Lstat(s.Name)
	gone := errors.Is(err, fs.ErrNotExist)
	switch {
	case err != nil && !gone:
		return err
	case s.To == "" && gone:
		return nil
	case s.To == "":
		return root.Remove(s.Name)
	}
	_, err = root.Lstat(s.To)
	there := err == nil
	switch {
	case gone && there:
		return nil
	case gone:
		return code.New(code.Integrity, "rename %s to %s: neither is there", s.Name, s.To)
	case there && !s.Over:
		return code.New(code.Integrity, "rename %s to %s: both are there", s.Name, s.To)
	}
	if dir := path.Dir(s.To); dir != "." {
		if err := root.MkdirAll(dir, dirMode); err != nil {
			return err
		}
	}
	return root.Rename(s.Name, s.To)
}
