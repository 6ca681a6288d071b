package backup

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"syscall"
	"time"

	"github.com/remora-backup/remora/core/code"
	"github.com/remora-backup/remora/core/innodb/page"
	"github.com/remora-backup/remora/core/innodb/tablespace"
	"github.com/remora-backup/remora/core/server"
)

// inode tells one file from another that later has its name.
type inode struct{ dev, ino uint64 }

// place is where the server says that a tablespace file lies.
type place struct {
	path  string // relative to the data directory if it is in it, else absolute
	space uint32
	part  int    // which file of the system tablespace; else 0
	first uint32 // number of the file's first page
}

// entry is a tablespace file that was found at its place.
type entry struct {
	place
	inode inode
	size  int64 // bytes, at the last look
	flags tablespace.Flags
	pages page.Size
	why   string // it is copied (again); "" for the first time, with all others
}

// key tells the files of all tablespaces apart: only the system tablespace has several.
func (p place) key() fileKey { return fileKey{p.space, p.part} }

type fileKey struct {
	space uint32
	part  int
}

// directory finds the server's files.
//
// Where tablespaces lie is the dictionary's word: that holds also for those outside the
// data directory, and names no file that is left over from something. A file is the one
// that is meant if the space id on its first page says so. That is read when the name is
// new or belongs to another file than before; else it is remembered, so that a look at
// many thousand tables is quick enough for the time under the lock.
type directory struct {
	root   string
	page   int     // innodb_page_size in bytes
	system []place // the system tablespace and the dictionary, which no list of the server names
	names  tablespace.Names
	undo   []string // where undo_N_trunc.log can lie
	known  map[string]entry
}

// errAway: the file does not lie where the dictionary says, or not yet.
var errAway = errors.New("the tablespace does not lie there")

func newDirectory(f server.Facts) (*directory, error) {
	d := &directory{root: f.DataDir, page: f.PageSize, undo: []string{f.UndoDir(), f.DataDir}, known: map[string]entry{}}
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
		p := place{path: d.relative(at), part: i, first: uint32(first)}
		first += file.Size / int64(f.PageSize)
		if i > 0 && path.Dir(nameOf(entry{place: p})) != path.Dir(nameOf(entry{place: d.system[0]})) {
			return nil, code.New(code.Version, "the files of the system tablespace lie in several directories within the data directory; that is not supported")
		}
		d.system = append(d.system, p)
		d.names.System = append(d.names.System, filepath.ToSlash(p.path))
	}
	d.system = append(d.system, place{path: "mysql.ibd", space: tablespace.Dictionary})
	for _, file := range temp {
		d.names.Temp = append(d.names.Temp, file.Path)
	}
	return d, nil
}

// relative returns a path of the server's relative to the data directory if it lies in it,
// else absolute.
func (d *directory) relative(p string) string {
	if !filepath.IsAbs(p) {
		p = filepath.Join(d.root, p)
	}
	if rel, err := filepath.Rel(d.root, p); err == nil && filepath.IsLocal(rel) {
		return rel
	}
	return filepath.Clean(p)
}

func (d *directory) full(p string) string {
	if filepath.IsAbs(p) {
		return p
	}
	return filepath.Join(d.root, p)
}

// places adds what the server does not list to what it does.
func (d *directory) places(listed []server.TablespacePath) []place {
	places := append(make([]place, 0, len(d.system)+len(listed)), d.system...)
	for _, s := range listed {
		places = append(places, place{path: d.relative(s.Path), space: s.ID})
	}
	return places
}

// find returns the file at its place. errAway is in the error if it is not there; every
// other failure to look is an error, and never taken for a file that is gone.
func (d *directory) find(p place) (entry, error) {
	st, err := os.Lstat(d.full(p.path))
	if errors.Is(err, fs.ErrNotExist) {
		delete(d.known, p.path)
		return entry{}, fmt.Errorf("%w: no such file", errAway)
	}
	if err != nil {
		return entry{}, unreadable(err)
	}
	if !st.Mode().IsRegular() {
		return entry{}, code.New(code.Version, "%s is not a regular file (%v); links and devices in place of tablespaces are not supported", d.full(p.path), st.Mode().Type())
	}
	if e, ok := d.known[p.path]; ok && e.inode == inodeOf(st) && e.place == p {
		e.size = st.Size()
		return e, nil
	}
	file, err := os.Open(d.full(p.path))
	if errors.Is(err, fs.ErrNotExist) {
		return entry{}, fmt.Errorf("%w: no such file", errAway)
	}
	if err != nil {
		return entry{}, unreadable(err)
	}
	defer file.Close()
	e, err := d.read(file, p)
	if err != nil {
		return entry{}, fmt.Errorf("identify %s: %w", p.path, err)
	}
	d.known[p.path] = e
	return e, nil
}

// read identifies an open file. A first page that looks corrupt is read again: it may be
// being written.
func (d *directory) read(file *os.File, p place) (e entry, err error) {
	for range rereads {
		if e, err = d.readOnce(file, p); code.Of(err) != code.CorruptPage {
			break
		}
		time.Sleep(firstPause)
	}
	return e, err
}

func (d *directory) readOnce(file *os.File, p place) (entry, error) {
	e := entry{place: p, pages: page.Plain(d.page)}
	h := tablespace.Header{}
	if p.space != tablespace.System || p.part == 0 { // of several, only the first file says what it is
		var err error
		if h, err = readHeader(file, p); err != nil {
			return entry{}, err
		}
		e.flags = h.Flags
		e.pages, _ = h.Flags.PageSize() // ParseHeader has looked at it
	}
	st, err := file.Stat() // after the header: the file grows first
	if err != nil {
		return entry{}, err
	}
	e.inode, e.size = inodeOf(st), st.Size()
	if want := int64(h.Size) * int64(e.pages.Physical); p.space != tablespace.System && e.size < want {
		return entry{}, code.New(code.CorruptPage, "%s has %d bytes, and %d pages of %d bytes after its page 0: it was cut", p.path, e.size, h.Size, e.pages.Physical)
	}
	return e, nil
}

func readHeader(file *os.File, p place) (tablespace.Header, error) {
	var head [tablespace.HeaderSize]byte
	if _, err := file.ReadAt(head[:], 0); errors.Is(err, io.EOF) {
		return tablespace.Header{}, fmt.Errorf("%w: it has no first page", errAway)
	} else if err != nil {
		return tablespace.Header{}, err
	}
	h, err := tablespace.ParseHeader(head[:])
	if errors.Is(err, tablespace.ErrBlank) {
		return tablespace.Header{}, fmt.Errorf("%w: its first page is blank", errAway)
	}
	if err != nil {
		return tablespace.Header{}, code.New(code.CorruptPage, "%s: page 0 is corrupt: %w", p.path, err)
	}
	if h.Space != p.space {
		return tablespace.Header{}, fmt.Errorf("%w: it is that of space id %d, want %d", errAway, h.Space, p.space)
	}
	return h, nil
}

// truncating reports whether the server is giving the undo tablespace a new file: what is
// there meanwhile may not be complete.
func (d *directory) truncating(space uint32) bool {
	name := fmt.Sprintf("undo_%d_trunc.log", tablespace.UndoNumber(space))
	for _, dir := range d.undo {
		if _, err := os.Lstat(filepath.Join(dir, name)); err == nil {
			return true
		}
	}
	return false
}

func inodeOf(st fs.FileInfo) inode {
	if s, ok := st.Sys().(*syscall.Stat_t); ok {
		return inode{dev: s.Dev, ino: s.Ino}
	}
	return inode{}
}
