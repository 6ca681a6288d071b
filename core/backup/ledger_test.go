package backup

import (
	"errors"
	"testing"

	"github.com/remora-backup/remora/core/copier"
	"github.com/remora-backup/remora/core/datadir"
	"github.com/remora-backup/remora/core/innodb/redo"
)

// What becomes of a copy of space 7 that was begun at LSN 100.
func TestLedger(t *testing.T) {
	at := func(lsn redo.LSN, what redo.Type, space uint32) redo.Event {
		return redo.Event{Type: what, Space: space, Start: lsn - 10, End: lsn}
	}
	tests := []struct {
		name     string
		events   []redo.Event
		inode    uint64
		bad      error
		imported bool
		stale    string
		reborn   uint32
		spoilt   int64
	}{
		{name: "nothing"},
		{name: "index before", events: []redo.Event{at(100, redo.IndexLoad, 7)}},
		{name: "index after", events: []redo.Event{at(101, redo.IndexLoad, 7)}, stale: "INDEX_LOAD at LSN 101", spoilt: 5},
		{name: "index, then dropped", events: []redo.Event{at(101, redo.IndexLoad, 7), at(102, redo.FileDelete, 7)}, stale: "INDEX_LOAD at LSN 101"},
		{name: "index elsewhere", events: []redo.Event{at(101, redo.IndexLoad, 8)}},
		{name: "key changed", events: []redo.Event{at(200, redo.WriteString, 7)}, stale: "WRITE_STRING at LSN 200", spoilt: 5},
		{name: "renamed and extended", events: []redo.Event{at(200, redo.FileRename, 7), at(300, redo.FileExtend, 7)}},
		{name: "another file", inode: 2, stale: "replaced by another file"},
		{name: "bad page", bad: errors.New("page 3"), stale: "page 3"},
		{name: "imported", events: []redo.Event{at(200, redo.FileDelete, 7)}, imported: true, stale: "imported", reborn: 7},
		{name: "imported, discarded before", imported: true, stale: "imported"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			ledger := newLedger(0)
			f := datadir.File{Place: datadir.Place{Space: 7}, Size: 5, Inode: datadir.Inode{Dev: 1, Ino: 1}}
			c := &copier.Copy{File: f, Begun: 100}
			if tt.bad != nil {
				c.Spoil(3, tt.bad)
			}
			if got := ledger.stale(f); got != "new" {
				t.Errorf("before it was copied: %q, want new", got)
			}
			ledger.copied(c)
			for _, ev := range tt.events {
				ledger.record(ev)
			}
			if tt.imported {
				ledger.setAway(7)
				ledger.imported(7)
			}
			if tt.inode != 0 {
				f.Inode.Ino = tt.inode
			}
			if got := ledger.stale(f); got != tt.stale {
				t.Errorf("stale: %q, want %q", got, tt.stale)
			}
			if got := ledger.reborn(); got != tt.reborn {
				t.Errorf("reborn: %d, want %d", got, tt.reborn)
			}
			if got := ledger.spoiltBytes(); got != tt.spoilt {
				t.Errorf("spoilt: %d bytes, want %d", got, tt.spoilt)
			}
			if got := ledger.spoiled(f) != nil; got != (tt.bad != nil) {
				t.Errorf("damaged: %t, want %t", got, tt.bad != nil)
			}
		})
	}
}
