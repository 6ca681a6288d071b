package inert

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/remora-backup/remora/core/code"
)

// RecordName is the file that a restore leaves in the data directory: what was restored, and
// what keeps it quiet. No server reads it.
const RecordName = "remora-restored.json"

// Record is what a restore says of the data directory that it made. Who ends the restore
// compares the started server with it, then lifts Set.
type Record struct {
	Format     int       `json:"format"` // 1
	Restored   time.Time `json:"restored"`
	Remora     string    `json:"remora,omitempty"` // version that restored it
	As         Role      `json:"as"`
	Adopted    time.Time `json:"adopted,omitzero"` // as As; from then on the server is its owner's
	Backup     string    `json:"backup"`           // its id
	Repository string    `json:"repository"`       // its id
	SourceUUID string    `json:"source_uuid"`
	// GTIDExecuted is what the restored server must have, and nothing else.
	GTIDExecuted string       `json:"gtid_executed"`
	LSN          uint64       `json:"lsn"` // of the backup's end
	Tablespaces  []Tablespace `json:"tablespaces"`
	Set          []Setting    `json:"set,omitempty"`  // persisted variables that were changed
	Lift         []string     `json:"lift,omitempty"` // SQL that takes Set back
	// PreparedXA is how many prepared XA transactions of clients there are: nobody but them, or a
	// person, ends them. XA are those known by name, as XA COMMIT takes them.
	PreparedXA int      `json:"prepared_xa,omitempty"`
	XA         []string `json:"xa,omitempty"`
	// Emptied are MEMORY tables, whose rows no backup has, by the names that SQL takes.
	Emptied []string `json:"emptied,omitempty"`
}

// Tablespace is one that must be there.
type Tablespace struct {
	Space uint32 `json:"space"`
	Path  string `json:"path"` // in the data directory
}

const recordFormat = 1

// Write puts the record into the data directory dir of root; it is not synced.
func (r Record) Write(root *os.Root, dir string) error {
	r.Format = recordFormat
	b, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return fmt.Errorf("write %s: %w", RecordName, err)
	}
	if err := root.WriteFile(dir+"/"+RecordName, append(b, '\n'), 0o640); err != nil {
		return fmt.Errorf("write %s: %w", RecordName, err)
	}
	return nil
}

// ReadRecord reads the record of a data directory. Without one the error is fs.ErrNotExist;
// one that is not understood is code.Integrity.
func ReadRecord(dataDir string) (Record, error) {
	var r Record
	b, err := os.ReadFile(filepath.Join(dataDir, RecordName))
	if errors.Is(err, fs.ErrNotExist) {
		return r, code.Hint(code.Target, "it is written by `remora restore`", "read what was restored: %w", err)
	}
	if err != nil {
		return r, fmt.Errorf("read what was restored: %w", err)
	}
	if err := json.Unmarshal(b, &r); err != nil {
		return r, code.New(code.Integrity, "decode %s: %w", RecordName, err)
	}
	if r.Format != recordFormat {
		return r, code.New(code.Integrity, "decode %s: its format %d is not known here", RecordName, r.Format)
	}
	return r, nil
}
