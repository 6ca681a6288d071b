package repo

import (
	"encoding/binary"
	"math/bits"

	"github.com/klauspost/compress/huff0"
)

// encoder writes zstd frames (RFC 8878) for pages of a database: one pass, matches of at
// least minMatch bytes, literals in Huffman code, sequences with the predefined tables.
//
// Rows are mostly text and numbers that repeat nothing but their headers. A general
// encoder finds short accidental matches in them, which cost time and, as each costs more
// bits than the literals it replaces, space too. Frames are plain zstd for every decoder.
//
// Not safe for concurrent use.
type encoder struct {
	table [1 << hashBits]uint32 // where these bytes were last, in the frame, and a mark
	seqs  []sequence
	lits  []byte
	huff  huff0.Scratch
	last  [2]int // last distances, as the decoder knows them
	rep   int    // distance to look at everywhere: mostly that of the row before
	quick bool   // the last block had little that repeats

	lit, match, offset coder
}

// sequence is some literals followed by a match.
type sequence struct {
	lits   uint32
	match  uint32
	offset uint32 // as it is coded: distance+3, or 1 or 2 for the last one or the one before
	codes  [3]uint8
}

const (
	hashBits   = 14
	minMatch   = 7
	blockSize  = 32 << 10
	quickBelow = 256 // matches in a block
	longMatch  = 16
	skipShift  = 4 // the search goes faster the longer it finds nothing
)

func newEncoder() *encoder {
	e := &encoder{}
	e.lit.standard, e.lit.standardLog, e.lit.maxLog = litNorm, 6, 9
	e.match.standard, e.match.standardLog, e.match.maxLog = matchNorm, 6, 9
	e.offset.standard, e.offset.standardLog, e.offset.maxLog = offsetNorm, 5, 8
	return e
}

// append appends src, 1 to MaxExtent bytes, as one frame to dst.
func (e *encoder) append(dst, src []byte) []byte {
	dst = append(dst, 0x28, 0xb5, 0x2f, 0xfd, 0xa0) // magic; one segment, size in 4 bytes, no checksum
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(src)))
	clear(e.table[:])
	e.last, e.rep, e.quick = [2]int{1, 4}, 1, false
	e.huff.Reuse = huff0.ReusePolicyNone
	for at := 0; ; at += blockSize {
		end := min(at+blockSize, len(src))
		dst = e.block(dst, src, at, end, end == len(src))
		if end == len(src) {
			return dst
		}
	}
}

// block appends src[at:end] as a block.
func (e *encoder) block(dst, src []byte, at, end int, last bool) []byte {
	head, lastDist := len(dst), e.last
	dst = append(dst, 0, 0, 0)
	kind, size := uint32(2), 0
	e.search(src, at, end)
	dst = e.literals(dst)
	dst = e.sequences(dst)
	if size = len(dst) - head - 3; size >= end-at {
		kind, size = 0, end-at
		dst = append(dst[:head+3], src[at:end]...)
		e.last = lastDist
		e.huff.Reuse = huff0.ReusePolicyNone
	}
	h := uint32(size)<<3 | kind<<1
	if last {
		h |= 1
	}
	dst[head], dst[head+1], dst[head+2] = byte(h), byte(h>>8), byte(h>>16)
	return dst
}

// slot returns where in the table the first minMatch bytes of v are remembered, and the
// mark that tells them from most others there.
func slot(v uint64) (at, mark uint32) {
	h := (v << (64 - 8*minMatch)) * 0x9e3779b185ebca87
	return uint32(h >> (64 - hashBits)), uint32(h>>(32-hashBits)) &^ (MaxExtent - 1)
}

// search cuts src[at:end] into sequences and the literals of all of them.
func (e *encoder) search(src []byte, at, end int) {
	e.seqs, e.lits = e.seqs[:0], e.lits[:0]
	le := binary.LittleEndian
	table, rep, from, found := &e.table, e.rep, at, 0
	first := 1
	if e.quick {
		first = 4 // sameFour misses nothing
	}
	src = src[:end]
	for s := at + 1; s <= end-16; {
		v := le.Uint64(src[s:])
		h, mark := slot(v)
		there := table[h]
		table[h] = uint32(s) | mark
		c := int(there & (MaxExtent - 1))
		start, dist := s, s-c
		if at := sameFour(src, v, s, rep); at >= 0 {
			start, dist = s+at, rep
		} else if there&^(MaxExtent-1) != mark || (le.Uint64(src[c:])^v)<<(64-8*minMatch) != 0 {
			s += min(first+(s-from)>>skipShift, 5) + (s-from)>>9
			continue
		} else {
			found++
		}
		for start > from+1 && start > dist && src[start-1] == src[start-dist-1] {
			start--
		}
		n := matchLen(src, start, dist)
		// A short match elsewhere is an accident, after which the rows go on as before.
		if !e.quick || dist == e.last[0] || n >= longMatch {
			rep = dist
		}
		code := e.code(dist)
		e.seqs = append(e.seqs, sequence{lits: uint32(start - from), match: uint32(n), offset: code})
		e.lits = append(e.lits, src[from:start]...)
		s = start + n
		from = s
		if s <= end-16 {
			h, mark := slot(le.Uint64(src[s-2:]))
			table[h] = uint32(s-2) | mark
		}
		s++
	}
	e.rep = rep
	e.lits = append(e.lits, src[from:]...)
	e.quick = found < quickBelow && len(e.lits) > (end-at)/2
}

// code returns how a distance is coded, and remembers it as the decoder will.
func (e *encoder) code(dist int) uint32 {
	switch dist {
	case e.last[0]:
		return 1
	case e.last[1]:
		e.last[0], e.last[1] = e.last[1], e.last[0]
		return 2
	}
	e.last[0], e.last[1] = dist, e.last[0]
	return uint32(dist) + 3
}

// sameFour looks for four bytes from s to s+4 that are the same at a distance; v is the
// eight bytes at s. It returns where they begin, from s, or -1.
func sameFour(src []byte, v uint64, s, dist int) int {
	if s < dist {
		return -1
	}
	x := v ^ binary.LittleEndian.Uint64(src[s-dist:])
	x |= x >> 8
	x |= x >> 16 // a byte is zero if it and the next three were
	x |= 0xffffff << 40
	if x = (x - 0x0101010101010101) &^ x & 0x8080808080808080; x == 0 {
		return -1
	}
	return bits.TrailingZeros64(x) >> 3
}

// matchLen returns how long src repeats itself at a distance.
func matchLen(src []byte, at, dist int) int {
	le := binary.LittleEndian
	n := at
	for n+8 <= len(src) {
		if x := le.Uint64(src[n:]) ^ le.Uint64(src[n-dist:]); x != 0 {
			return n - at + bits.TrailingZeros64(x)>>3
		}
		n += 8
	}
	for n < len(src) && src[n] == src[n-dist] {
		n++
	}
	return n - at
}

// literals appends the literals section.
func (e *encoder) literals(dst []byte) []byte {
	n := uint64(len(e.lits))
	var out []byte
	var reused bool
	var err error
	single := n < 1024
	switch {
	case n < 64:
		err = huff0.ErrIncompressible
	case single:
		out, reused, err = huff0.Compress1X(e.lits, &e.huff)
	default:
		out, reused, err = huff0.Compress4X(e.lits, &e.huff)
	}
	if err == huff0.ErrUseRLE {
		return append(literalsHeader(dst, 1, n), e.lits[0])
	}
	if err != nil {
		return append(literalsHeader(dst, 0, n), e.lits...)
	}
	kind := uint64(2)
	if reused {
		kind = 3
	}
	e.huff.Reuse = huff0.ReusePolicyAllow
	h, bytes := kind|3<<2|n<<4|uint64(len(out))<<22, 5 // four streams
	if single {
		h, bytes = kind|n<<4|uint64(len(out))<<14, 3
	}
	for range bytes {
		dst = append(dst, byte(h))
		h >>= 8
	}
	return append(dst, out...)
}

// literalsHeader is that of literals which are raw (kind 0) or all the same (kind 1).
func literalsHeader(dst []byte, kind, n uint64) []byte {
	switch {
	case n < 1<<5:
		return append(dst, byte(kind|n<<3))
	case n < 1<<12:
		h := kind | 1<<2 | n<<4
		return append(dst, byte(h), byte(h>>8))
	}
	h := kind | 3<<2 | n<<4
	return append(dst, byte(h), byte(h>>8), byte(h>>16))
}

// sequences appends the sequences section.
func (e *encoder) sequences(dst []byte) []byte {
	n := len(e.seqs)
	switch {
	case n < 128:
		dst = append(dst, byte(n))
	case n < 0x7f00:
		dst = append(dst, byte(n>>8)+128, byte(n))
	default:
		dst = append(dst, 255, byte(n-0x7f00), byte((n-0x7f00)>>8))
	}
	if n == 0 {
		return dst
	}
	e.lit.reset()
	e.match.reset()
	e.offset.reset()
	for i := range e.seqs {
		s := &e.seqs[i]
		s.codes = [3]uint8{litCode(s.lits), matchCode(s.match), uint8(bits.Len32(s.offset) - 1)}
		e.lit.count[s.codes[0]]++
		e.match.count[s.codes[1]]++
		e.offset.count[s.codes[2]]++
	}
	modes := len(dst)
	dst = append(dst, 0)
	var lit, offset, match byte
	dst, lit = e.lit.choose(dst, n)
	dst, offset = e.offset.choose(dst, n)
	dst, match = e.match.choose(dst, n)
	dst[modes] = lit<<6 | offset<<4 | match<<2
	return e.bits(dst)
}

// bits appends the bits of the sequences, which a decoder reads from the end.
func (e *encoder) bits(dst []byte) []byte {
	w := bitWriter{out: dst}
	var lit, match, off state
	for i := len(e.seqs) - 1; i >= 0; i-- {
		s := &e.seqs[i]
		l, m, o := s.codes[0], s.codes[1], s.codes[2]
		if i == len(e.seqs)-1 {
			match, off, lit = e.match.start(m), e.offset.start(o), e.lit.start(l)
		} else {
			off = e.offset.next(&w, off, o)
			match = e.match.next(&w, match, m)
			lit = e.lit.next(&w, lit, l)
		}
		w.add(uint64(s.lits-litBase[l]), litBits[l])
		w.flush()
		w.add(uint64(s.match-matchBase[m]), matchBits[m])
		w.add(uint64(s.offset-1<<o), o)
		w.flush()
	}
	w.add(uint64(match), e.match.log)
	w.add(uint64(off), e.offset.log)
	w.add(uint64(lit), e.lit.log)
	w.add(1, 1)
	return w.end()
}

// bitWriter writes bits, lowest first.
type bitWriter struct {
	out []byte
	acc uint64
	n   uint8 // bits in acc
}

func (w *bitWriter) add(v uint64, n uint8) {
	w.acc |= (v & (1<<n - 1)) << w.n
	w.n += n
}

// flush leaves less than 8 bits; 56 can be added then.
func (w *bitWriter) flush() {
	w.out = binary.LittleEndian.AppendUint64(w.out, w.acc)
	n := w.n &^ 7
	w.out = w.out[:len(w.out)-8+int(n/8)]
	w.acc >>= n
	w.n -= n
}

// end writes all bits, the last byte filled with zeros.
func (w *bitWriter) end() []byte {
	w.flush()
	if w.n > 0 {
		w.out = append(w.out, byte(w.acc))
	}
	return w.out
}
