package backup

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/remora-backup/remora/core/code"
	"github.com/remora-backup/remora/core/innodb/tablespace"
)

// found is what one look at the server saw.
type found struct {
	spaces []entry
	gone   []missing
	todo   []entry  // of spaces, those without a good copy
	left   []string // files of discarded tables
	rest
}

// look finds out what there is. Without the lock a tablespace that does not lie where it
// should is on its way and left to the next look; under it, that is an error. The second
// half of it is judge, for which all redo up to a moment before must have been parsed.
func (e *engine) look(ctx context.Context, locked bool) (found, error) {
	var f found
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() (err error) {
		f.rest, err = e.dir.scan(ctx)
		return err
	})
	group.Go(func() error { return e.findSpaces(ctx, locked, &f) })
	return f, group.Wait()
}

// missing is a place without its file.
type missing struct {
	place
	err error
}

func (e *engine) findSpaces(ctx context.Context, locked bool, f *found) error {
	listed, err := e.cfg.Server.TablespacePaths(ctx)
	if err != nil {
		return err
	}
	if !e.asked {
		if err := e.askDiscarded(ctx); err != nil {
			return err
		}
	}
	for _, p := range e.dir.places(listed) {
		en, err := e.find(ctx, p, locked)
		switch {
		case errors.Is(err, errAway):
			f.gone = append(f.gone, missing{p, err})
		case err != nil:
			return err
		case !locked && tablespace.IsUndo(p.space) && e.dir.truncating(p.space):
			// The next look finds it complete; under the lock it is.
		default:
			f.spaces = append(f.spaces, en)
		}
	}
	return nil
}

// find finds the file at its place. One that is damaged may be that of a table which was
// discarded a moment ago: then it is half there to be imported, and away.
func (e *engine) find(ctx context.Context, p place, locked bool) (entry, error) {
	en, err := e.dir.find(p)
	if code.Of(err) != code.CorruptPage {
		return en, err
	}
	if !locked && e.redo != nil {
		if err := e.reachNow(ctx, time.Minute); err != nil {
			return entry{}, err
		}
	}
	if locked || e.redo == nil || e.track.isAway(p.space) {
		return entry{}, fmt.Errorf("%w: %w", errAway, err) // judge will know
	}
	return e.dir.find(p)
}

// judge takes the discarded tables out of what was found. A table that was
// discarded and is whole again has been imported: then its copy is not.
//
// An import changes the file without redo, and nothing in the redo says that it is over.
// The dictionary says so; a copy must begin after that.
//
// A table can also be dropped between the look and the question, and its removal be in
// the redo by then. So who is away is settled before the question, and one that the
// dictionary does not know any more is gone, not imported.
func (e *engine) judge(ctx context.Context, f *found, locked bool) error {
	away := map[uint32]bool{}
	for _, en := range f.spaces {
		if e.track.isAway(en.space) {
			away[en.space] = true
		}
	}
	ask := len(away) > 0
	if locked {
		ask = ask || slices.ContainsFunc(f.gone, func(m missing) bool { return !e.discarded[m.space] || !e.track.isAway(m.space) })
	}
	if ask {
		if err := e.askDiscarded(ctx); err != nil {
			return err
		}
	}
	f.spaces = slices.DeleteFunc(f.spaces, func(en entry) bool {
		if e.discarded[en.space] {
			f.left = append(f.left, en.path)
			return true
		}
		if away[en.space] && e.known[en.space] {
			e.track.imported(en.space)
		}
		return away[en.space] && !e.known[en.space]
	})
	e.sort(f)
	for _, m := range f.gone {
		if locked && !e.discarded[m.space] {
			return code.New(code.CorruptPage, "tablespace %s (space id %d) is in the server's dictionary: %w", m.path, m.space, m.err)
		}
	}
	return nil
}

// askDiscarded asks the server which tables are discarded.
func (e *engine) askDiscarded(ctx context.Context) error {
	known, err := e.cfg.Server.Tablespaces(ctx)
	if err != nil {
		return err
	}
	e.known, e.discarded, e.asked = map[uint32]bool{}, map[uint32]bool{}, true
	for _, s := range known {
		e.known[s.ID] = true
		if !s.HasFile() {
			e.discarded[s.ID] = true
			e.track.setAway(s.ID)
		}
	}
	return nil
}

// outstanding looks and finds the tablespaces without a good copy. All redo up to a moment
// before must have been parsed.
func (e *engine) outstanding(ctx context.Context) (found, error) {
	f, err := e.look(ctx, false)
	if err == nil {
		err = e.judge(ctx, &f, false)
	}
	return f, err
}

// sort puts those without a good copy into todo.
func (e *engine) sort(f *found) {
	f.todo = nil
	for _, en := range f.spaces {
		if en.why = e.track.stale(en); en.why != "" {
			f.todo = append(f.todo, en)
		}
	}
}

func bytesOf(entries []entry) (n int64) {
	for _, en := range entries {
		n += en.size
	}
	return n
}

// nameOf is what the file is called in the backup. What lies outside of the data directory
// goes where a server finds it within: that notes in its dictionary that the file moved.
func nameOf(en entry) string {
	if !filepath.IsAbs(en.path) {
		return filepath.ToSlash(en.path)
	}
	dir, base := filepath.Split(en.path)
	if en.space == tablespace.System || tablespace.IsUndo(en.space) || en.flags.Shared() {
		return base
	}
	return filepath.Base(dir) + "/" + base
}

// strays returns the table files that are no tables, such as one that a crash left.
func (f *found) strays() []string {
	tables := make(map[string]bool, len(f.spaces))
	for _, en := range f.spaces {
		tables[en.path] = true
	}
	strays := slices.Clone(f.left)
	for _, path := range f.tables {
		if !tables[path] && !slices.Contains(f.left, path) {
			strays = append(strays, path)
		}
	}
	return strays
}

// distinct makes sure that no two tablespaces have the same name in the backup.
func distinct(entries []entry) error {
	paths := make(map[string]string, len(entries))
	for _, en := range entries {
		name := nameOf(en)
		if other, twice := paths[name]; twice {
			return code.New(code.Version, "%s and %s would both be %s in the backup", other, en.path, name)
		}
		paths[name] = en.path
	}
	return nil
}
