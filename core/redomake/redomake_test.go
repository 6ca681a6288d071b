package redomake_test

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"testing"

	"github.com/remora-backup/remora/core/code"
	"github.com/remora-backup/remora/core/innodb/redo"
	"github.com/remora-backup/remora/core/redomake"
	"github.com/remora-backup/remora/core/version"
)

const first = 1 << 20

var spec = redomake.Spec{
	Checkpoint: first + 100, End: first + 300<<10 + 50, PageSize: 16 << 10, Number: 7,
	Server: version.Version{Major: 8, Minor: 4, Patch: 8}, MaxFile: 128 << 10,
}

// Blocks that are written in pieces of any size lie in the files as a server reads them.
func TestBlocksOverFiles(t *testing.T) {
	s := spec
	b, err := os.ReadFile("../innodb/redo/testdata/encrypted.redo")
	if err != nil {
		t.Fatal(err)
	}
	h, err := redo.ParseFileHeader(b)
	if err != nil || !h.Encryption.Present {
		t.Fatalf("the header of an encrypted log: %+v, %v", h, err)
	}
	s.Encryption = h.Encryption
	log, err := redomake.Plan(s)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	owned := 0
	for _, there := range []bool{false, true} {
		all, err := log.Create(root, ".", func(*os.File) error { owned++; return nil })
		if err != nil || all != there {
			t.Fatalf("create: all there %v, %v, want %v", all, err, there)
		}
	}
	f, err := log.Open(root, ".")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	blocks := make([]byte, 300<<10+redo.BlockSize)
	for i := range blocks {
		blocks[i] = byte(i / redo.BlockSize)
	}
	size := log.Size()
	if size != int64(len(blocks)) {
		t.Fatalf("size: got %d, want %d", size, len(blocks))
	}
	for at := int64(0); at < size; at += 100 * redo.BlockSize {
		part := bytes.Clone(blocks[at:min(at+100*redo.BlockSize, size)])
		if n, err := f.WriteAt(part, at); n != len(part) || err != nil {
			t.Fatalf("write at %d: %d, %v", at, n, err)
		}
	}
	got, files := read(t, dir, s)
	if files < 3 || owned != 2*files || !bytes.Equal(got[:size], blocks) {
		t.Errorf("%d files, %d given to their owner, do not hold the blocks", files, owned)
	}
	for _, off := range []int64{size, 1, -redo.BlockSize} {
		if _, err := f.WriteAt(make([]byte, redo.BlockSize), off); code.Of(err) != code.Integrity {
			t.Errorf("write at %d: got %v, want code 19", off, err)
		}
	}
}

// read returns what stands behind the headers, which must fit together.
func read(t *testing.T, dir string, s redomake.Spec) (blocks []byte, files int) {
	t.Helper()
	for ; ; files++ {
		b, err := os.ReadFile(filepath.Join(dir, redo.Name(uint64(files))))
		if os.IsNotExist(err) {
			return blocks, files
		}
		if err != nil {
			t.Fatal(err)
		}
		h, err := redo.ParseFileHeader(b)
		if err != nil {
			t.Fatal(err)
		}
		if want := redo.LSN(first + len(blocks)); h.Start != want || h.Creator != "MySQL 8.4.8" || h.UUID != s.Number || h.Encryption != s.Encryption {
			t.Errorf("file %d: got %+v, want start %d", files, h, want)
		}
		blocks = append(blocks, b[redo.HeaderSize:]...)
	}
}

// Blocks of a server that made no checksums get them.
func TestBlocksAreSealed(t *testing.T) {
	s := spec
	s.End = s.Checkpoint + 50
	log, err := redomake.Plan(s)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	if _, err := log.Create(root, ".", nil); err != nil {
		t.Fatal(err)
	}
	f, err := log.Open(root, ".")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b := redo.EmptyBlock(first)
	binary.BigEndian.PutUint32(b[len(b)-4:], 0xDEADBEEF) // LOG_NO_CHECKSUM_MAGIC
	if _, err := f.WriteAt(b, 0); err != nil {
		t.Fatal(err)
	}
	got, _ := read(t, dir, s)
	if _, state := redo.ParseBlock(got[:redo.BlockSize], first, redo.RequireCRC); state != redo.Good {
		t.Errorf("the block is %v", state)
	}
}

// A link in place of a file was put there by somebody else.
func TestOpenRefusesLinks(t *testing.T) {
	log, err := redomake.Plan(spec)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	if _, err := log.Create(root, ".", nil); err != nil {
		t.Fatal(err)
	}
	if err := os.Link(filepath.Join(dir, redo.Name(1)), filepath.Join(dir, "other")); err != nil {
		t.Fatal(err)
	}
	if _, err := log.Open(root, "."); code.Of(err) != code.Target {
		t.Errorf("a file with two names: got %v, want code 21", err)
	}
}

func TestPlanRefusesNoRange(t *testing.T) {
	s := spec
	s.End = s.Checkpoint - 100
	if _, err := redomake.Plan(s); code.Of(err) != code.Integrity {
		t.Errorf("got %v, want code 19", err)
	}
}
