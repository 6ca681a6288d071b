package backup

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

// rest is what lies in the data directory and is not the dictionary's to name.
type rest struct {
	others []string // files of other engines and the like, relative
	dirs   []string // directories of schemas, relative
	tables []string // all *.ibd, also such that no table has
}

// scan lists the data directory and those of the schemas.
func (d *directory) scan(ctx context.Context) (r rest, err error) {
	if err := d.scanIn(ctx, "", &r); err != nil {
		return rest{}, fmt.Errorf("look at %s: %w", d.root, unreadable(err))
	}
	return r, nil
}

func (d *directory) scanIn(ctx context.Context, sub string, r *rest) error {
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
			schema, err := isDir(d.full(rel), item)
			if err != nil {
				return err
			}
			if schema {
				r.dirs = append(r.dirs, rel)
				if err := d.scanIn(ctx, rel, r); err != nil {
					return err
				}
				continue
			}
		}
		switch kind := d.names.Kind(rel); {
		case item.IsDir():
		case kind == tablespace.TableFile:
			r.tables = append(r.tables, rel)
		case kind == tablespace.EngineFile, rel == bufferPool:
			r.others = append(r.others, rel)
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
