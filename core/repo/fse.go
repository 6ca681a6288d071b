package repo

import "math/bits"

// The predefined distributions of RFC 8878, section 3.1.1.3.2.2, and the codes of section
// 3.1.1.3.2.1.1: a length is its code's base and some bits.
var (
	litNorm = []int8{4, 3, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2, 2, 3, 2, 1, 1, 1, 1, 1, -1, -1, -1, -1}

	matchNorm = []int8{1, 4, 3, 2, 2, 2, 2, 2, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
		1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, -1, -1, -1, -1, -1, -1, -1}

	offsetNorm = []int8{1, 1, 1, 1, 1, 1, 2, 2, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, -1, -1, -1, -1, -1}

	litBits = [36]uint8{16: 1, 1, 1, 1, 2, 2, 3, 3, 4, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}
	litBase = [36]uint32{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 18, 20, 22, 24, 28, 32, 40, 48, 64,
		128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768, 65536}

	matchBits = [53]uint8{32: 1, 1, 1, 1, 2, 2, 3, 3, 4, 4, 5, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}
	matchBase = [53]uint32{3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29,
		30, 31, 32, 33, 34, 35, 37, 39, 41, 43, 47, 51, 59, 67, 83, 99, 131, 259, 515, 1027, 2051, 4099, 8195, 16387, 32771, 65539}
)

// litCode returns the code of a number of literals.
func litCode(n uint32) uint8 {
	if n < 64 {
		return shortLits[n]
	}
	return uint8(bits.Len32(n) + 18)
}

// matchCode returns the code of a match of n bytes.
func matchCode(n uint32) uint8 {
	if n < 131 {
		return shortMatches[n]
	}
	return uint8(bits.Len32(n-3) + 35)
}

var (
	shortLits    = [64]uint8(codes(litBase[:], 64))
	shortMatches = [131]uint8(codes(matchBase[:], 131))
)

// codes returns the code of each number below n.
func codes(base []uint32, n uint32) []uint8 {
	out := make([]uint8, n)
	for c, b := range base {
		for ; b < n; b++ {
			out[b] = uint8(c)
		}
	}
	return out
}

// state is that of a finite state coder, between 1<<log and 2<<log.
type state uint32

// coder is a table for finite state entropy coding of one of the three parts of sequences.
type coder struct {
	standard            []int8 // the predefined distribution
	standardLog, maxLog uint8

	count [64]uint32
	norm  [64]int16
	log   uint8
	moves [1 << 9]uint16 // next state, ordered by symbol
	syms  [64]symbol
}

// symbol says how a state is left when a symbol is coded: the number of bits to write is
// the upper half of state + bits; the rest of the state, + base, is the move.
type symbol struct {
	bits uint32
	base int32
}

func (c *coder) reset() { c.count = [64]uint32{} }

// The modes of a table in the header of the sequences.
const (
	modeStandard = 0
	modeSame     = 1 // all symbols are the same one
	modeOwn      = 2
)

// choose builds the table for the n symbols counted, appends its description and returns
// its mode.
func (c *coder) choose(dst []byte, n int) ([]byte, byte) {
	for s, k := range c.count {
		if int(k) == n && n > 2 {
			c.norm = [64]int16{}
			c.norm[s] = 1
			c.build(0)
			return append(dst, byte(s)), modeSame
		}
	}
	if n >= 64 && c.normalize(n) {
		dst = c.describe(dst)
		c.build(c.log)
		return dst, modeOwn
	}
	c.norm = [64]int16{}
	for s, k := range c.standard {
		c.norm[s] = int16(k)
	}
	c.build(c.standardLog)
	return dst, modeStandard
}

// normalize scales the counts to a sum of 1<<log, none to zero.
func (c *coder) normalize(n int) bool {
	c.log = min(c.maxLog, max(5, uint8(bits.Len(uint(n))-2)))
	size, sum, most := int64(1)<<c.log, int64(0), 0
	for s, k := range c.count {
		if c.norm[s] = 0; k > 0 {
			c.norm[s] = int16(max(1, (int64(k)*size+int64(n)/2)/int64(n)))
		}
		sum += int64(c.norm[s])
		if c.norm[s] > c.norm[most] {
			most = s
		}
	}
	c.norm[most] += int16(size - sum)
	return c.norm[most] > 1
}

// describe appends the distribution as section 4.1.1 has it.
func (c *coder) describe(dst []byte) []byte {
	w := bitWriter{out: dst}
	w.add(uint64(c.log-5), 4)
	left, limit, width := 1<<c.log+1, 1<<c.log, c.log+1
	for s := 0; left > 1; s++ {
		v, spare := int(c.norm[s])+1, 2*limit-1-left
		left -= v - 1
		n := width
		if v >= limit {
			v += spare
		} else if v < spare {
			n--
		}
		w.add(uint64(v), n)
		w.flush()
		for left < limit {
			limit >>= 1
			width--
		}
		if c.norm[s] == 0 { // how many more zeros follow, in threes
			more := 0
			for c.norm[s+1+more] == 0 {
				more++
			}
			s += more
			for ; more >= 3; more -= 3 {
				w.add(3, 2)
				w.flush()
			}
			w.add(uint64(more), 2)
		}
	}
	return w.end()
}

// build makes the table for the distribution in norm, where -1 is a symbol rarer than all
// others.
func (c *coder) build(log uint8) {
	c.log = log
	size := 1 << log
	var spread [1 << 9]uint8
	high := size - 1
	for s, n := range c.norm {
		if n == -1 {
			spread[high] = uint8(s)
			high--
		}
	}
	at, step := 0, size>>1+size>>3+3
	for s, n := range c.norm {
		for range max(n, 0) {
			spread[at] = uint8(s)
			for at = (at + step) & (size - 1); at > high; at = (at + step) & (size - 1) {
			}
		}
	}
	var first [64]int
	total := 0
	for s, n := range c.norm {
		first[s] = total
		switch {
		case n == 0:
		case n == -1 || n == 1:
			c.syms[s] = symbol{uint32(log)<<16 - 1<<log, int32(total) - 1}
			total++
		default:
			out := uint32(log) - uint32(bits.Len16(uint16(n-1))-1)
			c.syms[s] = symbol{out<<16 - uint32(n)<<out, int32(total) - int32(n)}
			total += int(n)
		}
	}
	for i, s := range spread[:size] {
		c.moves[first[s]] = uint16(size + i)
		first[s]++
	}
}

// start returns the state of the symbol that is decoded last.
func (c *coder) start(s uint8) state {
	y := c.syms[s]
	n := (y.bits + 1<<15) >> 16
	return state(c.moves[int32((n<<16-y.bits)>>n)+y.base])
}

// next writes what leads from the state back to the one before, by symbol s.
func (c *coder) next(w *bitWriter, from state, s uint8) state {
	y := c.syms[s]
	n := (uint32(from) + y.bits) >> 16
	w.add(uint64(from), uint8(n))
	return state(c.moves[int32(uint32(from)>>n)+y.base])
}
