package prepare

import (
	"encoding/binary"
	"errors"
	"io"
	"os"
	"path"

	"golang.org/x/sys/unix"

	"github.com/remora-backup/remora/core/code"
	"github.com/remora-backup/remora/core/innodb/page"
	"github.com/remora-backup/remora/core/innodb/tablespace"
	"github.com/remora-backup/remora/core/xtrabackup"
)

// apply makes a tablespace of the base, or none, what it was at the incremental backup,
// but for what the redo log does then.
func (c change) apply(root, inc *os.Root) error {
	if dir := path.Dir(c.name); dir != "." {
		if err := root.MkdirAll(dir, dirMode); err != nil {
			return err
		}
	}
	from, err := inc.Open(c.delta)
	if err != nil {
		return err
	}
	defer from.Close()
	to, err := root.OpenFile(c.name, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, fileMode)
	if err != nil {
		return err
	}
	defer to.Close()
	if err := begin(to, c); err != nil {
		return err
	}
	if err := copyPages(to, from, c); err != nil {
		return err
	}
	if err := growToHeader(to, c); err != nil {
		return err
	}
	return to.Close()
}

// firstPages is how many pages a server gives to a new file.
const firstPages = 7

// begin gives a file that is not in the base a first page from which a server knows the
// tablespace: the delta has none if the page was not written yet when it was copied. The
// rest of the page is in the redo log then. Source: fil_ibd_create.
func begin(f *os.File, c change) error {
	info, err := f.Stat()
	if err != nil || info.Size() > 0 {
		return err
	}
	b, be := make([]byte, c.meta.PageSize), binary.BigEndian
	const noChecksum = 0xDEADBEEF // a server accepts it whatever its settings
	be.PutUint32(b, noChecksum)
	be.PutUint16(b[24:], uint16(page.TypeFSPHeader))
	be.PutUint32(b[34:], c.meta.Space)
	be.PutUint32(b[38:], c.meta.Space)
	be.PutUint32(b[46:], firstPages)
	be.PutUint32(b[54:], c.meta.Flags)
	if !pageSize(c.meta).Zip {
		be.PutUint32(b[len(b)-page.TrailerSize:], noChecksum)
	}
	if _, err := f.WriteAt(b, 0); err != nil {
		return err
	}
	return f.Truncate(firstPages * int64(len(b)))
}

// copyPages writes the pages of a delta where they belong.
func copyPages(to *os.File, from io.ReaderAt, c change) error {
	size := int64(c.meta.PageSize)
	v, err := page.NewVerifier(pageSize(c.meta))
	if err != nil {
		return code.Default(code.Integrity, err)
	}
	index, b := make([]byte, size), make([]byte, size)
	for cluster := int64(0); ; cluster++ {
		at := cluster * (size / 4) * size
		if _, err := from.ReadAt(index, at); err != nil {
			return code.New(code.Integrity, "read cluster %d: %w", cluster, err)
		}
		numbers, last, err := xtrabackup.ParseIndex(index)
		if err != nil {
			return code.Default(code.Integrity, err)
		}
		for i, n := range numbers {
			if _, err := from.ReadAt(b, at+int64(i+1)*size); err != nil {
				return code.New(code.Integrity, "read page %d: %w", n, err)
			}
			// The second file of the system tablespace goes on with the numbers of the first.
			if o := v.Verify(b, n); o.Corrupt() && !c.system() {
				return code.New(code.Integrity, "read page %d: %w", n, o.Err())
			}
			if _, err := to.WriteAt(b, int64(n)*size); err != nil {
				return err
			}
		}
		if last {
			return nil
		}
	}
}

func pageSize(m xtrabackup.Meta) page.Size {
	if size, err := tablespace.Flags(m.Flags).PageSize(); err == nil && size.Physical == m.PageSize {
		return size
	}
	return page.Plain(m.PageSize)
}

// growToHeader makes a file as long as its first page says: pages that were never written
// are in no delta.
func growToHeader(f *os.File, c change) error {
	var b [tablespace.HeaderSize]byte
	if _, err := f.ReadAt(b[:], 0); err != nil {
		return code.New(code.Integrity, "read its first page: %w", err)
	}
	h, err := tablespace.ParseHeader(b[:])
	if c.system() || errors.Is(err, tablespace.ErrBlank) {
		return nil // recovery makes it, or extends it
	}
	if err != nil {
		return code.Default(code.Integrity, err)
	}
	if h.Space != c.meta.Space {
		return code.New(code.Integrity, "its first page is of tablespace %d, not %d", h.Space, c.meta.Space)
	}
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if want := int64(h.Size) * int64(c.meta.PageSize); info.Size() < want {
		return f.Truncate(want)
	}
	return nil
}
