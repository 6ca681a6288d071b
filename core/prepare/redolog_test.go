package prepare

import (
	"compress/gzip"
	"encoding/hex"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/remora-backup/remora/core/code"
	"github.com/remora-backup/remora/core/innodb/redo"
	"github.com/remora-backup/remora/core/version"
)

// openLog returns a log of a real server and the places where a mini-transaction ends in it.
func openLog(t *testing.T) (l redoLog, ends []redo.LSN) {
	t.Helper()
	z, err := os.Open("../innodb/redo/testdata/16k.redo.gz")
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	r, err := gzip.NewReader(z)
	if err != nil {
		t.Fatal(err)
	}
	file, err := os.Create(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { file.Close() })
	size, err := io.Copy(file, r)
	if err != nil {
		t.Fatal(err)
	}
	h, err := headerOf(file)
	if err != nil {
		t.Fatal(err)
	}
	l = redoLog{name: "log", checkpoint: h.Checkpoint(), page: 16 << 10}
	l.parts = []part{{file: file, start: h.Start, stop: h.Start + redo.LSN(size-redo.HeaderSize)}}
	p := redo.NewParser(l.checkpoint, l.page, func(redo.Event) {})
	p.Records(func(r redo.Record) {
		if r.Group > l.checkpoint && (len(ends) == 0 || ends[len(ends)-1] != r.Group) {
			ends = append(ends, r.Group) // where one begins another has ended
		}
	})
	for at := l.checkpoint.BlockStart(); ; at += redo.BlockSize {
		var raw [redo.BlockSize]byte
		if _, err := l.read(raw[:], at); err != nil {
			t.Fatal(err)
		}
		b, state := redo.ParseBlock(raw[:], at, redo.RequireCRC)
		if state != redo.Good {
			t.Fatal(state)
		}
		if err := p.Feed(b); err != nil {
			t.Fatal(err)
		}
		if !b.Full() {
			return l, append(ends, b.End())
		}
	}
}

// A log that goes on after the backup's end is cut there, to the byte.
func TestLogIsCutAtTheEnd(t *testing.T) {
	whole, ends := openLog(t)
	if len(ends) < 1000 {
		t.Fatalf("only %d mini-transactions", len(ends))
	}
	for _, end := range []redo.LSN{ends[0], ends[1], ends[len(ends)/3], ends[len(ends)/2], ends[len(ends)-1]} {
		l := whole
		l.end = end
		if err := l.check(t.Context()); err != nil {
			t.Fatalf("end %d: %v", end, err)
		}
		root, err := os.OpenRoot(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		defer root.Close()
		for range 2 { // it may be repeated
			if err := l.make(t.Context(), root, version.Version{Major: 9, Minor: 7, Patch: 4}); err != nil {
				t.Fatal(err)
			}
		}
		if got := lastLSN(t, root, l); got != end {
			t.Errorf("made log ends at %d, want %d", got, end)
		}
		l.end = end + 1
		if err := l.check(t.Context()); code.Of(err) != code.Integrity {
			t.Errorf("end %d, one byte after a change: got %v, want code %d", end+1, err, code.Integrity)
		}
	}
}

// lastLSN reads the made log as a server does.
func lastLSN(t *testing.T, root *os.Root, l redoLog) redo.LSN {
	t.Helper()
	b, err := root.ReadFile(redo.Dir + "/" + redo.Name(0))
	if err != nil {
		t.Fatal(err)
	}
	h, err := redo.ParseFileHeader(b)
	if err != nil || h.Checkpoints != [2]redo.LSN{l.checkpoint, l.checkpoint} || !strings.HasPrefix(h.Creator, "MySQL ") || h.Flags != 0 {
		t.Errorf("header of the made log: %+v, %v", h, err)
	}
	p := redo.NewParser(h.Checkpoint(), l.page, func(redo.Event) {})
	end := redo.LSN(0)
	for at := h.Start; ; at += redo.BlockSize {
		block, state := redo.ParseBlock(b[redo.HeaderSize+int(at-h.Start):], at, redo.RequireCRC)
		if state != redo.Good {
			break
		}
		if err := p.Feed(block); err != nil {
			t.Fatal(err)
		}
		end = block.End()
		if !block.Full() {
			break
		}
	}
	if p.ParsedLSN() != end {
		t.Errorf("made log is parsed to %d, its blocks go to %d", p.ParsedLSN(), end)
	}
	return end
}

// What is encrypted stays so on disk, the block that is cut included.
func TestEncryptedLogStaysEncrypted(t *testing.T) {
	const start = 19375104 // see package redo's encryption_test.go
	master, err := hex.DecodeString("DFE33B46982E007EA1FE2242086D7E1F98EE928F26AED2C8B322D0FD0744010E")
	if err != nil {
		t.Fatal(err)
	}
	file, err := os.Open("../innodb/redo/testdata/encrypted.redo")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	h, err := headerOf(file)
	if err != nil {
		t.Fatal(err)
	}
	l := redoLog{
		name: "log", checkpoint: start + redo.BlockHeader, page: 16 << 10, info: h.Encryption,
		parts: []part{{file: file, start: start, stop: start + 12*redo.BlockSize}},
		open:  func(e redo.Encryption) (*redo.Key, error) { return e.Unwrap(master) },
	}
	p := redo.NewParser(l.checkpoint, l.page, func(redo.Event) {})
	for at := redo.LSN(start); at < start+8*redo.BlockSize; at += redo.BlockSize {
		raw := make([]byte, redo.BlockSize)
		l.end = at + 2*redo.BlockSize // not here
		if _, err := l.read(raw, at); err != nil {
			t.Fatal(err)
		}
		b, err := l.block(at, raw)
		if err == nil {
			err = p.Feed(b)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	l.end = p.ParsedLSN()
	if err := l.check(t.Context()); err != nil {
		t.Fatal(err)
	}
	root, err := os.OpenRoot(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	if err := l.make(t.Context(), root, version.Version{Major: 9, Minor: 7, Patch: 4}); err != nil {
		t.Fatal(err)
	}
	made, err := root.ReadFile(redo.Dir + "/" + redo.Name(0))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := redo.ParseFileHeader(made); err != nil || got.Encryption != h.Encryption {
		t.Errorf("header of the made log: %+v, %v, want the key of the source's", got.Encryption, err)
	}
	last := made[redo.HeaderSize+int(l.end.BlockStart()-start):][:redo.BlockSize]
	if !redo.IsEncrypted(last) {
		t.Fatal("the last block is not encrypted")
	}
	plain, err := l.plain(last)
	if err != nil {
		t.Fatal(err)
	}
	if b, state := redo.ParseBlock(plain, l.end.BlockStart(), redo.RequireCRC); state != redo.Good || b.End() != l.end {
		t.Errorf("the last block is %v and ends at %d, want %d", state, b.End(), l.end)
	}
}
