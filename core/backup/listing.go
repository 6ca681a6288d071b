package backup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/remora-backup/remora/core/code"
	"github.com/remora-backup/remora/core/innodb/page"
	"github.com/remora-backup/remora/core/innodb/tablespace"
)

// inode tells one file from another that later has its name.
type inode struct{ dev, ino uint64 }

// entry is a tablespace file found on disk.
type entry struct {
	path  string // relative to the data directory, '/'-separated
	inode inode
	space uint32
	part  int // which file of the system tablespace; else 0
	flags tablespace.Flags
	pages page.Size
	kind  tablespace.Kind
}

// key tells the files of all tablespaces apart: only the system tablespace has several.
func (e entry) key() fileKey { return fileKey{e.space, e.part} }

type fileKey struct {
	space uint32
	part  int
}

// directory sees which files the server's data directory holds.
//
// A file is identified by the space id on its first page. That is read when the name is
// new, belongs to another inode than before, was named in the redo, or can change without
// leaving redo (undo tablespaces); else it is remembered, so that a look at many thousand
// tables is quick enough for the time under the lock.
type directory struct {
	root  string
	names tablespace.Names
	page  int              // innodb_page_size in bytes
	known map[string]entry // by path
}

// found is what one look at the directory saw.
type found struct {
	spaces []entry
	others []string // files of other engines, relative
	dirs   []string // directories of schemas, relative
	blank  []string // tablespace files whose first page is not written yet
}

// look lists the directory. Names that vanish meanwhile are left out: without a lock that
// is ordinary, and under it nothing vanishes. Every other failure to look is an error, and
// never taken for a file that is gone.
func (d *directory) look(ctx context.Context, touched map[string]bool) (found, error) {
	var f found
	if err := d.lookIn(ctx, "", touched, &f); err != nil {
		return found{}, fmt.Errorf("look at %s: %w", d.root, err)
	}
	return f, nil
}

func (d *directory) lookIn(ctx context.Context, sub string, touched map[string]bool, f *found) error {
	if err := ctx.Err(); err != nil {
		return context.Cause(ctx)
	}
	list, err := os.ReadDir(filepath.Join(d.root, sub))
	if errors.Is(err, fs.ErrNotExist) && sub != "" {
		return nil
	}
	if err != nil {
		return err
	}
	for _, item := range list {
		rel := filepath.Join(sub, item.Name())
		switch kind := d.names.Kind(rel); {
		case item.IsDir():
			if sub == "" && tablespace.IsSchema(item.Name()) {
				f.dirs = append(f.dirs, rel)
				err = d.lookIn(ctx, rel, touched, f)
			}
		case kind.InnoDB():
			err = d.identify(rel, kind, touched[rel], f)
		case kind.Copied():
			f.others = append(f.others, rel)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// identify adds the tablespace file at rel.
func (d *directory) identify(rel string, kind tablespace.Kind, afresh bool, f *found) error {
	path := filepath.Join(d.root, rel)
	st, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if !st.Mode().IsRegular() {
		return code.New(code.Version, "%s is not a regular file (%v); links and devices in the data directory are not supported", rel, st.Mode().Type())
	}
	now := inodeOf(st)
	if e, ok := d.known[rel]; ok && e.inode == now && !afresh && kind != tablespace.UndoFile {
		f.spaces = append(f.spaces, e)
		return nil
	}
	delete(d.known, rel)
	file, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer file.Close()
	e, err := d.readEntry(file, rel, kind)
	if errors.Is(err, errBlank) {
		f.blank = append(f.blank, rel)
		return nil
	}
	if err != nil {
		return fmt.Errorf("identify %s: %w", rel, err)
	}
	d.known[rel] = e
	f.spaces = append(f.spaces, e)
	return nil
}

// errBlank: the file has no first page yet.
var errBlank = errors.New("first page is not written yet")

// readEntry identifies an open tablespace file.
func (d *directory) readEntry(file *os.File, rel string, kind tablespace.Kind) (entry, error) {
	st, err := file.Stat()
	if err != nil {
		return entry{}, err
	}
	e := entry{path: filepath.ToSlash(rel), inode: inodeOf(st), kind: kind}
	if kind == tablespace.SystemFile {
		e.pages, e.part = page.Plain(d.page), slices.Index(d.names.System, e.path)
		return e, nil
	}
	var head [tablespace.HeaderSize]byte
	if _, err := file.ReadAt(head[:], 0); errors.Is(err, io.EOF) {
		return entry{}, errBlank
	} else if err != nil {
		return entry{}, err
	}
	h, err := tablespace.ParseHeader(head[:])
	if errors.Is(err, tablespace.ErrBlank) {
		return entry{}, errBlank
	}
	if err == nil {
		e.pages, err = h.Flags.PageSize()
	}
	if err != nil {
		return entry{}, code.New(code.CorruptPage, "%w", err)
	}
	e.space, e.flags = h.Space, h.Flags
	return e, nil
}

func inodeOf(st fs.FileInfo) inode {
	if s, ok := st.Sys().(*syscall.Stat_t); ok {
		return inode{dev: s.Dev, ino: s.Ino}
	}
	return inode{}
}

// cleanPath makes a path of the redo one relative to the data directory.
func cleanPath(p string) string { return strings.TrimPrefix(filepath.ToSlash(filepath.Clean(p)), "./") }
