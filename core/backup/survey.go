package backup

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/remora-backup/remora/core/code"
	"github.com/remora-backup/remora/core/copier"
	"github.com/remora-backup/remora/core/datadir"
	"github.com/remora-backup/remora/core/innodb/tablespace"
	"github.com/remora-backup/remora/core/repo"
	"github.com/remora-backup/remora/core/sdi"
)

// survey finds out what there is: the dictionary says what and where, the redo what became
// of it, the directory what lies there.
type survey struct {
	*site
	redo *capture

	known     map[uint32]bool // by space id: in the dictionary when that was asked; nil before
	discarded map[uint32]bool // by space id: in the dictionary, the table discarded
}

// found is what one look saw.
type found struct {
	spaces    []datadir.File
	missing   []missing
	todo      []copier.Job  // of spaces, those without a good copy
	discarded []string      // files of discarded tables
	tables    []sdi.Table   // of other engines
	unheld    []repo.Engine // whose rows the backup does not hold; known under the lock
	took      time.Duration // the look
	datadir.Rest
}

// missing is a place without its file.
type missing struct {
	datadir.Place
	err error
}

// bytes is how much there is to copy.
func (f *found) bytes() (n int64) {
	for _, j := range f.todo {
		n += j.Size
	}
	return n
}

// imported means that a tablespace was imported and the redo at hand has its removal: there
// is no way but to begin with newer redo.
type imported struct{ space uint32 }

func (i *imported) Error() string {
	return fmt.Sprintf("tablespace %d was discarded and imported during the backup", i.space)
}

// outstanding looks and finds the tablespaces without a good copy. All redo up to a moment
// before must have been parsed.
func (s *survey) outstanding(ctx context.Context) (found, error) {
	began := time.Now()
	f, err := s.look(ctx, false)
	if err == nil {
		err = s.judge(ctx, &f, false)
	}
	f.took = time.Since(began)
	return f, err
}

// outstandingLocked is outstanding under the lock, where nothing comes or goes any more: then
// a tablespace that does not lie where it should is an error, and so is a file that may be a
// tablespace's and is not listed.
func (s *survey) outstandingLocked(ctx context.Context) (found, error) {
	f, err := s.look(ctx, true)
	if err == nil {
		err = s.judge(ctx, &f, true)
	}
	if err == nil {
		err = s.explain(ctx, &f)
	}
	if err == nil {
		f.unheld, err = s.engines.unheld(f.tables)
	}
	return f, err
}

// look finds out what there is. Without the lock a tablespace that does not lie where it
// should is on its way and left to the next look. The second half of it is judge, for which
// all redo up to a moment before must have been parsed.
func (s *survey) look(ctx context.Context, locked bool) (found, error) {
	var f found
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() (err error) {
		if f.Rest, err = s.dir.Scan(ctx); err == nil {
			f.tables, err = s.dir.Described(f.Others)
		}
		return err
	})
	group.Go(func() error { return s.findSpaces(ctx, locked, &f) })
	return f, group.Wait()
}

func (s *survey) findSpaces(ctx context.Context, locked bool, f *found) error {
	listed, err := s.server.TablespacePaths(ctx)
	if err != nil {
		return err
	}
	if s.known == nil {
		if err := s.ask(ctx); err != nil {
			return err
		}
	}
	for _, p := range s.dir.Places(listed) {
		file, err := s.find(ctx, p, locked)
		switch {
		case errors.Is(err, datadir.ErrAway):
			f.missing = append(f.missing, missing{p, err})
		case err != nil:
			return err
		case strayed(file.Path):
			return code.Hint(code.Version, "rename its table into a database of another name, or make the table anew without DATA DIRECTORY",
				"back up %s: it lies outside of the data directory, and its directory is not named as its database: a server finds no such file where it is restored", file.Path)
		case !locked && tablespace.IsUndo(p.Space) && s.dir.Truncating(p.Space):
			// The next look finds it complete; under the lock it is.
		default:
			f.spaces = append(f.spaces, file)
		}
	}
	return nil
}

// strayed reports whether no server finds the file at another place. While it starts, InnoDB
// writes the new places of files into its dictionary, but leaves out those whose directory is not
// named as the database (MY-013589): that of a database aux, con or nul is aux@@@. Within the
// data directory the place stays the same.
func strayed(path string) bool {
	return filepath.IsAbs(path) && strings.HasSuffix(filepath.Dir(path), "@@@")
}

// find finds the file at its place. One that is damaged may be that of a table which was
// discarded a moment ago: then it is half there to be imported, and away.
func (s *survey) find(ctx context.Context, p datadir.Place, locked bool) (datadir.File, error) {
	file, err := s.dir.Find(p)
	if code.Of(err) != code.CorruptPage {
		return file, err
	}
	if !locked {
		if err := s.redo.reachNow(ctx); err != nil {
			return datadir.File{}, err
		}
	}
	if locked || s.redo.ledger.isAway(p.Space) {
		return datadir.File{}, fmt.Errorf("%w: %w", datadir.ErrAway, err) // judge will know
	}
	return s.dir.Find(p)
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
func (s *survey) judge(ctx context.Context, f *found, locked bool) error {
	ledger := s.redo.ledger
	away := map[uint32]bool{}
	for _, file := range f.spaces {
		if ledger.isAway(file.Space) {
			away[file.Space] = true
		}
	}
	ask := len(away) > 0
	if locked {
		ask = ask || slices.ContainsFunc(f.missing, func(m missing) bool { return !s.discarded[m.Space] || !ledger.isAway(m.Space) })
	}
	if ask {
		if err := s.ask(ctx); err != nil {
			return err
		}
	}
	f.spaces = slices.DeleteFunc(f.spaces, func(file datadir.File) bool {
		if s.discarded[file.Space] {
			f.discarded = append(f.discarded, file.Path)
			return true
		}
		if away[file.Space] && s.known[file.Space] {
			ledger.imported(file.Space)
		}
		return away[file.Space] && !s.known[file.Space]
	})
	s.sort(f)
	for _, m := range f.missing {
		if locked && !s.discarded[m.Space] {
			return code.New(code.CorruptPage, "tablespace %s (space id %d) is in the server's dictionary: %w", m.Path, m.Space, m.err)
		}
	}
	if space := ledger.reborn(); space != 0 {
		return &imported{space}
	}
	return nil
}

// ask asks the server which tables there are, and which of them are discarded.
func (s *survey) ask(ctx context.Context) error {
	known, err := s.server.Tablespaces(ctx)
	if err != nil {
		return err
	}
	s.known, s.discarded = map[uint32]bool{}, map[uint32]bool{}
	for _, t := range known {
		s.known[t.ID] = true
		if !t.HasFile() {
			s.discarded[t.ID] = true
			s.redo.ledger.setAway(t.ID)
		}
	}
	return nil
}

// sort puts those without a good copy into todo.
func (s *survey) sort(f *found) {
	f.todo = nil
	for _, file := range f.spaces {
		if why := s.redo.ledger.stale(file); why != "" {
			f.todo = append(f.todo, copier.Job{File: file, Why: why})
		}
	}
}
