package prepare

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/remora-backup/remora/core/code"
	"github.com/remora-backup/remora/core/innodb/redo"
	"github.com/remora-backup/remora/core/innodb/tablespace"
	"github.com/remora-backup/remora/core/xtrabackup"
)

// change is what an incremental backup has of one tablespace.
type change struct {
	name  string // of the tablespace, in the end
	delta string // path in the incremental backup
	meta  xtrabackup.Meta
}

// system reports whether it is a file of the system tablespace: there may be several, and
// they never get another name.
func (c change) system() bool { return c.meta.Space == tablespace.System }

// planIncremental says which tablespaces there are in the end, and how the base's files
// come to bear their names. Nothing of the incremental backup is changed.
func (w *work) planIncremental(base, list found) error {
	changes, err := w.readChanges(list)
	if err != nil {
		return err
	}
	w.changes = changes
	if w.journal != nil {
		return nil
	}
	if err := base.readSpaces(w.root); err != nil {
		return err
	}
	final := map[uint32]string{}
	for _, c := range changes {
		final[c.meta.Space] = c.name
	}
	for _, m := range list.markers {
		if m.Kind == xtrabackup.Delete && !slices.Contains(slices.Collect(maps.Values(base.spaces)), m.Space) && !w.hadMeta[m.Space] {
			return bad(m, "neither the base nor the incremental backup has tablespace %d", m.Space)
		}
	}
	var groups [5][]step
	for name, id := range base.spaces {
		to, kept := final[id]
		switch {
		case id == tablespace.System:
		case !kept:
			groups[0] = append(groups[0], step{Name: name})
		case to != name:
			temp := fmt.Sprintf("%s.remora-%d", name, id)
			groups[1] = append(groups[1], step{Name: name, To: temp})
			groups[2] = append(groups[2], step{Name: temp, To: to})
		}
	}
	for name := range base.files { // of other engines: those of the incremental backup count
		if (tablespace.Names{}).Kind(name) == tablespace.EngineFile && !list.files[name] {
			groups[3] = append(groups[3], step{Name: name})
		}
	}
	w.groups, w.source.markers = groups[:], len(list.markers)
	return nil
}

// readChanges applies the markers to the deltas: .crpt and .del take one away, .ren gives
// it another name, .new.delta counts instead of all others of its id.
func (w *work) readChanges(list found) ([]change, error) {
	byID, system := map[uint32]change{}, map[string]change{}
	fresh := map[uint32]change{}
	w.hadMeta = map[uint32]bool{}
	for name := range list.files {
		file, ok := strings.CutSuffix(name, xtrabackup.MetaSuffix)
		if !ok {
			continue
		}
		m, err := readWith(w.inc, name, xtrabackup.ParseMeta)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		if !list.files[file+xtrabackup.DeltaSuffix] {
			return nil, code.New(code.Integrity, "read %s: there is no %s%s", w.incPath, file, xtrabackup.DeltaSuffix)
		}
		c := change{name: file, delta: file + xtrabackup.DeltaSuffix, meta: m}
		plain, isNew := strings.CutSuffix(file, string(xtrabackup.New))
		to := byID
		if isNew {
			c.name, to = plain, fresh
		} else {
			w.hadMeta[m.Space] = true
		}
		switch other, twice := to[m.Space]; {
		case c.system() && (isNew || system[c.name].delta == ""):
			system[c.name] = c
		case c.system():
		case twice:
			return nil, code.New(code.Integrity, "read %s: %s and %s are both tablespace %d", w.incPath, other.delta, c.delta, m.Space)
		default:
			to[m.Space] = c
		}
	}
	if err := markChanges(list.markers, byID); err != nil {
		return nil, err
	}
	maps.Copy(byID, fresh)
	all := slices.Concat(slices.Collect(maps.Values(system)), slices.Collect(maps.Values(byID)))
	names := map[string]bool{}
	for _, c := range all {
		if names[c.name] {
			return nil, code.New(code.Integrity, "read %s: two tablespaces would be %s", w.incPath, c.name)
		}
		names[c.name] = true
	}
	return all, nil
}

func markChanges(markers []xtrabackup.Marker, byID map[uint32]change) error {
	for _, kind := range []xtrabackup.Kind{xtrabackup.Corrupt, xtrabackup.Delete, xtrabackup.Rename} {
		for _, m := range markers {
			if m.Kind != kind {
				continue
			}
			id := m.Space
			if kind == xtrabackup.Corrupt {
				for space, c := range byID {
					if c.name == m.File {
						id = space
					}
				}
			}
			c, ok := byID[id]
			switch {
			case kind == xtrabackup.Delete: // that it names something the base is asked as well
				delete(byID, id)
			case !ok:
				return bad(m, "no delta is of it")
			case kind == xtrabackup.Corrupt:
				delete(byID, id)
			default:
				c.name = m.To
				byID[id] = c
			}
		}
	}
	return nil
}

// applyIncremental writes the pages and files of the incremental backup over the base's.
// It can be repeated.
func (w *work) applyIncremental(ctx context.Context) error {
	for _, c := range w.changes {
		if err := context.Cause(ctx); err != nil {
			return err
		}
		if err := w.applyDelta(c); err != nil {
			return fmt.Errorf("apply %s to %s: %w", c.delta, c.name, noSpace(err))
		}
	}
	return w.copyOthers()
}

// copyOthers copies what is no tablespace: files of other engines, the binary log, and what
// describes the backup, but for its type, which is told at the end.
func (w *work) copyOthers() error {
	err := fs.WalkDir(w.inc.FS(), ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir():
			if name != "." && name != redo.Dir {
				return w.root.MkdirAll(name, dirMode)
			}
			return nil
		}
		_, marker, _ := xtrabackup.ParseMarker(name)
		if marker || xtrabackup.IsIncremental(name) || name == xtrabackup.CheckpointsName || name == xtrabackup.LogName {
			return nil
		}
		return w.copyOther(name)
	})
	if err != nil {
		return fmt.Errorf("copy the other files of the incremental backup: %w", noSpace(err))
	}
	return nil
}

func (w *work) copyOther(name string) error {
	from, err := w.inc.Open(name)
	if err != nil {
		return err
	}
	defer from.Close()
	to, err := w.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC|unix.O_NOFOLLOW, fileMode)
	if err != nil {
		return err
	}
	_, err = io.Copy(to, from)
	return errors.Join(err, to.Close())
}
