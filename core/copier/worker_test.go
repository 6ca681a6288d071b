package copier

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/remora-backup/remora/core/datadir"
	"github.com/remora-backup/remora/core/innodb/page"
)

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
	var reread atomic.Int64
	w := worker{reread: &reread, size: size}
	c := &Copy{File: datadir.File{Pages: size, Size: 8192}, file: file}
	read := append(make4(9, page.TypeEncrypted), make4(8, page.TypeAllocated)...)
	copy(read[2000:4096], onDisk[2000:]) // torn
	if err := w.still(t.Context(), c, read, 0); err != nil || c.Spoiled() != nil {
		t.Fatal(err, c.Spoiled())
	}
	if !bytes.Equal(read[:4096], onDisk[:4096]) {
		t.Error("the torn page was kept")
	}
	if !bytes.Equal(read[4096:], make4(8, page.TypeAllocated)) {
		t.Error("a plain page that was verified was replaced by one that was not")
	}
	if got := reread.Load(); got != 1 {
		t.Errorf("%d readings disagreed, want 1", got)
	}
}
