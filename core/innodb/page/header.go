// Package page checks the pages that InnoDB data files consist of.
//
// It knows the 38 bytes every page starts with, the 8 bytes most end with,
// the checksums a server may have written, whatever its settings say today,
// the transparent page compression, and what can still be said of a page
// that is encrypted. Nothing here reads files: bytes in, values out.
package page

import (
	"encoding/binary"
	"fmt"
)

// Byte offsets within a page: fil0types.h (FIL_PAGE_...).
const (
	offChecksum     = 0
	offNumber       = 4
	offPrev         = 8
	offNext         = 12
	offLSN          = 16
	offType         = 24
	offFlush        = 26 // flush LSN, or the facts about compression
	offVersion      = 26
	offAlgorithm    = 27
	offOriginalType = 28
	offOriginalSize = 30
	offPackedSize   = 32
	offSpace        = 34
	offData         = 38

	// HeaderSize is the number of bytes before a page's own data.
	HeaderSize = 38
	// TrailerSize is the number of bytes after it. ROW_FORMAT=COMPRESSED
	// pages have no trailer.
	TrailerSize = 8
)

// None stands for "no page" in Header.Prev and Header.Next (FIL_NULL).
const None = 0xFFFFFFFF

// Header is what every page begins with (fil0types.h), big-endian:
//
//	0        4       8      12      16              24    26            34     38
//	+--------+-------+-------+-------+---------------+----+---+---+------+------+- - -
//	|checksum|number | prev  | next  |      LSN      |type|   flush LSN  |space | data
//	+--------+-------+-------+-------+---------------+----+---+---+------+------+- - -
//	                                                      /               \
//	page types 14 and 16: version 1, algorithm 1, original type 2, original size 2, packed size 2
//	page types 15 and 17: (2 unused), original type 2, (4 unused)
//
// and what an uncompressed page ends with:
//
//	size-8          size-4          size
//	   +---------------+---------------+
//	   |    checksum   | LSN, low half |
//	   +---------------+---------------+
//
// The LSN is written on both sides, so a page of which only a part reached the
// disk shows. The eight bytes at 26 are in no checksum (BlockReporter and
// buf_calc_page_crc32 in buf/checksum.cc); the first page of the system
// tablespace keeps the LSN of a clean shutdown there.
type Header struct {
	Checksum uint32
	Number   uint32 // counted in pages from the start of the tablespace
	Prev     uint32 // neighbour on the same B-tree level, or None
	Next     uint32
	LSN      uint64 // end of the newest change to the page
	Type     Type
	FlushLSN uint64
	Space    uint32 // space id

	// For pages of the types TypeCompressed, TypeCompressedEncrypted,
	// TypeEncrypted and TypeEncryptedRTree: the type before that was done; else equal to Type.
	Original Type
	// For TypeCompressed and TypeCompressedEncrypted, in bytes and without the header; else 0.
	OriginalSize int
	PackedSize   int
	Algorithm    Algorithm
	Version      uint8 // of the compression header, 1 or 2
}

// ParseHeader reads the first HeaderSize bytes of a page.
func ParseHeader(page []byte) (Header, error) {
	if len(page) < HeaderSize {
		return Header{}, fmt.Errorf("read page header: %d bytes, want %d", len(page), HeaderSize)
	}
	be := binary.BigEndian
	h := Header{
		Checksum: be.Uint32(page[offChecksum:]),
		Number:   be.Uint32(page[offNumber:]),
		Prev:     be.Uint32(page[offPrev:]),
		Next:     be.Uint32(page[offNext:]),
		LSN:      be.Uint64(page[offLSN:]),
		Type:     Type(be.Uint16(page[offType:])),
		FlushLSN: be.Uint64(page[offFlush:]),
		Space:    be.Uint32(page[offSpace:]),
	}
	h.Original = h.Type
	switch h.Type {
	case TypeCompressed, TypeCompressedEncrypted:
		h.Version = page[offVersion]
		h.Algorithm = Algorithm(page[offAlgorithm])
		h.OriginalSize = int(be.Uint16(page[offOriginalSize:]))
		h.PackedSize = int(be.Uint16(page[offPackedSize:]))
		h.Original = Type(be.Uint16(page[offOriginalType:]))
	case TypeEncrypted:
		h.Original = Type(be.Uint16(page[offOriginalType:]))
	case TypeEncryptedRTree:
		h.Original = TypeRTree
	}
	return h, nil
}

// LSN returns the LSN of a page, which is never compressed nor encrypted.
// It is 0 for a page that InnoDB has not written yet.
func LSN(page []byte) uint64 { return binary.BigEndian.Uint64(page[offLSN:]) }

// Algorithm is a transparent page compression (Compression::Type in os0file.h).
type Algorithm uint8

// The algorithms a server can write.
const (
	NoCompression Algorithm = 0
	Zlib          Algorithm = 1
	LZ4           Algorithm = 2
)

func (a Algorithm) String() string {
	switch a {
	case NoCompression:
		return "none"
	case Zlib:
		return "zlib"
	case LZ4:
		return "lz4"
	}
	return fmt.Sprintf("algorithm %d", uint8(a))
}
