package backup

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/remora-backup/remora/core/innodb/page"
	"github.com/remora-backup/remora/core/innodb/redo"
)

// What becomes of a copy of space 7 that was begun at LSN 100.
func TestTracker(t *testing.T) {
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
		born     uint32
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
		{name: "imported", events: []redo.Event{at(200, redo.FileDelete, 7)}, imported: true, stale: "imported", born: 7},
		{name: "imported, discarded before", imported: true, stale: "imported"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			track := newTracker()
			e := entry{place: place{space: 7}, size: 5, inode: inode{1, 1}}
			c := &copying{entry: e, begun: 100, bad: tt.bad}
			if got := track.stale(e); got != "new" {
				t.Errorf("before it was copied: %q, want new", got)
			}
			track.copied(c)
			for _, ev := range tt.events {
				track.record(ev)
			}
			if tt.imported {
				track.setAway(7)
				track.imported(7)
			}
			if tt.inode != 0 {
				e.inode.ino = tt.inode
			}
			if got := track.stale(e); got != tt.stale {
				t.Errorf("stale: %q, want %q", got, tt.stale)
			}
			if got := track.born(); got != tt.born {
				t.Errorf("born: %d, want %d", got, tt.born)
			}
			if got := track.spoiltBytes(); got != tt.spoilt {
				t.Errorf("spoilt: %d bytes, want %d", got, tt.spoilt)
			}
			if got := track.spoiled(e) != nil; got != (tt.bad != nil) {
				t.Errorf("damaged: %t, want %t", got, tt.bad != nil)
			}
		})
	}
}

// An encrypted page whose first reading is not what the second gives was being written; a
// plain one has a checksum and is left alone.
func TestEncryptedPagesAreReadTwice(t *testing.T) {
	size := page.Plain(4096)
	make4 := func(fill byte, kind page.Type) []byte {
		p := bytes.Repeat([]byte{fill}, 4096)
		binary.BigEndian.PutUint16(p[24:], uint16(kind))
		return p
	}
	onDisk := append(make4(1, page.TypeEncrypted), make4(2, page.TypeAllocated)...)
	path := filepath.Join(t.TempDir(), "t.ibd")
	if err := os.WriteFile(path, onDisk, 0o600); err != nil {
		t.Fatal(err)
	}
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	w := worker{copier: &copier{}, size: size}
	c := &copying{entry: entry{pages: size, size: 8192}, file: file}
	read := append(make4(9, page.TypeEncrypted), make4(8, page.TypeAllocated)...)
	copy(read[2000:4096], onDisk[2000:]) // torn
	if err := w.still(t.Context(), c, read, 0); err != nil || c.spoiled() != nil {
		t.Fatal(err, c.spoiled())
	}
	if !bytes.Equal(read[:4096], onDisk[:4096]) {
		t.Error("the torn page was kept")
	}
	if !bytes.Equal(read[4096:], make4(8, page.TypeAllocated)) {
		t.Error("a plain page that was verified was replaced by one that was not")
	}
	if got := w.reread.Load(); got != 1 {
		t.Errorf("%d readings disagreed, want 1", got)
	}
}
