package repo

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
)

// ExportName is the file that says what an exported directory is.
const ExportName = "remora-export.json"

// exportFormat is the version of that file, and of the directory's layout.
const exportFormat = 1

// Export is what ExportName says. The directory around it is laid out as a data directory
// whose server was killed at the backup's position:
//
//	ibdata1, undo_001, mysql.ibd, schema/...    as they were copied, while they changed
//	#innodb_redo/#ib_redo0 ...                  from the checkpoint to the end of the backup
//	binlog.000042, binlog.index                 the last binary log, cut at the position
type Export struct {
	Format   int      `json:"format"`
	Manifest Manifest `json:"manifest"`
}

// ReadExport reads what an exported directory is. The error wraps fs.ErrNotExist if dir
// was not made by an export.
func ReadExport(dir string) (Export, error) {
	var e Export
	b, err := os.ReadFile(filepath.Join(dir, ExportName))
	if err != nil {
		return e, err
	}
	if err := json.Unmarshal(b, &e); err != nil {
		return e, fmt.Errorf("decode %s: %w", ExportName, err)
	}
	if e.Format != exportFormat {
		return e, fmt.Errorf("decode %s: format %d is not known here", ExportName, e.Format)
	}
	return e, nil
}

// NewExport describes a directory that holds the files of m.
func NewExport(m Manifest) Export { return Export{Format: exportFormat, Manifest: m} }

// Encode returns the text of ExportName.
func (e Export) Encode() ([]byte, error) {
	var text bytes.Buffer
	enc := json.NewEncoder(&text)
	enc.SetIndent("", "  ")
	err := enc.Encode(e)
	return text.Bytes(), err
}
