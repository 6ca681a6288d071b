package prepare

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/remora-backup/remora/core/code"
	"github.com/remora-backup/remora/core/innodb/page"
	"github.com/remora-backup/remora/core/innodb/redo"
	"github.com/remora-backup/remora/core/innodb/tablespace"
	"github.com/remora-backup/remora/core/staging"
	"github.com/remora-backup/remora/core/xtrabackup"
)

// homeName is the directory of ours while a server recovers.
const homeName = ".remora-prepare"

// directory is one that is prepared in place, or is read only to prepare another.
type directory struct {
	path string // absolute; of what is prepared without symbolic links
	root *os.Root
}

func openDirectory(name string) (*directory, error) {
	abs, err := filepath.Abs(name)
	if err != nil {
		return nil, fmt.Errorf("find the directory: %w", err)
	}
	d := &directory{}
	if d.path, err = filepath.EvalSymlinks(abs); err != nil {
		return nil, code.New(code.Usage, "find the directory: %w", err)
	}
	if strings.ContainsAny(d.path, "\n\r\x00") {
		return nil, code.New(code.Usage, "find the directory: a line break in its name %q", d.path)
	}
	if d.root, err = os.OpenRoot(d.path); err != nil {
		return nil, code.New(code.Usage, "open the directory: %w", err)
	}
	return d, nil
}

// checkUnused refuses a directory on which somebody else works.
func (d *directory) checkUnused() error {
	if pid := staging.InUse(d.path); pid != 0 {
		return code.New(code.Target, "open the directory: %s is in use by process %d, a running server", d.path, pid)
	}
	if d.has(staging.Name) {
		return code.Hint(code.Target, "finish the restore or export first",
			"open the directory: %s holds %s, an unfinished restore or export", d.path, staging.Name)
	}
	return nil
}

func (d *directory) has(name string) bool {
	_, err := d.root.Lstat(name)
	return err == nil
}

// listing is what lies in a directory before markers are applied.
type listing struct {
	files   map[string]bool // all plain files
	dirs    map[string]bool
	spaces  map[string]uint32 // id of those tablespace files whose first page tells it, the ".new" ones too
	markers []xtrabackup.Marker
}

// list lists the directory. What is neither file nor directory was put there by somebody
// else.
func (d *directory) list() (listing, error) {
	l := listing{files: map[string]bool{}, dirs: map[string]bool{}, spaces: map[string]uint32{}}
	err := fs.WalkDir(d.root.FS(), ".", func(name string, e fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case name == homeName:
			return fs.SkipDir
		case e.IsDir():
			l.dirs[name] = true
			if name == redo.Dir {
				return fs.SkipDir
			}
			return nil
		case !e.Type().IsRegular():
			return code.New(code.Target, "%s is no plain file (%v)", name, e.Type())
		}
		l.files[name] = true
		m, ok, err := xtrabackup.ParseMarker(name)
		if err != nil {
			return code.Default(code.Integrity, err)
		}
		if ok {
			l.markers = append(l.markers, m)
		}
		return nil
	})
	if err != nil {
		return l, fmt.Errorf("list the directory: %w", err)
	}
	return l, nil
}

// readMarkers reads what is in the markers, and the ids of the tablespaces they are about.
func (l *listing) readMarkers(root *os.Root) error {
	if len(l.markers) == 0 {
		return nil
	}
	if err := l.readRenames(root); err != nil {
		return err
	}
	return l.readSpaces(root)
}

// readRenames reads the new names.
func (l *listing) readRenames(root *os.Root) error {
	for i := range l.markers {
		m := &l.markers[i]
		if m.Kind != xtrabackup.Rename {
			continue
		}
		b, err := root.ReadFile(m.Path)
		if err != nil {
			return fmt.Errorf("read marker %s: %w", m.Path, err)
		}
		if m.To, err = xtrabackup.ParseRename(b); err != nil {
			return code.New(code.Integrity, "marker %s: %w", m.Path, err)
		}
	}
	return nil
}

// readSpaces reads the ids of all tablespaces.
func (l *listing) readSpaces(root *os.Root) error {
	for name := range l.files {
		kind := tablespace.Names{}.Kind(strings.TrimSuffix(name, string(xtrabackup.New)))
		if !kind.InnoDB() && !strings.HasPrefix(name, "ibdata") {
			continue
		}
		id, known, err := spaceOf(root, name)
		if err != nil {
			return fmt.Errorf("read the tablespace id of %s: %w", name, err)
		}
		if known {
			l.spaces[name] = id
		}
	}
	return nil
}

// spaceOf reads a tablespace's id, which is on every page. known is false if the first is
// blank or not there.
func spaceOf(root *os.Root, name string) (id uint32, known bool, err error) {
	file, err := root.Open(name)
	if err != nil {
		return 0, false, err
	}
	defer file.Close()
	var b [page.HeaderSize]byte
	if _, err := io.ReadFull(file, b[:]); errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return 0, false, nil
	} else if err != nil {
		return 0, false, err
	}
	const at = page.HeaderSize - 4 // FIL_PAGE_ARCH_LOG_NO_OR_SPACE_ID
	return binary.BigEndian.Uint32(b[at:]), b != [page.HeaderSize]byte{}, nil
}
