package page

import "fmt"

// Size says how large the pages of one tablespace are, in bytes.
type Size struct {
	Logical  int  // in memory: innodb_page_size, 4 KiB to 64 KiB
	Physical int  // in the file: the same, or for ROW_FORMAT=COMPRESSED 1 KiB to 16 KiB
	Zip      bool // ROW_FORMAT=COMPRESSED, even with a KEY_BLOCK_SIZE as large as the page
}

// Plain is the Size of tablespaces that are not ROW_FORMAT=COMPRESSED.
func Plain(bytes int) Size { return Size{Logical: bytes, Physical: bytes} }

// Zip is the Size of ROW_FORMAT=COMPRESSED tablespaces.
func Zip(logical, physical int) Size { return Size{Logical: logical, Physical: physical, Zip: true} }

// Check returns an error for sizes that InnoDB does not have (page_size_t in
// page0size.h; UNIV_PAGE_SIZE_MIN and UNIV_ZIP_SIZE_MIN in univ.i).
func (s Size) Check() error {
	ok := power(s.Logical, 4<<10, 64<<10) && s.Physical == s.Logical
	if s.Zip {
		ok = power(s.Logical, 4<<10, 16<<10) && power(s.Physical, 1<<10, s.Logical)
	}
	if !ok {
		return fmt.Errorf("check page size: no %s", s)
	}
	return nil
}

func power(n, low, high int) bool { return n >= low && n <= high && n&(n-1) == 0 }

func (s Size) String() string {
	if s.Zip {
		return fmt.Sprintf("pages of %d bytes compressed to %d", s.Logical, s.Physical)
	}
	return fmt.Sprintf("pages of %d bytes", s.Physical)
}

// ExtentPages returns how many pages make an extent, InnoDB's unit of
// allocation: 1 MiB of logical pages up to 16 KiB, 64 pages above
// (FSP_EXTENT_SIZE in fsp0types.h).
func (s Size) ExtentPages() int {
	if s.Logical > 16<<10 {
		return 64
	}
	return (1 << 20) / s.Logical
}

// InDoublewrite reports whether page number n of the system tablespace (space
// 0) lies in the two extents that servers before 8.0.20 used as doublewrite
// buffer and that are reserved still. What they hold belongs to other places,
// may be torn, and is never read as a page: do not verify it
// (TRX_SYS_DOUBLEWRITE in trx0sys.h, buf0dblwr.cc).
func (s Size) InDoublewrite(n uint32) bool {
	e := uint32(s.ExtentPages())
	return n >= e && n < 3*e
}
