package page

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// ErrCorrupt is what Outcome.Err wraps for a page that must not be used.
var ErrCorrupt = errors.New("corrupt page")

// Outcome is what Verify found out about a page.
type Outcome uint8

// A sound server's files give the first three. A page that is read while the
// server writes it gives one of the others: read it again before judging.
const (
	OK           Outcome = iota
	Zero                 // never written: nothing but zeros, as they are or packed
	Unverifiable         // encrypted: number and original type are sound, the data cannot be checked without the key

	Torn        // the LSN in the header is not the one in the trailer
	BadChecksum // no algorithm gives the checksum that is stored
	BadNumber   // sound, and another page than the one that belongs here
	BadPacking  // transparently compressed, and cannot be unpacked
	BadType     // encrypted, and no such type of page can have been
)

// Corrupt reports whether the page must not be used as it is.
func (o Outcome) Corrupt() bool { return o >= Torn }

// Err returns nil for OK, Zero and Unverifiable, and else an error that wraps
// ErrCorrupt.
func (o Outcome) Err() error {
	if !o.Corrupt() {
		return nil
	}
	return fmt.Errorf("%w: %s", ErrCorrupt, o)
}

func (o Outcome) String() string {
	switch o {
	case OK:
		return "ok"
	case Zero:
		return "zero"
	case Unverifiable:
		return "encrypted"
	case Torn:
		return "torn write"
	case BadChecksum:
		return "checksum mismatch"
	case BadNumber:
		return "another page's number"
	case BadPacking:
		return "undecodable compression"
	case BadType:
		return "impossible page type"
	}
	return fmt.Sprintf("outcome %d", uint8(o))
}

// Verifier verifies pages of one size. It keeps memory for unpacking from page
// to page, so that it allocates nothing, and so serves one goroutine at a time.
type Verifier struct {
	size  Size
	plain []byte        // room for one unpacked page
	in    bytes.Reader  // what zlib reads from
	zlib  io.ReadCloser // made when first needed
}

// NewVerifier returns a Verifier for pages of the given size; its error is
// that of Size.Check.
func NewVerifier(size Size) (*Verifier, error) {
	if err := size.Check(); err != nil {
		return nil, err
	}
	return &Verifier{size: size}, nil
}

// Size returns the size that pages must have.
func (v *Verifier) Size() Size { return v.size }

// Verify judges one page, exactly Size.Physical bytes long, that was read from
// where page number belongs: its offset in pages within the tablespace, over
// all its files.
//
// Whatever innodb_checksum_algorithm says today, pages written under another
// setting stay in the file, so crc32, innodb and none are all accepted, as a
// server does (BlockReporter::is_corrupted in buf/checksum.cc). Not accepted,
// though a server would: what only servers before 4.0.14 wrote, and crc32 as
// big-endian machines computed it up to 5.7.
//
// IMPORT TABLESPACE writes every page of a file anew, free ones too: those of a
// compressed table become packed zeros, which are Zero here, those of an
// encrypted one encrypted zeros, which have no number to look at
// (PageConverter in row0import.cc).
//
// What no checksum covers: bytes 26 to 37, which hold the flush LSN and the
// space id; of ROW_FORMAT=COMPRESSED pages the space id is covered and the LSN
// is not; of transparently compressed pages what lies behind the packed data is
// not, of encrypted ones all but number and types, and with the algorithm none
// all but number and LSN.
func (v *Verifier) Verify(page []byte, number uint32) Outcome {
	if len(page) != v.size.Physical {
		return BadChecksum
	}
	o := v.contents(page)
	if o == Zero || o.Corrupt() {
		return o
	}
	if binary.BigEndian.Uint32(page[offNumber:]) != number && !(o == Unverifiable && sealedZeros(page)) {
		return BadNumber
	}
	return o
}

func (v *Verifier) contents(page []byte) Outcome {
	be := binary.BigEndian
	if be.Uint32(page[offChecksum:]) == 0 && be.Uint64(page[offLSN:]) == 0 && empty(page) {
		return Zero
	}
	switch t := Type(be.Uint16(page[offType:])); {
	case t.Encrypted():
		return sealed(page)
	case v.size.Zip:
		return verifyZip(page)
	case t == TypeCompressed:
		plain := v.unpack(page)
		if plain == nil {
			return BadPacking
		}
		if empty(plain) {
			return Zero
		}
		return verifyPlain(plain)
	}
	return verifyPlain(page)
}

// empty reports whether all is zero but the eight bytes that may be set on a
// page that was never written.
func empty(page []byte) bool {
	return zero(page[:offFlush]) && zero(page[offSpace:])
}

func zero(b []byte) bool { return b[0] == 0 && bytes.Equal(b[:len(b)-1], b[1:]) }

// sealed judges an encrypted page. The checksum in its header is that of the
// plain page (Encryption::encrypt in os0enc.cc computes none), and the trailer
// is encrypted too: only the type can be looked at.
func sealed(page []byte) Outcome {
	was := Type(binary.BigEndian.Uint16(page[offOriginalType:]))
	if Type(binary.BigEndian.Uint16(page[offType:])) == TypeEncryptedRTree {
		was = TypeRTree // its eight bytes are in use
	}
	if !was.known() {
		return BadType
	}
	return Unverifiable
}

// sealedZeros reports whether an encrypted page was one of zeros: it kept a
// header without number, LSN, checksum, neighbours, space id and type.
func sealedZeros(page []byte) bool {
	return zero(page[:offType]) && zero(page[offOriginalType:offOriginalSize]) && zero(page[offSpace:offData])
}

func verifyPlain(page []byte) Outcome {
	be := binary.BigEndian
	tail := page[len(page)-TrailerSize:]
	if be.Uint32(page[offLSN+4:]) != be.Uint32(tail[4:]) {
		return Torn
	}
	head, old := be.Uint32(page[offChecksum:]), be.Uint32(tail)
	switch {
	case head == old && (head == crc(page) || head == noChecksum):
		return OK
	case old == fold(page[:offFlush]) &&
		head == fold(page[offNumber:offFlush])+fold(page[offData:len(page)-TrailerSize]):
		return OK
	}
	return BadChecksum
}

func verifyZip(page []byte) Outcome {
	switch binary.BigEndian.Uint32(page[offChecksum:]) {
	case crcZip(page), noChecksum, adlerZip(page):
		return OK
	}
	return BadChecksum
}
