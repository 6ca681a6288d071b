package backup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/remora-backup/remora/core/code"
	"github.com/remora-backup/remora/core/repo"
)

// others copies the small files that are not InnoDB's: tables of other engines and their
// descriptions. They have no log, so a file that changed since it was copied is copied
// again, last under the lock.
type others struct {
	root   string
	backup *repo.Backup
	packer *repo.Packer
	have   map[string]otherCopy // by relative path
	buf    []byte
}

type otherCopy struct {
	id      repo.FileID
	size    int64
	changed time.Time
	inode   inode
}

// errGrew: the file was longer or shorter at the end of its copy than at the beginning.
var errGrew = errors.New("changed while it was copied")

// refresh copies what is new or changed among paths and forgets what is gone. A file that
// changes under the copy is left for the next call, unless this is the last. The server's
// own logs (log_output=TABLE) are written to even under the lock: what they were a moment
// ago will do.
func (o *others) refresh(ctx context.Context, paths []string, last bool) error {
	now := make(map[string]otherCopy, len(paths))
	for _, path := range paths {
		c, err := o.one(ctx, path)
		switch {
		case errors.Is(err, fs.ErrNotExist) && !last:
			continue
		case errors.Is(err, errGrew) && !last:
			continue
		case errors.Is(err, errGrew) && !ofUsers(path) && c.id != 0:
		case err != nil:
			return fmt.Errorf("copy %s: %w", path, err)
		}
		now[path] = c
	}
	o.have = now
	return nil
}

func (o *others) one(ctx context.Context, path string) (otherCopy, error) {
	full := filepath.Join(o.root, path)
	st, err := os.Lstat(full)
	if err != nil {
		return otherCopy{}, err
	}
	if !st.Mode().IsRegular() {
		return otherCopy{}, code.New(code.Version, "not a regular file (%v); links and devices in place of tables are not supported", st.Mode().Type())
	}
	c := otherCopy{size: st.Size(), changed: st.ModTime(), inode: inodeOf(st)}
	if had, ok := o.have[path]; ok {
		if c.id = had.id; c == had {
			return had, nil
		}
	}
	for range 5 {
		if c, err = o.copy(ctx, full); !errors.Is(err, errGrew) {
			break
		}
	}
	return c, err
}

// ofUsers reports whether the file belongs to a table of a user. The system's own, such as
// the general log, are of other engines too, and nobody's data.
func ofUsers(path string) bool {
	switch schema, _ := filepath.Split(path); filepath.Clean(schema) {
	case "mysql", "performance_schema", "sys", "information_schema", ".":
		return false
	}
	return filepath.Ext(path) != ".sdi"
}

// copy stores one file and makes sure that it did not change meanwhile.
func (o *others) copy(ctx context.Context, full string) (otherCopy, error) {
	f, err := os.Open(full)
	if err != nil {
		return otherCopy{}, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return otherCopy{}, err
	}
	c := otherCopy{id: o.backup.NewFile(), size: st.Size(), changed: st.ModTime(), inode: inodeOf(st)}
	for at := int64(0); at < c.size; at += extentSize {
		b := o.buf[:min(extentSize, c.size-at)]
		if _, err := f.ReadAt(b, at); errors.Is(err, io.EOF) {
			return otherCopy{}, errGrew
		} else if err != nil {
			return otherCopy{}, err
		}
		if err := o.packer.Extent(ctx, repo.Extent{File: c.id, Offset: at}, b); err != nil {
			return otherCopy{}, err
		}
	}
	after, err := f.Stat()
	if err == nil && (after.Size() != c.size || !after.ModTime().Equal(c.changed)) {
		err = errGrew
	}
	return c, err
}

// keep makes the copies part of the backup.
func (o *others) keep() error {
	for path, c := range o.have {
		f := repo.File{ID: c.id, Kind: repo.KindOther, Path: filepath.ToSlash(path), Size: c.size}
		if err := o.backup.Keep(f); err != nil {
			return err
		}
	}
	return nil
}
