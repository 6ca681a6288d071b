package binlog

import (
	"encoding/binary"
	"math/bits"
)

// encode returns the binary form of the set, for the law that what is decoded is what was encoded.
func encode(s GTIDSet) (b []byte) {
	le, tagged, sources := binary.LittleEndian, false, s.Sources()
	for _, from := range sources {
		tagged = tagged || from.Tag != ""
	}
	n := uint64(len(sources))
	if tagged {
		n = formatTagged<<56 | n<<8 | formatTagged
	}
	b = le.AppendUint64(b, n)
	for _, from := range sources {
		b = append(b, from.UUID[:]...)
		if tagged {
			b = appendVarint(b, uint64(len(from.Tag)))
			b = append(b, from.Tag...)
		}
		intervals := s.sets[from]
		b = le.AppendUint64(b, uint64(len(intervals)))
		for _, in := range intervals {
			b = le.AppendUint64(b, uint64(in.First))
			b = le.AppendUint64(b, uint64(in.Last)+1)
		}
	}
	return b
}

func appendVarint(b []byte, v uint64) []byte {
	n := min(max(bits.Len64(v)-1, 0)/7, 8) // bytes to follow
	if n == 8 || n == 7 && bits.Len64(v) > 56 {
		return binary.LittleEndian.AppendUint64(append(b, 0xff), v)
	}
	b = append(b, byte(v<<(n+1))|(1<<n-1))
	for rest := v >> (7 - n); n > 0; n-- {
		b = append(b, byte(rest))
		rest >>= 8
	}
	return b
}
