package xtrabackup

import (
	"encoding/binary"
	"fmt"
	"strconv"
)

// The suffixes of what an incremental backup has of each tablespace: the pages that changed
// since its base, and what the tablespace is.
const (
	DeltaSuffix = ".delta"
	MetaSuffix  = ".meta"
)

// Meta says whose pages a delta holds.
type Meta struct {
	Space    uint32
	Flags    uint32
	PageSize int // bytes of a page as it lies in the file
}

// ParseMeta reads a MetaSuffix file.
func ParseMeta(b []byte) (Meta, error) {
	v := values(b)
	var n [4]uint64
	for i, key := range []string{"page_size", "zip_size", "space_id", "space_flags"} {
		var err error
		if n[i], err = strconv.ParseUint(v[key], 10, 32); err != nil {
			return Meta{}, fmt.Errorf("read meta file: %s is %.40q", key, v[key])
		}
	}
	m := Meta{PageSize: int(n[0]), Space: uint32(n[2]), Flags: uint32(n[3])}
	if n[1] != 0 {
		m.PageSize = int(n[1])
	}
	if p := m.PageSize; p < 1<<10 || p > 64<<10 || p&(p-1) != 0 {
		return m, fmt.Errorf("read meta file: pages of %d bytes", p)
	}
	return m, nil
}

// The first bytes of the index of a cluster, and of the last one.
const (
	deltaMagic = 0x78747261 // "xtra"
	deltaLast  = 0x58545241 // "XTRA"
	deltaEnd   = 0xFFFFFFFF // after the last number of an index that is not full
)

// ParseIndex reads the first page of a cluster of a delta file:
//
//	| magic 4 | number of the 1st page 4 | of the 2nd 4 | ... | FFFFFFFF |
//
// The cluster's pages follow it in that order; then the next cluster, at a multiple of a
// quarter of the page size, in pages, unless this was the last. Numbers grow.
func ParseIndex(page []byte) (numbers []uint32, last bool, err error) {
	if len(page) < 8 {
		return nil, false, fmt.Errorf("read delta: index of %d bytes", len(page))
	}
	switch magic := binary.BigEndian.Uint32(page); magic {
	case deltaMagic:
	case deltaLast:
		last = true
	default:
		return nil, false, fmt.Errorf("read delta: a cluster begins with %08x", magic)
	}
	for at := 4; at+4 <= len(page); at += 4 {
		n := binary.BigEndian.Uint32(page[at:])
		if n == deltaEnd {
			break
		}
		if len(numbers) > 0 && n <= numbers[len(numbers)-1] {
			return nil, last, fmt.Errorf("read delta: page %d follows page %d", n, numbers[len(numbers)-1])
		}
		numbers = append(numbers, n)
	}
	if !last && len(numbers) < len(page)/4-1 {
		return nil, last, fmt.Errorf("read delta: a cluster of %d pages is not the last", len(numbers))
	}
	return numbers, last, nil
}
