package datadir

import (
	"path/filepath"

	"github.com/remora-backup/remora/core/code"
	"github.com/remora-backup/remora/core/innodb/tablespace"
)

// Name is what the file is called in a backup. What lies outside of the data directory goes
// where a server finds it within: that notes in its dictionary that the file moved.
func (f File) Name() string {
	if !filepath.IsAbs(f.Path) {
		return filepath.ToSlash(f.Path)
	}
	dir, base := filepath.Split(f.Path)
	if f.Space == tablespace.System || tablespace.IsUndo(f.Space) || f.Flags.Shared() {
		return base
	}
	return filepath.Base(dir) + "/" + base
}

// Distinct makes sure that no two files have the same name in a backup.
func Distinct(files []File) error {
	paths := make(map[string]string, len(files))
	for _, f := range files {
		name := f.Name()
		if other, twice := paths[name]; twice {
			return code.New(code.Version, "%s and %s would both be %s in the backup", other, f.Path, name)
		}
		paths[name] = f.Path
	}
	return nil
}
