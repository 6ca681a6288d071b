// Package tablespace tells what an InnoDB file is from its first page and from
// its name.
//
// The first page says how large pages are, which space id they carry and
// whether they are encrypted; the name says whether a physical backup needs
// the file and which table people would call it. Nothing here reads files.
package tablespace

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/remora-backup/remora/core/innodb/page"
)

// ErrBlank means that the first page is all zeros: the file was created and
// its first page is not on disk yet. Recovery builds it from the redo log.
var ErrBlank = errors.New("first page is blank")

const (
	offFSP         = page.HeaderSize
	offXDES        = offFSP + 112 // XDES_ARR_OFFSET
	encryptionSize = 115          // Encryption::INFO_MAX_SIZE in os0enc.h

	// HeaderSize is how many bytes of the first page ParseHeader needs at most,
	// whatever the page size: those of the fixed fields.
	HeaderSize = offXDES
)

// Header is the part of a tablespace's first page that describes it
// (FSP header: fsp0fsp.h, FSP_SPACE_ID and after), big-endian, after the 38
// bytes that begin every page:
//
//	38      42      46      50          54      58
//	+-------+-------+-------+-----------+-------+- - - 150 - - - - - - - +- - - - - - - +- - -
//	|space  |unused | size  |free limit | flags | lists | extents' state | encryption   | SDI
//	+-------+-------+-------+-----------+-------+- - - - - - - - - - - - +- - - - - - - +- - -
//
// The two neighbours in the page's own header (page.Header.Prev and Next) hold
// something else on this page: the version of the server that created the
// space, and of the space's format (FIL_PAGE_SRV_VERSION, FIL_PAGE_SPACE_VERSION).
//
// A file that was made a moment ago has a first page with space id and flags
// only: its type is still ALLOCATED, its LSN and Size are 0, the flag SDI is
// not set (fil_ibd_create in fil0fil.cc writes it so; the rest is in the redo
// log until the page is flushed).
type Header struct {
	Space         uint32 // space id
	Size          uint32 // pages that the tablespace has, over all its files; 0 in a new file
	FreeLimit     uint32 // pages below are initialised, or in use
	Flags         Flags
	ServerVersion uint32 // of the creator: 80030 is 8.0.30; 0 for old system tablespaces
	SpaceVersion  uint32
}

// ParseHeader reads the header from the first HeaderSize bytes or more of a
// file's first page. Only the first file of the system tablespace has one. The
// error wraps ErrBlank for a blank page, and page.ErrCorrupt if the page is not
// a tablespace's first.
func ParseHeader(b []byte) (Header, error) {
	if len(b) < HeaderSize {
		return Header{}, fmt.Errorf("read tablespace header: %d bytes, want %d", len(b), HeaderSize)
	}
	p, err := page.ParseHeader(b)
	if err != nil {
		return Header{}, err
	}
	if p == (page.Header{}) {
		return Header{}, fmt.Errorf("read tablespace header: %w", ErrBlank)
	}
	be := binary.BigEndian
	h := Header{
		Space:         be.Uint32(b[offFSP:]),
		Size:          be.Uint32(b[offFSP+8:]),
		FreeLimit:     be.Uint32(b[offFSP+12:]),
		Flags:         Flags(be.Uint32(b[offFSP+16:])),
		ServerVersion: p.Prev,
		SpaceVersion:  p.Next,
	}
	if p.Type != page.TypeFSPHeader && p.Type != page.TypeAllocated || p.Number != 0 || p.Space != h.Space {
		return h, fmt.Errorf("read tablespace header: %w: page %d of type %s and space %d, header says space %d",
			page.ErrCorrupt, p.Number, p.Type, p.Space, h.Space)
	}
	if _, err := h.Flags.PageSize(); err != nil {
		return h, fmt.Errorf("read tablespace header: %w: flags %#x: %w", page.ErrCorrupt, uint32(h.Flags), err)
	}
	return h, nil
}

// Encryption is what the first page of an encrypted tablespace says about its
// key. The key itself is sealed with the master key, which is rewritten here
// when the master key is rotated.
type Encryption struct {
	Version    int    // 1 to 3
	MasterKey  uint32 // number of the master key, 0 for the one used while bootstrapping
	ServerUUID string // of the server whose keyring has the master key
}

// EncryptionOffset returns where on the first page that information lies:
// behind the state of the extents one page describes
// (fsp_header_get_encryption_offset in fsp0fsp.cc).
func EncryptionOffset(size page.Size) int {
	bits := 2 * size.ExtentPages()
	return offXDES + (24+bits/8)*(size.Physical/size.ExtentPages())
}

// ParseEncryption reads it from a whole first page (Encryption::
// fill_encryption_info in os0enc.cc). The second result is false if there is
// none: no table that is encrypted, or its first page not written yet.
func ParseEncryption(first []byte, size page.Size) (Encryption, bool) {
	at := EncryptionOffset(size)
	if len(first) < at+encryptionSize {
		return Encryption{}, false
	}
	b := first[at : at+encryptionSize]
	var e Encryption
	switch string(b[:3]) {
	case "lCA":
		e.Version = 1
	case "lCB":
		e.Version = 2
	case "lCC":
		e.Version = 3
	default:
		return Encryption{}, false
	}
	e.MasterKey = binary.BigEndian.Uint32(b[3:])
	if e.Version == 3 { // before, the number took four or eight bytes
		e.ServerUUID = string(b[7 : 7+36])
	}
	return e, true
}

// SealedKey returns what a whole first page says of the tablespace's key, in the form in which
// the header of a redo log has it too (redo.ParseEncryption); nil if there is none, or if it is
// of a form that no supported server writes.
func SealedKey(first []byte, size page.Size) []byte {
	at := EncryptionOffset(size)
	if len(first) < at {
		return nil
	}
	key, _ := SealedKeyOf(first[at:])
	return key
}

// SealedKeyOf is SealedKey of that part of a first page which begins with what it says of the
// key, as the redo log has it.
func SealedKeyOf(b []byte) ([]byte, bool) {
	const used = 3 + 4 + 36 + 64 + 4 // magic, number, server uuid, key and iv, checksum
	if len(b) < used || string(b[:3]) != "lCC" {
		return nil, false
	}
	return slices.Clone(b[:used]), true
}

// PutSealedKey makes of a whole first page, that is not ROW_FORMAT=COMPRESSED, that of an
// encrypted tablespace, with what SealedKey returned.
func PutSealedKey(first []byte, size page.Size, key []byte) {
	flags := Flags(binary.BigEndian.Uint32(first[offFSP+16:])) | flagEncrypted
	binary.BigEndian.PutUint32(first[offFSP+16:], uint32(flags))
	copy(first[EncryptionOffset(size):], key)
	page.PutChecksum(first)
}
