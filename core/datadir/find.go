package datadir

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/remora-backup/remora/core/code"
	"github.com/remora-backup/remora/core/innodb/page"
	"github.com/remora-backup/remora/core/innodb/tablespace"
)

// A first page that looks corrupt may be being written: so often it is read, with so long a
// pause.
const (
	readings = 10
	pause    = 2 * time.Millisecond
)

// File is a tablespace file that was found at its place.
type File struct {
	Place
	Inode Inode
	Size  int64 // bytes, at the last look
	Flags tablespace.Flags
	Pages page.Size
}

// Inode tells one file from another that later has its name.
type Inode struct{ Dev, Ino uint64 }

// InodeOf returns the inode of a file.
func InodeOf(st fs.FileInfo) Inode {
	if s, ok := st.Sys().(*syscall.Stat_t); ok {
		return Inode{Dev: s.Dev, Ino: s.Ino}
	}
	return Inode{}
}

// ErrAway means that the file does not lie where the dictionary says, or not yet.
var ErrAway = errors.New("the tablespace does not lie there")

// Find returns the file at its place. ErrAway is in the error if it is not there; every
// other failure to look is an error, and never taken for a file that is gone.
//
// The first page is read when the name is new or belongs to another file than before; else
// what it said is remembered, so that a look at many thousand tables is quick enough for the
// time under a lock.
func (d *Dir) Find(p Place) (File, error) {
	st, err := os.Lstat(d.Full(p.Path))
	if errors.Is(err, fs.ErrNotExist) {
		d.Forget(p)
		return File{}, fmt.Errorf("%w: no such file", ErrAway)
	}
	if err != nil {
		return File{}, Unreadable(err)
	}
	if !st.Mode().IsRegular() {
		return File{}, code.New(code.Version, "%s is not a regular file (%v); links and devices in place of tablespaces are not supported", d.Full(p.Path), st.Mode().Type())
	}
	if f, ok := d.remembered(p); ok && f.Inode == InodeOf(st) {
		f.Size = st.Size()
		return f, nil
	}
	file, err := d.Open(p.Path)
	if errors.Is(err, fs.ErrNotExist) {
		return File{}, fmt.Errorf("%w: no such file", ErrAway)
	}
	if err != nil {
		return File{}, Unreadable(err)
	}
	defer file.Close()
	f, err := d.Identify(file, p)
	if err != nil {
		return File{}, fmt.Errorf("identify %s: %w", p.Path, err)
	}
	d.remember(f)
	return f, nil
}

func (d *Dir) remembered(p Place) (File, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	f, ok := d.known[p.Path]
	return f, ok && f.Place == p
}

func (d *Dir) remember(f File) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.known[f.Path] = f
}

// Forget lets the next Find look at the file anew.
func (d *Dir) Forget(p Place) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.known, p.Path)
}

// Identify reads what an open file is. A first page that stays corrupt is code.CorruptPage;
// a file that is not the one of the place is ErrAway.
func (d *Dir) Identify(file *os.File, p Place) (f File, err error) {
	for range readings {
		if f, err = d.identify(file, p); code.Of(err) != code.CorruptPage {
			break
		}
		time.Sleep(pause)
	}
	return f, err
}

func (d *Dir) identify(file *os.File, p Place) (File, error) {
	f := File{Place: p, Pages: page.Plain(d.page)}
	h := tablespace.Header{}
	if p.Space != tablespace.System || p.Part == 0 { // of several, only the first file says what it is
		var err error
		if h, err = readHeader(file, p.Path); err != nil {
			return File{}, err
		}
		if h.Space != p.Space {
			return File{}, fmt.Errorf("%w: it is that of space id %d, want %d", ErrAway, h.Space, p.Space)
		}
		f.Flags = h.Flags
		f.Pages, _ = h.Flags.PageSize() // ParseHeader has looked at it
	}
	st, err := file.Stat() // after the header: the file grows first
	if err != nil {
		return File{}, err
	}
	f.Inode, f.Size = InodeOf(st), st.Size()
	if want := int64(h.Size) * int64(f.Pages.Physical); p.Space != tablespace.System && f.Size < want {
		return File{}, code.New(code.CorruptPage, "%s has %d bytes, and %d pages of %d bytes after its page 0: it was cut", p.Path, f.Size, h.Size, f.Pages.Physical)
	}
	return f, nil
}

// SpaceOf returns the space id on the first page of a table file that no place names, by its
// path within the directory. ErrAway is in the error if there is none.
func (d *Dir) SpaceOf(path string) (space uint32, err error) {
	file, err := d.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, fmt.Errorf("%w: no such file", ErrAway)
	}
	if err != nil {
		return 0, Unreadable(err)
	}
	defer file.Close()
	for range readings {
		var h tablespace.Header
		if h, err = readHeader(file, path); code.Of(err) != code.CorruptPage {
			return h.Space, err
		}
		time.Sleep(pause)
	}
	return 0, err
}

func readHeader(file *os.File, path string) (tablespace.Header, error) {
	var head [tablespace.HeaderSize]byte
	if _, err := file.ReadAt(head[:], 0); errors.Is(err, io.EOF) {
		return tablespace.Header{}, fmt.Errorf("%w: it has no first page", ErrAway)
	} else if err != nil {
		return tablespace.Header{}, err
	}
	h, err := tablespace.ParseHeader(head[:])
	if errors.Is(err, tablespace.ErrBlank) {
		return tablespace.Header{}, fmt.Errorf("%w: its first page is blank", ErrAway)
	}
	if err != nil {
		return tablespace.Header{}, code.New(code.CorruptPage, "%s: page 0 is corrupt: %w", path, err)
	}
	return h, nil
}

// Truncating reports whether the server is giving the undo tablespace a new file: what is
// there meanwhile may not be complete.
func (d *Dir) Truncating(space uint32) bool {
	name := fmt.Sprintf("undo_%d_trunc.log", tablespace.UndoNumber(space))
	for _, dir := range d.undo {
		if _, err := os.Lstat(filepath.Join(dir, name)); err == nil {
			return true
		}
	}
	return false
}
