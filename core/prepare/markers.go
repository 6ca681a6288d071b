package prepare

import (
	"fmt"
	"maps"
	"slices"

	"github.com/remora-backup/remora/core/code"
	"github.com/remora-backup/remora/core/xtrabackup"
)

// planMarkers turns markers into groups of steps. Within a group the order does not matter
// and each step may be repeated; the groups are carried out one after the other:
//
//	1  .crpt and .del remove their files
//	2  .ren: every file that gets another name gets one that nobody has
//	3  and from there its final one, so that swaps and cycles need no order
//	4  the markers .crpt, .del and .ren go
//	5  .new files take their names, over what is left there
//
// A marker that names nothing, or two things, is an error: something is wrong with the
// directory then, and a table would be lost without a word.
func planMarkers(f listing) ([][]step, error) {
	p := planner{listing: f, now: maps.Clone(f.spaces)}
	for _, m := range f.markers {
		if m.Kind == xtrabackup.New {
			delete(p.now, m.Path) // not one of the tablespaces before group 5
		}
	}
	for _, part := range []func() error{p.remove, p.rename, p.replace, p.unique} {
		if err := part(); err != nil {
			return nil, err
		}
	}
	return p.groups[:], nil
}

type planner struct {
	listing
	now    map[string]uint32 // tablespaces by name, as they will be after the steps so far
	groups [5][]step
}

func (p *planner) of(kind xtrabackup.Kind) []xtrabackup.Marker {
	var all []xtrabackup.Marker
	for _, m := range p.markers {
		if m.Kind == kind {
			all = append(all, m)
		}
	}
	return all
}

func (p *planner) remove() error {
	for _, m := range p.of(xtrabackup.Corrupt) {
		if !p.files[m.File] {
			return bad(m, "there is no %s", m.File)
		}
		p.drop(m, m.File)
	}
	for _, m := range p.of(xtrabackup.Delete) {
		name, err := p.named(m)
		if err != nil {
			return err
		}
		p.drop(m, name)
	}
	return nil
}

func (p *planner) drop(m xtrabackup.Marker, name string) {
	delete(p.now, name)
	p.groups[0] = append(p.groups[0], step{Name: name})
	p.groups[3] = append(p.groups[3], step{Name: m.Path})
}

// named returns the one file of a tablespace.
func (p *planner) named(m xtrabackup.Marker) (string, error) {
	var names []string
	for name, id := range p.now {
		if id == m.Space {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	switch len(names) {
	case 0:
		return "", bad(m, "no file is tablespace %d", m.Space)
	case 1:
		return names[0], nil
	}
	return "", bad(m, "tablespace %d is in %s and in %s", m.Space, names[0], names[1])
}

func (p *planner) rename() error {
	moved := map[string]uint32{}
	for _, m := range p.of(xtrabackup.Rename) {
		name, err := p.named(m)
		if err != nil {
			return err
		}
		temp := fmt.Sprintf("%s.remora-%d", name, m.Space)
		if p.files[temp] {
			return bad(m, "%s is in the way", temp)
		}
		if _, twice := moved[m.To]; twice {
			return bad(m, "another tablespace gets the name %s as well", m.To)
		}
		moved[m.To] = m.Space
		delete(p.now, name)
		p.groups[1] = append(p.groups[1], step{Name: name, To: temp})
		p.groups[2] = append(p.groups[2], step{Name: temp, To: m.To})
		p.groups[3] = append(p.groups[3], step{Name: m.Path})
	}
	for name, id := range moved {
		if _, taken := p.now[name]; taken || p.files[name] && !p.leaves(name) {
			return code.New(code.Integrity, "apply the markers: tablespace %d gets the name %s, which another file has", id, name)
		}
		p.now[name] = id
	}
	return nil
}

// leaves reports whether a file has another name, or none, after groups 1 and 2.
func (p *planner) leaves(name string) bool {
	for _, group := range p.groups[:2] {
		if slices.ContainsFunc(group, func(s step) bool { return s.Name == name }) {
			return true
		}
	}
	return false
}

func (p *planner) replace() error {
	for _, m := range p.of(xtrabackup.New) {
		id, known := p.spaces[m.Path]
		if old, there := p.now[m.File]; there && known && old != id {
			return bad(m, "it is tablespace %d and would replace %d, which no marker drops", id, old)
		}
		if known {
			p.now[m.File] = id
		}
		p.groups[4] = append(p.groups[4], step{Name: m.Path, To: m.File, Over: true})
	}
	return nil
}

// unique makes sure that no tablespace is there twice: a server would refuse to start. The
// files of the system tablespace share an id.
func (p *planner) unique() error {
	owner := map[uint32]string{}
	for _, name := range slices.Sorted(maps.Keys(p.now)) {
		id := p.now[name]
		if other, twice := owner[id]; twice && id != 0 {
			return code.New(code.Integrity, "apply the markers: tablespace %d would be in %s and in %s", id, other, name)
		}
		owner[id] = name
	}
	return nil
}

func bad(m xtrabackup.Marker, format string, args ...any) error {
	return code.New(code.Integrity, "apply marker %s: %s", m.Path, fmt.Sprintf(format, args...))
}
