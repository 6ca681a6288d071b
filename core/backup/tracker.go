package backup

import (
	"fmt"
	"maps"
	"sync"

	"github.com/remora-backup/remora/core/innodb/redo"
)

// tracker knows for each tablespace whether the copy at hand is good.
//
// It is told two things: by the redo, what happened to a tablespace without leaving redo
// of its pages, and by the dictionary, which tablespaces exist and where. While DDL is
// locked out the dictionary is the truth about names; the redo is the truth about contents.
// A space id thus has one of three fates:
//
//	listed, copy good    keep it, under the name it has
//	listed, else         copy it (again)
//	not listed           leave it out
//
// Names are reused and swapped at will by the server, ids are not.
type tracker struct {
	mu     sync.Mutex
	copies map[fileKey]*copying
	dirty  map[uint32]dirt // by space id: the newest event that spoils copies begun before
	away   map[uint32]bool // by space id: the table is discarded; true: the redo at hand removes its file
	reborn uint32          // a space that came back although that redo removes it; 0 for none
}

type dirt struct {
	at  redo.LSN
	why redo.Type
}

func newTracker() *tracker {
	return &tracker{copies: map[fileKey]*copying{}, dirty: map[uint32]dirt{}, away: map[uint32]bool{}}
}

// record takes an event of the redo.
func (t *tracker) record(e redo.Event) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch e.Type {
	case redo.FileDelete:
		t.away[e.Space] = true
	case redo.IndexLoad, redo.WriteString:
		t.dirty[e.Space] = dirt{at: e.End, why: e.Type}
	}
}

// setAway notes that the table of this space is discarded.
func (t *tracker) setAway(space uint32) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, known := t.away[space]; !known {
		t.away[space] = false
	}
}

// isAway reports whether a file of this space can only be one that was put there: a
// discarded table is imported by pages that leave no redo.
func (t *tracker) isAway(space uint32) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	_, away := t.away[space]
	return away
}

// imported notes that the space is whole again: what was copied before is not it.
//
// If the redo at hand has the removal of its file, then a server that recovers with it
// ignores everything about the space from there on. (An import ends with a checkpoint, so
// the server itself never meets that.) There is no way but to begin with newer redo.
func (t *tracker) imported(space uint32) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.away[space] {
		t.reborn = space
	}
	delete(t.away, space)
	if c := t.copies[fileKey{space, 0}]; c != nil {
		c.stale = true
	}
}

// copied records a finished copy and reports whether there was one before.
func (t *tracker) copied(c *copying) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	old := t.copies[c.key()]
	t.copies[c.key()] = c
	return old != nil
}

// stale says why the tablespace file must be copied (again), or "" if its copy is good.
func (t *tracker) stale(e entry) string {
	t.mu.Lock()
	defer t.mu.Unlock()
	c := t.copies[e.key()]
	switch {
	case c == nil:
		return "new"
	case t.dirty[e.space].at > c.begun:
		return fmt.Sprintf("%v at LSN %d", t.dirty[e.space].why, t.dirty[e.space].at)
	case c.stale:
		return "imported"
	case c.inode != e.inode:
		return "replaced by another file"
	case c.spoiled() != nil:
		return c.spoiled().Error()
	}
	return ""
}

// spoiled returns the copy of e if a page spoiled it although no DDL touched the
// tablespace, else nil.
func (t *tracker) spoiled(e entry) *copying {
	t.mu.Lock()
	defer t.mu.Unlock()
	c := t.copies[e.key()]
	if c == nil || c.spoiled() == nil || t.dirty[e.space].at > c.begun || c.inode != e.inode || c.stale {
		return nil
	}
	if _, away := t.away[e.space]; away {
		return nil
	}
	return c
}

// spoiltBytes is how many bytes certainly have to be copied again.
func (t *tracker) spoiltBytes() (n int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, c := range t.copies {
		if _, away := t.away[c.space]; !away && t.dirty[c.space].at > c.begun {
			n += c.size
		}
	}
	return n
}

// born returns the space for which the redo at hand is of no use, or 0.
func (t *tracker) born() uint32 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.reborn
}

// good returns the copy kept for e.
func (t *tracker) good(e entry) *copying {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.copies[e.key()]
}

// all returns every tablespace that was ever copied.
func (t *tracker) all() map[fileKey]*copying {
	t.mu.Lock()
	defer t.mu.Unlock()
	return maps.Clone(t.copies)
}
