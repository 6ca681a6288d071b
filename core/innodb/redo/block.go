package redo

import "encoding/binary"

// State says what ParseBlock found.
type State uint8

const (
	// Good is a block whose number, checksum and lengths are right.
	Good State = iota
	// NotYetWritten is a block of an older life of the file, or zeros: the server has not come here yet.
	NotYetWritten
	// Torn is the right block with a wrong checksum or wrong lengths: it is being written right now, or damaged. Read it again.
	Torn
	// Ahead is a sound block of a later LSN: the server has reused the file, the block looked for is lost.
	Ahead
	// Encrypted is the right block, unreadable without the key. Its checksum is not known.
	Encrypted
)

// String names the state.
func (s State) String() string {
	switch s {
	case Good:
		return "good"
	case NotYetWritten:
		return "not yet written"
	case Torn:
		return "torn"
	case Ahead:
		return "ahead"
	case Encrypted:
		return "encrypted"
	}
	return "unknown"
}

// Checksums says which trailers ParseBlock accepts.
type Checksums uint8

const (
	// RequireCRC accepts only a CRC-32C.
	RequireCRC Checksums = iota
	// AllowNone accepts also the constant of servers with innodb_log_checksums=OFF. Torn blocks cannot be told from good ones then.
	AllowNone
)

// noChecksum is the trailer of a block written with innodb_log_checksums=OFF. Source: LOG_NO_CHECKSUM_MAGIC.
const noChecksum = 0xDEADBEEF

// encryptedBit of data_len. Source: LOG_BLOCK_ENCRYPT_BIT_MASK.
const encryptedBit = 0x8000

// oldFlushBit of the number, which servers before 8.0.30 used. Source: LOG_BLOCK_FLUSH_BIT_MASK.
const oldFlushBit = 1 << 31

// Block is one block of the log, 496 bytes of data at most.
type Block struct {
	LSN LSN // of the block's first byte
	// Data is what the block holds of the stream; it aliases the bytes parsed. Shorter than [BlockData] it is the log's end, for now: the
	// server writes the block again when it has more, and never changes what was there.
	Data []byte
	// FirstRecGroup is the offset in the block (not in Data) of the first mini-transaction that begins in it; 0 if none does.
	FirstRecGroup int
}

// End returns the LSN after the last byte of data: in the next block if this one is full.
func (b Block) End() LSN { return (b.LSN + BlockHeader).Advance(uint64(len(b.Data))) }

// Full reports whether the block will not be written again.
func (b Block) Full() bool { return len(b.Data) == BlockData }

// ParseBlock reads the 512 bytes b as the block that begins at LSN at. The block returned is of use only if the state is Good.
// It does not allocate. The number is looked at first: everything else in a block of an older life is sound, but not meant.
func ParseBlock(b []byte, at LSN, sums Checksums) (Block, State) {
	b = b[:BlockSize:BlockSize]
	hdr, epoch := at.blockNumbers()
	gotHdr, gotEpoch := binary.BigEndian.Uint32(b)&^oldFlushBit, binary.BigEndian.Uint32(b[8:])
	if gotHdr != hdr || gotEpoch != epoch {
		later := gotEpoch > epoch || gotEpoch == epoch && gotHdr > hdr
		if gotHdr == 0 || !later {
			return Block{}, NotYetWritten
		}
		if !sums.accept(b) {
			return Block{}, Torn
		}
		return Block{}, Ahead
	}
	n, first := int(binary.BigEndian.Uint16(b[4:])), int(binary.BigEndian.Uint16(b[6:]))
	if n&encryptedBit != 0 {
		return Block{}, Encrypted
	}
	if !lengthsRight(n, first) || !sums.accept(b) {
		return Block{}, Torn
	}
	if first > n { // the group's end is not written yet, though the server knew it already
		first = 0
	}
	return Block{LSN: at, Data: b[BlockHeader:min(n, BlockSize-BlockTrailer)], FirstRecGroup: first}, Good
}

func lengthsRight(dataLen, first int) bool {
	if dataLen != BlockSize && (dataLen < BlockHeader || dataLen >= BlockSize-BlockTrailer) {
		return false
	}
	return first == 0 || first >= BlockHeader && first < BlockSize-BlockTrailer
}

func (c Checksums) accept(b []byte) bool {
	got := trailer(b)
	return got == checksum(b) || c == AllowNone && got == noChecksum
}

// BlockLSN returns where the block b says it belongs, as found in redo archives, which have no file headers. ok is false if it was never written.
func BlockLSN(b []byte) (at LSN, ok bool) {
	hdr, epoch := binary.BigEndian.Uint32(b)&^oldFlushBit, binary.BigEndian.Uint32(b[8:])
	if hdr == 0 || hdr > blocksPerEpoch || epoch == 0 {
		return 0, false
	}
	return LSN((uint64(epoch-1)*blocksPerEpoch + uint64(hdr-1)) * BlockSize), true
}

// Cut ends the log inside block b, which holds data up to at least end: what lies behind end is zeroed, the header tells the new length, and the
// checksum is made new (as CRC-32C). end must be Valid; only its offset in the block counts.
func Cut(b []byte, end LSN) {
	n := end.Offset()
	clear(b[n:BlockSize])
	binary.BigEndian.PutUint16(b[4:], uint16(n))
	if int(binary.BigEndian.Uint16(b[6:])) > n {
		binary.BigEndian.PutUint16(b[6:], 0)
	}
	PutChecksum(b)
}

// Seal replaces the checksum of a block written with innodb_log_checksums=OFF by a CRC-32C, so that any server reads it.
func Seal(b []byte) {
	if trailer(b) == noChecksum && !IsEncrypted(b) {
		PutChecksum(b)
	}
}
