package backup

import (
	"fmt"
	"maps"
	"sync"

	"github.com/remora-backup/remora/core/copier"
	"github.com/remora-backup/remora/core/datadir"
	"github.com/remora-backup/remora/core/innodb/redo"
	"github.com/remora-backup/remora/core/innodb/tablespace"
	"github.com/remora-backup/remora/core/redolog"
)

// ledger knows for each tablespace whether the copy at hand is good.
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
type ledger struct {
	mu     sync.Mutex
	copies map[datadir.Key]*copier.Copy
	void   map[*copier.Copy]bool // imported since: no copy of what is there now
	again  int                   // copies made again
	dirty  map[uint32]dirt       // by space id: the newest event that spoils copies begun before
	away   map[uint32]bool       // by space id: the table is discarded; true: the redo at hand removes its file
	back   uint32                // a space that came back although that redo removes it; 0 for none

	sealed map[string][]byte // by the id of the master key: keys of tablespaces that the redo has

	since    redo.LSN // where the redo was when the server was asked whether it is logged
	switched redo.Switched
}

type dirt struct {
	at  redo.LSN
	why redo.Type
}

func newLedger(since redo.LSN) *ledger {
	return &ledger{since: since, copies: map[datadir.Key]*copier.Copy{}, void: map[*copier.Copy]bool{}, dirty: map[uint32]dirt{}, away: map[uint32]bool{}, sealed: map[string][]byte{}}
}

// record takes an event of the redo.
func (l *ledger) record(e redo.Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch e.Type {
	case redo.FileDelete:
		l.away[e.Space] = true
	case redo.IndexLoad, redo.WriteString:
		l.dirty[e.Space] = dirt{at: e.End, why: e.Type}
		if key, ok := tablespace.SealedKeyOf(e.Bytes); ok {
			l.seal(key)
		}
	}
}

// seal notes a key that whoever recovers has to open: of a tablespace, dropped ones among them, if
// the redo has it.
func (l *ledger) seal(key []byte) {
	if e, err := redo.ParseEncryption(key); err == nil {
		l.sealed[e.KeyName()] = key
	}
}

// keys returns one sealed key for each master key that the redo and the copies of the files name.
func (l *ledger) keys(files []datadir.File) map[string][]byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, f := range files {
		l.seal(l.copies[f.Key()].SealedKey)
	}
	return maps.Clone(l.sealed)
}

// see takes every record of the redo.
func (l *ledger) see(r redo.Record) {
	if r.Type != redo.Bytes8 || r.Space != tablespace.System || r.LSN < l.since {
		return // it says nothing of logging having been off
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.switched.Record(r)
}

// logged makes sure that the redo at hand has no gap in which nothing was logged.
func (l *ledger) logged() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if at, was := l.switched.At(); was {
		return fmt.Errorf("%w (the log shows it at LSN %d)", redolog.ErrSwitchedOff, at)
	}
	return nil
}

// setAway notes that the table of this space is discarded.
func (l *ledger) setAway(space uint32) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, known := l.away[space]; !known {
		l.away[space] = false
	}
}

// isAway reports whether a file of this space can only be one that was put there: a
// discarded table is imported by pages that leave no redo.
func (l *ledger) isAway(space uint32) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	_, away := l.away[space]
	return away
}

// imported notes that the space is whole again: what was copied before is not it.
//
// If the redo at hand has the removal of its file, then a server that recovers with it
// ignores everything about the space from there on. (An import ends with a checkpoint, so
// the server itself never meets that.) There is no way but to begin with newer redo.
func (l *ledger) imported(space uint32) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.away[space] {
		l.back = space
	}
	delete(l.away, space)
	if c := l.copies[datadir.Key{Space: space}]; c != nil {
		l.void[c] = true
	}
}

// copied records a finished copy.
func (l *ledger) copied(c *copier.Copy) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.copies[c.Key()] != nil {
		l.again++
	}
	l.copies[c.Key()] = c
}

// stale says why the tablespace file must be copied (again), or "" if its copy is good.
func (l *ledger) stale(f datadir.File) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := l.copies[f.Key()]
	switch {
	case c == nil:
		return "new"
	case l.dirty[f.Space].at > c.Begun:
		return fmt.Sprintf("%v at LSN %d", l.dirty[f.Space].why, l.dirty[f.Space].at)
	case l.void[c]:
		return "imported"
	case c.Inode != f.Inode:
		return "replaced by another file"
	case c.Spoiled() != nil:
		return c.Spoiled().Error()
	}
	return ""
}

// spoiled returns the copy of f if a page spoiled it although no DDL touched the
// tablespace, else nil.
func (l *ledger) spoiled(f datadir.File) *copier.Copy {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := l.copies[f.Key()]
	if c == nil || c.Spoiled() == nil || l.dirty[f.Space].at > c.Begun || c.Inode != f.Inode || l.void[c] {
		return nil
	}
	if _, away := l.away[f.Space]; away {
		return nil
	}
	return c
}

// spoiltBytes is how many bytes certainly have to be copied again.
func (l *ledger) spoiltBytes() (n int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range l.copies {
		if _, away := l.away[c.Space]; !away && l.dirty[c.Space].at > c.Begun {
			n += c.Size
		}
	}
	return n
}

// reborn returns a space for which the redo at hand is of no use, or 0.
func (l *ledger) reborn() uint32 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.back
}

// good returns the copy kept for f.
func (l *ledger) good(f datadir.File) *copier.Copy {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.copies[f.Key()]
}

// remade is how many copies were made of what had one before.
func (l *ledger) remade() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.again
}

// all returns every tablespace that was ever copied.
func (l *ledger) all() map[datadir.Key]*copier.Copy {
	l.mu.Lock()
	defer l.mu.Unlock()
	return maps.Clone(l.copies)
}
