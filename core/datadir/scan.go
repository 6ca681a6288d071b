package datadir

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/remora-backup/remora/core/innodb/tablespace"
)

// bufferPool names the pages that a server had in memory when it was last shut down: with it
// a restored one is as quick sooner.
const bufferPool = "ib_buffer_pool"

// Rest is what lies in the data directory and is not the dictionary's to name.
type Rest struct {
	Others []string // files of other engines and the like, relative
	Dirs   []string // directories of schemas, relative
	Tables []string // all *.ibd, also such that no table has
}

// Scan lists the data directory and those of the schemas.
func (d *Dir) Scan(ctx context.Context) (r Rest, err error) {
	if err := d.scanIn(ctx, "", &r); err != nil {
		return Rest{}, fmt.Errorf("look at %s: %w", d.root, Unreadable(err))
	}
	return r, nil
}

func (d *Dir) scanIn(ctx context.Context, sub string, r *Rest) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	list, err := os.ReadDir(filepath.Join(d.root, sub))
	if errors.Is(err, fs.ErrNotExist) && sub != "" {
		return nil // dropped meanwhile
	}
	if err != nil {
		return err
	}
	for _, item := range list {
		rel := filepath.Join(sub, item.Name())
		if sub == "" && tablespace.IsSchema(item.Name()) {
			schema, err := isDir(d.Full(rel), item)
			if err != nil {
				return err
			}
			if schema {
				r.Dirs = append(r.Dirs, rel)
				if err := d.scanIn(ctx, rel, r); err != nil {
					return err
				}
				continue
			}
		}
		switch kind := d.names.Kind(rel); {
		case item.IsDir():
		case kind == tablespace.TableFile:
			r.Tables = append(r.Tables, rel)
		case kind == tablespace.EngineFile, rel == bufferPool:
			r.Others = append(r.Others, rel)
		}
	}
	return nil
}

// isDir follows a link: a schema may lie elsewhere. A link to nothing is no schema, a loop
// of them is an error.
func isDir(path string, item fs.DirEntry) (bool, error) {
	if item.Type() != fs.ModeSymlink {
		return item.IsDir(), nil
	}
	st, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return st.IsDir(), nil
}
