package backup

import (
	"fmt"
	"sync"

	"github.com/remora-backup/remora/core/innodb/redo"
)

// tracker knows for each tablespace whether the copy at hand is good.
//
// It is told two things: by the redo, what happened to a tablespace without leaving redo
// of its pages, and by the directory, which tablespaces exist and under which names.
// While DDL is locked out the directory is the truth about names; the redo is the truth
// about contents. A space id thus has one of three fates:
//
//	on disk, copy good    keep it, under the name it has on disk
//	on disk, else         copy it (again)
//	not on disk           leave it out
//
// Names are reused and swapped at will by the server, ids are not.
type tracker struct {
	mu      sync.Mutex
	copies  map[fileKey]*copying
	dirty   map[uint32]dirt // by space id: the newest event that spoils copies begun before
	touched map[string]bool // paths that a file operation named since the last listing
}

type dirt struct {
	at  redo.LSN
	why redo.Type
}

func newTracker() *tracker {
	return &tracker{copies: map[fileKey]*copying{}, dirty: map[uint32]dirt{}, touched: map[string]bool{}}
}

// record takes an event of the redo.
func (t *tracker) record(e redo.Event) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch e.Type {
	case redo.FileCreate, redo.FileRename, redo.FileDelete:
		t.touched[cleanPath(e.Path)] = true
		if e.To != "" {
			t.touched[cleanPath(e.To)] = true
		}
	}
	switch e.Type {
	case redo.FileDelete, redo.IndexLoad, redo.WriteString:
		// Deleted and yet on disk later: discarded and imported, which leaves no redo.
		t.dirty[e.Space] = dirt{at: e.End, why: e.Type}
	}
}

// touch makes the next listing look at path afresh.
func (t *tracker) touch(path string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.touched[path] = true
}

// takeTouched returns the paths named since the last call.
func (t *tracker) takeTouched() map[string]bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	was := t.touched
	t.touched = map[string]bool{}
	return was
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
		return "not copied yet"
	case c.spoiled() != nil:
		return c.spoiled().Error()
	case t.dirty[e.space].at > c.begun:
		return fmt.Sprintf("%v at LSN %d", t.dirty[e.space].why, t.dirty[e.space].at)
	case c.inode != e.inode:
		return "replaced by another file"
	}
	return ""
}

// unexplained returns the error of a copy that a page spoiled although no DDL touched
// the tablespace: real corruption.
func (t *tracker) unexplained(e entry) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	c := t.copies[e.key()]
	if c == nil || c.spoiled() == nil || t.dirty[e.space].at > c.begun || c.inode != e.inode {
		return nil
	}
	return c.spoiled()
}

// good returns the copy kept for e.
func (t *tracker) good(e entry) *copying {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.copies[e.key()]
}
