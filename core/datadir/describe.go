package datadir

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// Table is a table of another engine than InnoDB.
type Table struct{ Schema, Name, Engine string }

// described is what a description said, and which file it was.
type described struct {
	inode   Inode
	changed time.Time
	table   Table
}

// Described reads the descriptions (*.sdi) among paths that Scan found: the server keeps one
// beside every table that is not InnoDB's, and no privilege is needed to see it. Those of the
// performance schema are left out. One that is gone or broken is no table: a server with no
// such engine cannot use what it is about, and one that has it is asked for its engines.
func (d *Dir) Described(paths []string) (tables []Table, err error) {
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
func (d *Dir) describe(path string) (Table, error) {
	st, err := os.Stat(d.Full(path))
	if err != nil {
		return Table{}, err
	}
	d.mu.Lock()
	had, ok := d.described[path]
	d.mu.Unlock()
	if ok && had.inode == InodeOf(st) && had.changed.Equal(st.ModTime()) {
		return had.table, nil
	}
	b, err := os.ReadFile(d.Full(path))
	if err != nil {
		return Table{}, err
	}
	t := parseDescription(b)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.described[path] = described{InodeOf(st), st.ModTime(), t}
	return t, nil
}

// parseDescription reads the serialized dictionary information of a table (sql/dd/sdi.cc,
// sql/dd/impl/types/table_impl.cc). What is none gives a table without a name.
func parseDescription(b []byte) Table {
	var sdi struct {
		Object struct {
			Name   string `json:"name"`
			Schema string `json:"schema_ref"`
			Engine string `json:"engine"`
		} `json:"dd_object"`
	}
	if json.Unmarshal(b, &sdi) != nil {
		return Table{}
	}
	return Table{Schema: sdi.Object.Schema, Name: sdi.Object.Name, Engine: sdi.Object.Engine}
}
