package prepare

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/remora-backup/remora/core/code"
	"github.com/remora-backup/remora/core/innodb/page"
	"github.com/remora-backup/remora/core/innodb/redo"
	"github.com/remora-backup/remora/core/innodb/tablespace"
	"github.com/remora-backup/remora/core/xtrabackup"
)

// dictionary is the tablespace of the data dictionary.
const dictionary = "mysql.ibd"

// homeName is the directory of ours while a server recovers.
const homeName = ".remora-prepare"

// listDir lists the directory. What is neither file nor directory was put there by
// somebody else.
func listDir(root *os.Root) (found, error) {
	f := found{files: map[string]bool{}, dirs: map[string]bool{}, spaces: map[string]uint32{}}
	err := fs.WalkDir(root.FS(), ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case name == homeName:
			return fs.SkipDir
		case d.IsDir():
			f.dirs[name] = true
			if name == redo.Dir {
				return fs.SkipDir
			}
			return nil
		case !d.Type().IsRegular():
			return code.New(code.Target, "%s is no plain file (%v)", name, d.Type())
		}
		f.files[name] = true
		m, ok, err := xtrabackup.ParseMarker(name)
		if err != nil {
			return code.Default(code.Integrity, err)
		}
		if ok {
			f.markers = append(f.markers, m)
		}
		return nil
	})
	if err != nil {
		return f, fmt.Errorf("list the directory: %w", err)
	}
	return f, nil
}

// readMarkers reads what is in the markers, and the ids of the tablespaces they are about.
func (f *found) readMarkers(root *os.Root) error {
	if len(f.markers) == 0 {
		return nil
	}
	if err := f.readRenames(root); err != nil {
		return err
	}
	return f.readSpaces(root)
}

// readRenames reads the new names.
func (f *found) readRenames(root *os.Root) error {
	for i := range f.markers {
		m := &f.markers[i]
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
func (f *found) readSpaces(root *os.Root) error {
	for name := range f.files {
		kind := tablespace.Names{}.Kind(strings.TrimSuffix(name, string(xtrabackup.New)))
		if !kind.InnoDB() && !strings.HasPrefix(name, "ibdata") {
			continue
		}
		id, known, err := spaceOf(root, name)
		if err != nil {
			return fmt.Errorf("read the tablespace id of %s: %w", name, err)
		}
		if known {
			f.spaces[name] = id
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

// flat is innodb_data_file_path with the files where XtraBackup puts them: beside each other.
func flat(setting string) string {
	parts := strings.Split(strings.TrimSuffix(setting, ";"), ";")
	for i, p := range parts {
		name, rest, _ := strings.Cut(p, ":")
		parts[i] = path.Base(name) + ":" + rest
	}
	return strings.Join(parts, ";")
}

// systemFiles is innodb_data_file_path relative to the directory.
func systemFiles(setting, home string, files map[string]bool) (string, error) {
	if setting == "" {
		setting = "ibdata1:12M:autoextend"
	}
	parts := strings.Split(strings.TrimSuffix(setting, ";"), ";")
	for i, p := range parts {
		name, _, _ := strings.Cut(p, ":")
		if !files[name] && files[path.Join(home, name)] {
			parts[i] = path.Join(home, p)
		}
	}
	return strings.Join(parts, ";"), nil
}

// checkSystemFiles makes sure that nothing is missing which a server would make anew
// without a word. have reports whether a file is, or will be, there.
func (w *work) checkSystemFiles(have func(name string) bool) error {
	files, err := tablespace.ParseDataFiles(w.source.dataFilePath)
	if err != nil {
		return code.Default(code.Integrity, err)
	}
	names := []string{dictionary}
	for _, f := range files {
		names = append(names, f.Path)
	}
	for _, name := range names {
		if !have(name) {
			return code.New(code.Integrity, "check the files of the server: %s is not there", name)
		}
	}
	return nil
}

// undoDir returns the directory of the undo tablespaces, "" for the top.
func undoDir(files map[string]bool) (string, error) {
	dirs := map[string]bool{}
	for name := range files {
		if (tablespace.Names{}).Kind(name) == tablespace.UndoFile && path.Ext(name) != ".ibu" {
			dirs[path.Dir(name)] = true
		}
	}
	if len(dirs) != 1 {
		return "", code.New(code.Integrity, "check the files of the server: its undo tablespaces lie in %d directories, want one", len(dirs))
	}
	for dir := range dirs {
		if dir != "." {
			return dir, nil
		}
	}
	return "", nil
}

// readLowerCase finds lower_case_table_names, which XtraBackup writes nowhere, in the data
// dictionary: its table of properties has it as text. A server that is started with
// another value refuses the data. Source: dd_properties, Dictionary_properties::LCTN.
func (w *work) readLowerCase() (int, error) {
	file, err := w.root.Open(dictionary + string(xtrabackup.New))
	if err != nil {
		file, err = w.root.Open(dictionary)
	}
	if err != nil {
		return 0, code.New(code.Integrity, "read the data dictionary: %w", err)
	}
	defer file.Close()
	r := bufio.NewReaderSize(file, chunk)
	key := []byte("LCTN=")
	for {
		b, err := r.Peek(chunk)
		if i := bytes.Index(b, key); i >= 0 && i+len(key)+1 < len(b) && b[i+len(key)+1] == ';' {
			if n := int(b[i+len(key)] - '0'); n >= 0 && n <= 2 {
				return n, nil
			}
		}
		if err != nil {
			break // its end; an error of the disk the server will meet as well
		}
		_, _ = r.Discard(chunk - 16) // a match may lie across
	}
	return 0, nil // an encrypted dictionary; 0 is what Linux has
}

// checkDDL refuses what a stock server does not do in recovery: it reads of files that
// were created, renamed or deleted and leaves the directory as it is.
func (w *work) checkDDL() error {
	if w.source.kind != kindXtraBackup || w.lockDDL != "OFF" {
		return nil
	}
	for _, e := range w.source.log.events {
		if slices.Contains([]redo.Type{redo.FileCreate, redo.FileRename, redo.FileDelete}, e.Type) {
			return code.Hint(code.Version, "prepare it with XtraBackup",
				"read %s: DDL ran while it was copied with --lock-ddl=OFF (%v of %s at LSN %d), which a stock server does not carry out", w.path, e.Type, e.Path, e.Start)
		}
	}
	return nil
}
