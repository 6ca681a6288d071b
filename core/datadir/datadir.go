// Package datadir finds the files of a running server.
//
// Where tablespaces lie is the dictionary's word: that holds also for those outside the
// data directory, and names no file that is left over from something. A file is the one
// that is meant if the space id on its first page says so.
package datadir

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync"

	"github.com/remora-backup/remora/core/code"
	"github.com/remora-backup/remora/core/innodb/tablespace"
	"github.com/remora-backup/remora/core/server"
	"github.com/remora-backup/remora/core/serverfile"
)

// smallFile is more than auto.cnf or the description of a table ever has, in bytes.
const smallFile = 64 << 20

// Dir is the data directory of a server. Its methods may be called from any goroutine.
type Dir struct {
	root      string
	page      int     // innodb_page_size in bytes
	system    []Place // the system tablespace and the dictionary, which no list of the server names
	dataFiles string  // innodb_data_file_path
	names     tablespace.Names
	undo      []string // where undo_N_trunc.log can lie

	mu        sync.Mutex
	known     map[string]File      // by path: what Find has identified
	described map[string]described // by path
}

// Place is where the server says that a tablespace file lies.
type Place struct {
	Path  string // relative to the data directory if it is in it, else absolute
	Space uint32
	Part  int    // which file of the system tablespace; else 0
	First uint32 // number of the file's first page
}

// Key is what stays the same of a tablespace file, whatever it is called: only the system
// tablespace has several.
type Key struct {
	Space uint32
	Part  int
}

// Key tells the files of all tablespaces apart.
func (p Place) Key() Key { return Key{p.Space, p.Part} }

// New returns the data directory of a server with these settings, without looking at it.
// What they say that is not supported is code.Version.
func New(f server.Facts) (*Dir, error) {
	d := &Dir{root: f.DataDir, page: f.PageSize, dataFiles: f.DataFilePath, undo: []string{f.UndoDir(), f.DataDir}, known: map[string]File{}, described: map[string]described{}}
	system, err := tablespace.ParseDataFiles(f.DataFilePath)
	if err != nil {
		return nil, fmt.Errorf("read innodb_data_file_path: %w", err)
	}
	temp, err := tablespace.ParseDataFiles(f.TempDataFilePath)
	if err != nil {
		return nil, fmt.Errorf("read innodb_temp_data_file_path: %w", err)
	}
	first := int64(0)
	for i, file := range system {
		if file.Raw {
			return nil, code.New(code.Version, "innodb_data_file_path names the raw device %s; raw devices are not supported", file.Path)
		}
		at := file.Path
		if !filepath.IsAbs(at) {
			at = filepath.Join(f.DataHomeDir, at)
		}
		p := Place{Path: d.relative(at), Part: i, First: uint32(first)}
		first += file.Size / int64(f.PageSize)
		if i > 0 && path.Dir(File{Place: p}.Name()) != path.Dir(File{Place: d.system[0]}.Name()) {
			return nil, code.New(code.Version, "the files of the system tablespace lie in several directories within the data directory; that is not supported")
		}
		d.system = append(d.system, p)
		d.names.System = append(d.names.System, filepath.ToSlash(p.Path))
	}
	d.system = append(d.system, Place{Path: "mysql.ibd", Space: tablespace.Dictionary})
	for _, file := range temp {
		d.names.Temp = append(d.names.Temp, file.Path)
	}
	return d, nil
}

// Root is the path of the directory, absolute.
func (d *Dir) Root() string { return d.root }

// Full makes the path of a Place absolute.
func (d *Dir) Full(p string) string {
	if filepath.IsAbs(p) {
		return p
	}
	return filepath.Join(d.root, p)
}

// Open opens a file of the server's by its path, within the directory or absolute; see serverfile. The caller closes it.
func (d *Dir) Open(p string) (*os.File, error) {
	return serverfile.Open(d.Full(p))
}

// read returns the whole of a small file.
func (d *Dir) read(p string) ([]byte, error) {
	f, err := d.Open(p)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, smallFile))
}

// relative returns a path of the server's relative to the data directory if it lies in it,
// else absolute.
func (d *Dir) relative(p string) string {
	if !filepath.IsAbs(p) {
		p = filepath.Join(d.root, p)
	}
	if rel, err := filepath.Rel(d.root, p); err == nil && filepath.IsLocal(rel) {
		return rel
	}
	return filepath.Clean(p)
}

// Places adds what the server does not list to what it does.
func (d *Dir) Places(listed []server.TablespacePath) []Place {
	places := append(make([]Place, 0, len(d.system)+len(listed)), d.system...)
	for _, s := range listed {
		path := d.relative(s.Path)
		if tablespace.IsUndo(s.ID) {
			path = d.undoPath(path)
		}
		places = append(places, Place{Path: path, Space: s.ID})
	}
	return places
}

// undoPath returns where an undo tablespace lies. One made with a relative name lies below innodb_undo_directory, and
// is listed as it was named.
func (d *Dir) undoPath(path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	if _, err := os.Lstat(d.Full(path)); err == nil {
		return path
	}
	elsewhere := filepath.Join(d.undo[0], path)
	if _, err := os.Lstat(elsewhere); err != nil {
		return path
	}
	return d.relative(elsewhere)
}

// Check makes sure that this is the data directory of the server with that uuid, and that it
// can be read.
func (d *Dir) Check(uuid string) error {
	id, err := d.read("auto.cnf")
	if err == nil && !strings.Contains(string(id), uuid) {
		return code.New(code.ServerGone, "the data directory %s is not that of server %s: its auto.cnf names another", d.root, uuid)
	}
	if err != nil && !os.IsNotExist(err) {
		return Unreadable(err)
	}
	for _, p := range d.system {
		if _, err := d.Find(p); errors.Is(err, ErrAway) {
			return code.New(code.ServerGone, "%s, which every server has, is not in the data directory %s of the server: %w", p.Path, d.root, err)
		} else if err != nil {
			return err
		}
	}
	return nil
}

// SystemFiles are innodb_data_home_dir and innodb_data_file_path that say where the system
// tablespace lies in a backup.
func (d *Dir) SystemFiles() (home, dataFilePath string) {
	parts := strings.Split(strings.TrimSuffix(d.dataFiles, ";"), ";")
	for i, p := range d.system[:len(parts)] {
		dir, base := path.Split(File{Place: p}.Name())
		_, size, _ := strings.Cut(parts[i], ":")
		home, parts[i] = path.Clean(dir), base+":"+size
	}
	if home == "." {
		home = ""
	}
	return home, strings.Join(parts, ";")
}

// Unreadable explains why a file of the server cannot be read, if that is for want of rights.
func Unreadable(err error) error {
	if !errors.Is(err, fs.ErrPermission) {
		return err
	}
	return code.Hint(code.Privilege, "run remora as the user that mysqld runs as, or as a member of its group with read access to the data directory",
		"read the server's files: %w", err)
}
