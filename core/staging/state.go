package staging

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
)

// Name is that of the directory, below its target.
const Name = ".remora-restore"

// Names in it that others write to.
const (
	Data   = "data"
	Binlog = "binlog"
	Log    = "prepare.log"
)

const (
	lockName  = "lock"
	stateName = "state.json"
	packsName = "packs"
)

// Dictionary is the file without which no server starts, and which none makes anew. Moved
// last, it is what makes the target a data directory.
const Dictionary = "mysql.ibd"

// hidden is its name while the other entries are moved: a server looks for tablespaces in
// all directories below its data, also in the staging directory.
const hidden = Dictionary + ".unpublished"

// Stage is how far a restore has got; it says what the files in data/ are.
type Stage string

const (
	Fetching   Stage = "fetching"   // data/ is being filled; packs names what is whole and synced
	Preparing  Stage = "preparing"  // a server changes data/: these are not the backup's bytes any more
	Prepared   Stage = "prepared"   // recovered, shut down and synced
	Publishing Stage = "publishing" // Entries move from data/ to the target, mysql.ibd last
)

// stageFormat is the version of the staging directory's layout.
const stageFormat = 1

// State is what state.json says.
type State struct {
	Format     int      `json:"format"`
	Repository string   `json:"repository"`
	Backup     string   `json:"backup"`
	Stage      Stage    `json:"stage"`
	Raw        bool     `json:"raw,omitempty"`     // an export: nothing is prepared
	Tried      string   `json:"tried,omitempty"`   // which server has shown that it can work here
	Entries    []string `json:"entries,omitempty"` // of data/, while publishing; mysql.ibd last
}

// NewState is that in which a restore of a backup begins, or its export, which prepares nothing.
func NewState(repository, backup string, export bool) State {
	return State{Format: stageFormat, Repository: repository, Backup: backup, Stage: Fetching, Raw: export}
}

// Past reports whether only moving is left.
func (s Stage) Past() bool { return s == Prepared || s == Publishing }

// readState returns nil if there is none.
func readState(dir *os.Root) (*State, error) {
	b, err := dir.ReadFile(stateName)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var st State
	if err := json.Unmarshal(b, &st); err != nil {
		return nil, fmt.Errorf("decode %s: %w", stateName, err)
	}
	known := []Stage{Fetching, Preparing, Prepared, Publishing}
	if st.Format != stageFormat || !slices.Contains(known, st.Stage) {
		return nil, fmt.Errorf("decode %s: format %d, stage %q are not known here", stateName, st.Format, st.Stage)
	}
	return &st, nil
}
