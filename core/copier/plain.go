package copier

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/remora-backup/remora/core/code"
	"github.com/remora-backup/remora/core/datadir"
	"github.com/remora-backup/remora/core/repo"
	"github.com/remora-backup/remora/core/serverfile"
)

// Plain copies the small files that are not InnoDB's: tables of other engines and their
// descriptions. They have no log, so a file that changed since it was copied is copied
// again, last under the lock.
type Plain struct {
	Root    string // the data directory
	NewFile func() repo.FileID
	Packer  *repo.Packer // nobody else's while Refresh runs

	have map[string]plainCopy // by relative path
	buf  []byte
}

type plainCopy struct {
	id      repo.FileID
	size    int64
	changed time.Time
	inode   datadir.Inode
}

// errGrew: the file was longer or shorter at the end of its copy than at the beginning.
var errGrew = errors.New("changed while it was copied")

// Refresh copies what is new or changed among paths and forgets what is gone. A file that
// changes under the copy is left for the next call, unless this is the last. The server's
// own logs (log_output=TABLE) are written to even under the lock: what they were a moment
// ago will do.
func (p *Plain) Refresh(ctx context.Context, paths []string, last bool) error {
	now := make(map[string]plainCopy, len(paths))
	for _, path := range paths {
		c, err := p.one(ctx, path)
		switch {
		case errors.Is(err, fs.ErrNotExist) && !last:
			continue
		case errors.Is(err, errGrew) && !last:
			continue
		case errors.Is(err, errGrew) && !OfUsers(path) && c.id != 0:
		case err != nil:
			return fmt.Errorf("copy %s: %w", path, err)
		}
		now[path] = c
	}
	p.have = now
	return nil
}

func (p *Plain) one(ctx context.Context, path string) (plainCopy, error) {
	full := filepath.Join(p.Root, path)
	st, err := os.Lstat(full)
	if err != nil {
		return plainCopy{}, err
	}
	if !st.Mode().IsRegular() {
		return plainCopy{}, code.New(code.Version, "not a regular file (%v); links and devices in place of tables are not supported", st.Mode().Type())
	}
	c := plainCopy{size: st.Size(), changed: st.ModTime(), inode: datadir.InodeOf(st)}
	if had, ok := p.have[path]; ok {
		if c.id = had.id; c == had {
			return had, nil
		}
	}
	for range 5 {
		if c, err = p.copy(ctx, full); !errors.Is(err, errGrew) {
			break
		}
	}
	return c, err
}

// OfUsers reports whether the file belongs to a table of a user. The server's own are its two
// logs, whose engine can be changed, and the descriptions of tables; nobody's data. Whatever
// else lies in its schemas somebody has put there.
func OfUsers(path string) bool {
	schema, file := filepath.Split(path)
	name, _, _ := strings.Cut(file, ".")
	switch filepath.Clean(schema) {
	case "performance_schema", "information_schema", ".":
		return false
	case "mysql":
		if name == "general_log" || name == "slow_log" {
			return false
		}
	}
	return filepath.Ext(path) != ".sdi"
}

// copy stores one file and makes sure that it did not change meanwhile.
func (p *Plain) copy(ctx context.Context, full string) (plainCopy, error) {
	f, err := serverfile.Open(full)
	if err != nil {
		return plainCopy{}, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return plainCopy{}, err
	}
	c := plainCopy{id: p.NewFile(), size: st.Size(), changed: st.ModTime(), inode: datadir.InodeOf(st)}
	if p.buf == nil {
		p.buf = make([]byte, ExtentSize)
	}
	for at := int64(0); at < c.size; at += ExtentSize {
		b := p.buf[:min(ExtentSize, c.size-at)]
		if _, err := f.ReadAt(b, at); errors.Is(err, io.EOF) {
			return plainCopy{}, errGrew
		} else if err != nil {
			return plainCopy{}, err
		}
		if err := p.Packer.Extent(ctx, repo.Extent{File: c.id, Offset: at}, b); err != nil {
			return plainCopy{}, err
		}
	}
	after, err := f.Stat()
	if err == nil && (after.Size() != c.size || !after.ModTime().Equal(c.changed)) {
		err = errGrew
	}
	return c, err
}

// Files are the copies, as they are called in a backup.
func (p *Plain) Files() (files []repo.File) {
	for path, c := range p.have {
		files = append(files, repo.File{ID: c.id, Kind: repo.KindOther, Path: filepath.ToSlash(path), Size: c.size})
	}
	return files
}
