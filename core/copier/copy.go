package copier

import (
	"io/fs"
	"os"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/remora-backup/remora/core/datadir"
	"github.com/remora-backup/remora/core/innodb/redo"
	"github.com/remora-backup/remora/core/innodb/tablespace"
	"github.com/remora-backup/remora/core/repo"
)

// ExtentSize is how much is read and stored at once, bytes: a whole number of pages of any size.
const ExtentSize = 1 << 20

// unitSize is how much of a file one worker copies before it looks for other work.
const unitSize = 64 << 20

// Job is a file that is to be copied.
type Job struct {
	datadir.File
	Why string // again, or later than the others; "" for the first time, with all
}

// Way is how one round of copies is made.
type Way struct {
	Advance func(n int64) // told of bytes copied
	Kept    *Kept         // takes what is read while the server is locked; nil otherwise
}

// Copy is a tablespace file that is being copied, or was.
type Copy struct {
	datadir.File // Size: when it was opened; what is added later comes with the redo
	Why          string
	ID           repo.FileID
	Begun        redo.LSN // all redo before it was parsed when the copy began
	Thin         bool     // has holes
	SealedKey    []byte   // of an encrypted one; see tablespace.SealedKey

	file   *os.File
	undone atomic.Int32 // units

	mu   sync.Mutex
	bad  error
	page uint32 // which spoiled it
}

type unit struct {
	c        *Copy
	from, to int64
}

// exempt says which pages are no pages: the old doublewrite area of the system tablespace.
func (c *Copy) exempt() func(uint32) bool {
	if c.Space != tablespace.System {
		return nil
	}
	return c.Pages.InDoublewrite
}

// Spoil says why the copy is none: a page, by its number. The first reason counts.
func (c *Copy) Spoil(page uint32, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.bad == nil {
		c.bad, c.page = err, page
	}
}

// Spoiled is why the copy is none, nil if it is one.
func (c *Copy) Spoiled() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.bad
}

// thin reports whether the file has holes, as transparent page compression leaves them.
func thin(st fs.FileInfo) bool {
	s, ok := st.Sys().(*syscall.Stat_t)
	return ok && s.Blocks*512 < s.Size
}
