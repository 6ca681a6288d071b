package backup

import (
	"context"
	"errors"
	"path/filepath"
	"slices"
	"strings"

	"github.com/remora-backup/remora/core/code"
	"github.com/remora-backup/remora/core/datadir"
)

// strays returns the table files that are no tables, such as one that a crash left.
func (f *found) strays() []string { return slices.Concat(f.discarded, f.unlisted()) }

// unlisted returns those of them that belong to no table at all, as far as the server's list
// of tablespaces says.
func (f *found) unlisted() (paths []string) {
	known := make(map[string]bool, len(f.spaces))
	for _, file := range f.spaces {
		known[file.Path] = true
	}
	for _, path := range f.discarded {
		known[path] = true
	}
	for _, path := range f.Tables {
		if !known[path] {
			paths = append(paths, path)
		}
	}
	return paths
}

// explain makes sure, under the lock, that what is left out is no part of the server's data.
// The list of tablespaces is a list: that a table is not in it proves nothing. A file is left
// out if its tablespace was found in another, or if the dictionary, asked for its very id, or
// name if it has no id, does not know it.
func (s *survey) explain(ctx context.Context, f *found) error {
	listed := make(map[uint32]bool, len(f.spaces))
	for _, file := range f.spaces {
		listed[file.Space] = true
	}
	var ids []uint32
	var names []string
	for _, path := range f.unlisted() {
		id, err := s.dir.SpaceOf(path)
		switch {
		case err == nil && listed[id]: // a copy of another file
		case err == nil:
			ids = append(ids, id)
		case errors.Is(err, datadir.ErrAway) || code.Of(err) == code.CorruptPage: // it has only a name
			names = append(names, strings.TrimSuffix(filepath.ToSlash(path), ".ibd"))
		default:
			return err
		}
	}
	if len(ids)+len(names) == 0 {
		return nil
	}
	known, err := s.server.TablespacesNamed(ctx, ids, names)
	if err != nil {
		return err
	}
	for _, k := range known {
		if !listed[k.ID] && !s.discarded[k.ID] {
			return code.Hint(code.Integrity, "back up again; if it stays so, compare information_schema.INNODB_TABLESPACES_BRIEF with the files",
				"the server's list of tablespaces is not whole: %s (space id %d, %s) is in its dictionary, and was not in the list", k.Name, k.ID, k.Path)
		}
	}
	return nil
}
