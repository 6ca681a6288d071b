package tablespace

import (
	"strings"

	"github.com/remora-backup/remora/core/innodb/page"
)

// Flags say how a tablespace is laid out (fsp0types.h, FSP_FLAGS_...):
//
//	bit 0      POST_ANTELOPE: COMPRESSED or DYNAMIC rows
//	bits 1-4   size of ROW_FORMAT=COMPRESSED pages: 512 << n bytes, 0 for none
//	bit 5      ATOMIC_BLOBS
//	bits 6-9   logical page size: 512 << n bytes, 0 for 16 KiB
//	bit 10     DATA_DIR: outside the data directory
//	bit 11     SHARED: CREATE TABLESPACE, room for several tables
//	bit 12     TEMPORARY
//	bit 13     ENCRYPTION
//	bit 14     SDI: dictionary information is inside
type Flags uint32

const (
	flagDataDir Flags = 1 << (10 + iota)
	flagShared
	flagTemporary
	flagEncrypted
	flagSDI
)

// PageSize returns the sizes of the tablespace's pages. Its error is that of
// page.Size.Check.
func (f Flags) PageSize() (page.Size, error) {
	logical, zip := 16<<10, int(f>>1&15)
	if n := f >> 6 & 15; n != 0 {
		logical = 512 << n
	}
	size := page.Plain(logical)
	if zip != 0 {
		size = page.Zip(logical, 512<<zip)
	}
	return size, size.Check()
}

// Shared reports whether it is a general tablespace.
func (f Flags) Shared() bool { return f&flagShared != 0 }

// Encrypted reports whether pages are encrypted, or are being encrypted.
func (f Flags) Encrypted() bool { return f&flagEncrypted != 0 }

func (f Flags) String() string {
	var words []string
	for _, w := range []struct {
		mask Flags
		word string
	}{{1, "post-antelope"}, {1 << 5, "atomic-blobs"}, {flagDataDir, "data-dir"}, {flagShared, "shared"},
		{flagTemporary, "temporary"}, {flagEncrypted, "encrypted"}, {flagSDI, "sdi"}} {
		if f&w.mask != 0 {
			words = append(words, w.word)
		}
	}
	if size, err := f.PageSize(); err == nil {
		words = append(words, size.String())
	}
	return strings.Join(words, " ")
}
