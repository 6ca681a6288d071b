package repo

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"lukechampine.com/blake3"
)

// The index is one stream, cut into objects only so that it can be written during the
// backup. All numbers are little-endian.
//
//	"remora-index-01\n"
//	group *   "rGRP", source u32, pack u32, count u32, pack size u64   24 bytes
//	          entry * count, in the order of the pack                  72 bytes each
//	          BLAKE3-256 of the header and the entries                 32 bytes
//	trailer   "rEND", 0 u32, groups u64, entries u64, BLAKE3-256       24 + 32 bytes
//
// A group is what one pack holds. Source 0 is the backup itself, n is Bases[n-1] of the
// manifest; entries of the backup itself fill their pack without a gap. Pack 0 is no pack:
// such a group has only extents of zeros.
//
//	entry     file u32, flags u32, offset in the file u64, length u32, offset in the pack u32,
//	          stored length u32, CRC-32C of the stored bytes u32, maximum LSN u64,
//	          BLAKE3-256 of the plain bytes (zero for an extent of zeros)
const (
	indexMagic   = "remora-index-01\n"
	groupMagic   = "rGRP"
	trailerMagic = "rEND"

	headerSize = 24
	entrySize  = 72
	sumSize    = 32

	flagZero = 1 // the extent is zeros, nothing is stored
	flagZstd = 2 // stored as one zstd frame, else raw

	maxGroup = 64 << 10 // entries
)

// MaxExtent is the largest extent, in bytes of plain data.
const MaxExtent = 4 << 20

// Extent is a piece of a file.
type Extent struct {
	File   FileID
	Offset int64  // in the file, bytes
	MaxLSN uint64 // highest LSN of its pages, 0 if it has none

	// Length and Zero are given by readers and ignored by writers. An extent with Zero
	// comes without its data: it is Length zeros.
	Length int
	Zero   bool
}

// entry is an extent and where it lies.
type entry struct {
	Extent
	zstd   bool
	at     uint32 // offset in the pack
	stored uint32 // bytes in the pack
	crc    uint32 // of the stored bytes
	digest [32]byte
}

func (e *entry) append(b []byte) []byte {
	var flags uint32
	if e.Zero {
		flags |= flagZero
	}
	if e.zstd {
		flags |= flagZstd
	}
	le := binary.LittleEndian
	b = le.AppendUint32(b, uint32(e.File))
	b = le.AppendUint32(b, flags)
	b = le.AppendUint64(b, uint64(e.Offset))
	b = le.AppendUint32(b, uint32(e.Length))
	b = le.AppendUint32(b, e.at)
	b = le.AppendUint32(b, e.stored)
	b = le.AppendUint32(b, e.crc)
	b = le.AppendUint64(b, e.MaxLSN)
	return append(b, e.digest[:]...)
}

// decodeEntry decodes and checks the entry in the first entrySize bytes of b.
func decodeEntry(b []byte) (entry, error) {
	le := binary.LittleEndian
	flags := le.Uint32(b[4:])
	e := entry{
		Extent: Extent{
			File:   FileID(le.Uint32(b)),
			Offset: int64(le.Uint64(b[8:])),
			Length: int(le.Uint32(b[16:])),
			MaxLSN: le.Uint64(b[32:]),
			Zero:   flags&flagZero != 0,
		},
		zstd:   flags&flagZstd != 0,
		at:     le.Uint32(b[20:]),
		stored: le.Uint32(b[24:]),
		crc:    le.Uint32(b[28:]),
		digest: [32]byte(b[40:entrySize]),
	}
	length := uint32(e.Length)
	ok := e.File != 0 && e.Offset >= 0 && e.Offset <= maxFileSize && e.Length > 0 && e.Length <= MaxExtent
	switch flags {
	case 0:
		ok = ok && e.stored == length
	case flagZero:
		ok = ok && e.stored == 0 && e.crc == 0 && e.digest == [32]byte{}
	case flagZstd:
		ok = ok && e.stored > 0 && e.stored < length
	default:
		ok = false
	}
	if !ok {
		return e, fmt.Errorf("extent of file %d at %d: impossible values", e.File, e.Offset)
	}
	return e, nil
}

// group is the entries of one pack, in the order of the pack.
type group struct {
	number  int // in the index, from 0
	source  uint32
	pack    uint32
	size    int64 // of the pack, bytes
	entries []entry
}

// appendGroup appends a group whose count entries are encoded already.
func appendGroup(b []byte, source, pack uint32, size int64, count int, entries []byte) []byte {
	start, le := len(b), binary.LittleEndian
	b = append(b, groupMagic...)
	b = le.AppendUint32(b, source)
	b = le.AppendUint32(b, pack)
	b = le.AppendUint32(b, uint32(count))
	b = le.AppendUint64(b, uint64(size))
	b = append(b, entries...)
	sum := blake3.Sum256(b[start:])
	return append(b, sum[:]...)
}

func appendTrailer(b []byte, groups, entries int64) []byte {
	start, le := len(b), binary.LittleEndian
	b = append(b, trailerMagic...)
	b = le.AppendUint32(b, 0)
	b = le.AppendUint64(b, uint64(groups))
	b = le.AppendUint64(b, uint64(entries))
	sum := blake3.Sum256(b[start:])
	return append(b, sum[:]...)
}

// indexReader reads an index group by group; its memory is that of one group.
type indexReader struct {
	r       io.Reader
	buf     []byte
	groups  int64
	entries int64
}

func newIndexReader(r io.Reader) (*indexReader, error) {
	x := &indexReader{r: r, buf: make([]byte, 0, headerSize+sumSize)}
	head := x.buf[:len(indexMagic)]
	if _, err := io.ReadFull(r, head); err != nil {
		return nil, short(err)
	}
	if string(head) != indexMagic {
		return nil, errors.New("it does not begin as an index")
	}
	return x, nil
}

// next returns the next group, or io.EOF after the trailer, when all is proven but for
// bytes that may follow it.
func (x *indexReader) next() (group, error) {
	head := x.buf[:headerSize]
	if _, err := io.ReadFull(x.r, head); err != nil {
		return group{}, short(err)
	}
	le := binary.LittleEndian
	if string(head[:4]) == trailerMagic {
		return group{}, x.trailer(head)
	}
	count := le.Uint32(head[12:])
	if string(head[:4]) != groupMagic || count == 0 || count > maxGroup {
		return group{}, fmt.Errorf("group %d: impossible header", x.groups)
	}
	g := group{number: int(x.groups), source: le.Uint32(head[4:]), pack: le.Uint32(head[8:]), size: int64(le.Uint64(head[16:]))}
	need := headerSize + int(count)*entrySize
	if cap(x.buf) < need+sumSize {
		x.buf = append(make([]byte, 0, need+sumSize), head...)
	}
	buf := x.buf[:need+sumSize]
	if _, err := io.ReadFull(x.r, buf[headerSize:]); err != nil {
		return group{}, short(err)
	}
	if sum := blake3.Sum256(buf[:need]); sum != [32]byte(buf[need:]) {
		return group{}, fmt.Errorf("group %d: checksum mismatch", x.groups)
	}
	if err := g.decode(buf[headerSize:need]); err != nil {
		return group{}, fmt.Errorf("group %d: %w", x.groups, err)
	}
	x.groups++
	x.entries += int64(count)
	return g, nil
}

func (x *indexReader) trailer(head []byte) error {
	buf := x.buf[:headerSize+sumSize]
	if _, err := io.ReadFull(x.r, buf[headerSize:]); err != nil {
		return short(err)
	}
	le := binary.LittleEndian
	if blake3.Sum256(head) != [32]byte(buf[headerSize:]) || le.Uint32(head[4:]) != 0 ||
		le.Uint64(head[8:]) != uint64(x.groups) || le.Uint64(head[16:]) != uint64(x.entries) {
		return errors.New("its trailer does not fit")
	}
	return io.EOF
}

// decode fills the entries and checks that they can lie in their pack.
func (g *group) decode(b []byte) error {
	g.entries = make([]entry, 0, len(b)/entrySize)
	end := int64(0)
	for ; len(b) > 0; b = b[entrySize:] {
		e, err := decodeEntry(b)
		if err != nil {
			return err
		}
		if int64(e.at) < end || g.source == 0 && int64(e.at) != end {
			return fmt.Errorf("extent of file %d at %d is not where the pack goes on", e.File, e.Offset)
		}
		end = int64(e.at) + int64(e.stored)
		g.entries = append(g.entries, e)
	}
	if end > g.size || g.source == 0 && end != g.size || (g.pack == 0) != (g.size == 0) || g.pack == 0 && g.source != 0 {
		return fmt.Errorf("extents of %d bytes in a pack of %d", end, g.size)
	}
	return nil
}

// short makes the end of the stream an error where it must go on.
func short(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
