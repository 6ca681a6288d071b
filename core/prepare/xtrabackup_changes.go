package prepare

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/remora-backup/remora/core/code"
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

// deltas is what an incremental backup has, before its markers count.
type deltas struct {
	system map[string]change // files of the system tablespace, by name
	old    map[uint32]change // by space id
	fresh  map[uint32]change // .new.delta: each counts instead of all others of its id
}

func readDeltas(dir *directory, list listing) (deltas, error) {
	d := deltas{map[string]change{}, map[uint32]change{}, map[uint32]change{}}
	for name := range list.files {
		file, ok := strings.CutSuffix(name, xtrabackup.MetaSuffix)
		if !ok {
			continue
		}
		m, err := readWith(dir.root, name, xtrabackup.ParseMeta)
		if err != nil {
			return d, fmt.Errorf("%s: %w", name, err)
		}
		if !list.files[file+xtrabackup.DeltaSuffix] {
			return d, code.New(code.Integrity, "read %s: there is no %s%s", dir.path, file, xtrabackup.DeltaSuffix)
		}
		c := change{name: file, delta: file + xtrabackup.DeltaSuffix, meta: m}
		to := d.old
		plain, isNew := strings.CutSuffix(file, string(xtrabackup.New))
		if isNew {
			c.name, to = plain, d.fresh
		}
		switch other, twice := to[m.Space]; {
		case c.system() && (isNew || d.system[c.name].delta == ""):
			d.system[c.name] = c
		case c.system():
		case twice:
			return d, code.New(code.Integrity, "read %s: %s and %s are both tablespace %d", dir.path, other.delta, c.delta, m.Space)
		default:
			to[m.Space] = c
		}
	}
	return d, nil
}

// changes applies the markers: .crpt and .del take a delta away, .ren gives it another name.
func (d deltas) changes(dir *directory, markers []xtrabackup.Marker) ([]change, error) {
	byID := maps.Clone(d.old)
	if err := markChanges(markers, byID); err != nil {
		return nil, err
	}
	maps.Copy(byID, d.fresh)
	all := slices.Concat(slices.Collect(maps.Values(d.system)), slices.Collect(maps.Values(byID)))
	names := map[string]bool{}
	for _, c := range all {
		if names[c.name] {
			return nil, code.New(code.Integrity, "read %s: two tablespaces would be %s", dir.path, c.name)
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
