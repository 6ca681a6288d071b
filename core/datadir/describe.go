package datadir

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/remora-backup/remora/core/sdi"
)

// described is what a description said, and which file it was.
type described struct {
	inode   Inode
	changed time.Time
	table   sdi.Table
}

// Described reads the descriptions (*.sdi) among paths that Scan found: the server keeps one
// beside every table that is not InnoDB's, and no privilege is needed to see it. Those of the
// performance schema are left out. One that is gone or broken is no table: a server with no
// such engine cannot use what it is about, and one that has it is asked for its engines.
func (d *Dir) Described(paths []string) (tables []sdi.Table, err error) {
	for _, path := range paths {
		if filepath.Ext(path) != ".sdi" || filepath.Dir(path) == "performance_schema" {
			continue
		}
		t, err := d.describe(path)
		if errors.Is(err, fs.ErrNotExist) || t.Name == "" && err == nil {
			continue
		}
		if err != nil {
			return nil, Unreadable(err)
		}
		tables = append(tables, t)
	}
	return tables, nil
}

// describe reads one, or remembers what it said.
func (d *Dir) describe(path string) (sdi.Table, error) {
	st, err := os.Stat(d.Full(path))
	if err != nil {
		return sdi.Table{}, err
	}
	d.mu.Lock()
	had, ok := d.described[path]
	d.mu.Unlock()
	if ok && had.inode == InodeOf(st) && had.changed.Equal(st.ModTime()) {
		return had.table, nil
	}
	b, err := d.read(path)
	if err != nil {
		return sdi.Table{}, err
	}
	t, err := sdi.Parse(b)
	if err != nil {
		t = sdi.Table{}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.described[path] = described{InodeOf(st), st.ModTime(), t}
	return t, nil
}
