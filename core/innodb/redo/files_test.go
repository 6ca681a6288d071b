package redo_test

import (
	"cmp"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/remora-backup/remora/core/innodb/redo"
)

// redoLog is the redo log of a server at rest: its files in order.
type redoLog struct {
	files      []redoFile
	checkpoint redo.LSN
}

type redoFile struct {
	redo.FileHeader
	blocks []byte
}

// readLog reads all redo files in dir.
func readLog(t testing.TB, dir string) redoLog {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var l redoLog
	for _, e := range entries {
		if _, spare, ok := redo.ParseName(e.Name()); spare || !ok {
			continue
		}
		b, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		h, err := redo.ParseFileHeader(b)
		if err != nil {
			t.Fatalf("%s: %v", e.Name(), err)
		}
		l.files = append(l.files, redoFile{h, b[redo.HeaderSize:]})
		l.checkpoint = max(l.checkpoint, h.Checkpoint())
	}
	slices.SortFunc(l.files, func(a, b redoFile) int { return cmp.Compare(a.Start, b.Start) })
	return l
}

// each calls f for every block from the one that holds from on, until the log's end, and returns what is there instead of a block.
func (l redoLog) each(from redo.LSN, sums redo.Checksums, f func(redo.Block)) redo.State {
	end := redo.NotYetWritten
	l.eachRaw(from, func(at redo.LSN, raw []byte) bool {
		b, state := redo.ParseBlock(raw, at, sums)
		if state != redo.Good {
			end = state
			return false
		}
		f(b)
		return b.Full()
	})
	return end
}

// eachRaw calls f for the bytes of every block from the one that holds from on, as long as f returns true.
func (l redoLog) eachRaw(from redo.LSN, f func(at redo.LSN, block []byte) bool) {
	for _, file := range l.files {
		for i := 0; i+redo.BlockSize <= len(file.blocks); i += redo.BlockSize {
			at := file.Start + redo.LSN(i)
			if at >= from.BlockStart() && !f(at, file.blocks[i:i+redo.BlockSize]) {
				return
			}
		}
	}
}

// start is the first position of data in the oldest file: earlier than any checkpoint.
func (l redoLog) start() redo.LSN { return l.files[0].Start + redo.BlockHeader }

// end returns the LSN behind the last byte that is in the files.
func (l redoLog) end() redo.LSN {
	end := l.start()
	l.each(l.checkpoint, redo.AllowNone, func(b redo.Block) { end = b.End() })
	return end
}
