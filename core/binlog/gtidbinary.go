package binlog

import (
	"fmt"
	"math/bits"
)

// The binary form of a GTID set, as Previous_gtids events have it
// (Gtid_set::encode in rpl_gtid_set.cc), little-endian:
//
//	8 bytes   how many sources follow; with a tag among them 1<<56 | n<<8 | 1
//	 16 bytes   UUID
//	 1+n bytes  length of the tag, a varint, and the tag: only in the second form
//	 8 bytes    how many intervals follow
//	  8 bytes     first number
//	  8 bytes     last number, plus one
const formatTagged = 1

// DecodeGTIDSet reads the binary form, which must use all of b.
func DecodeGTIDSet(b []byte) (GTIDSet, error) {
	d := decoder{b: b}
	var s GTIDSet
	n := d.u64("number of sources")
	tagged := n>>56 == formatTagged
	if tagged {
		n = n << 8 >> 16
	}
	for i := uint64(0); i < n && d.err == nil; i++ {
		var from Source
		copy(from.UUID[:], d.take("uuid", 16))
		if tagged {
			from.Tag = d.tag()
		}
		count := d.u64("number of intervals")
		for j := uint64(0); j < count && d.err == nil; j++ {
			in := Interval{int64(d.u64("interval")), int64(d.u64("interval") - 1)}
			if d.err == nil && !in.valid() {
				d.fail("interval", "%d to %d", in.First, in.Last)
			}
			s.AddInterval(from, in)
		}
	}
	if d.err == nil && len(d.b) > d.at {
		d.fail("end", "%d bytes too many", len(d.b)-d.at)
	}
	if d.err != nil {
		return GTIDSet{}, fmt.Errorf("read gtid set: %w", d.err)
	}
	return s, nil
}

// decoder reads fields one after the other and keeps the first error, so that
// nobody has to ask in between. After an error all values are zero.
type decoder struct {
	b   []byte
	at  int
	err error
}

func (d *decoder) fail(field, format string, args ...any) {
	if d.err == nil {
		d.err = fmt.Errorf("%s at %d: %s", field, d.at, fmt.Sprintf(format, args...))
	}
}

func (d *decoder) take(field string, n int) []byte {
	if d.err != nil || n < 0 || n > len(d.b)-d.at {
		d.fail(field, "want %d bytes, have %d", n, len(d.b)-d.at)
		return nil
	}
	d.at += n
	return d.b[d.at-n : d.at]
}

// uint reads n bytes, at most eight, little-endian.
func (d *decoder) uint(field string, n int) uint64 {
	var v uint64
	for i, c := range d.take(field, n) {
		v |= uint64(c) << (8 * i)
	}
	return v
}

func (d *decoder) u64(field string) uint64 { return d.uint(field, 8) }

// varint reads a number of the serialization library's variable length
// (libs/mysql/serialization/readme.md): as many ones as there are bytes to
// follow, in the low bits of the first, a zero unless there are eight; the
// rest is the number.
func (d *decoder) varint(field string) uint64 {
	first := d.take(field, 1)
	if first == nil {
		return 0
	}
	more := bits.TrailingZeros8(^first[0]) // 8 for 0xff
	rest := d.uint(field, more)
	if more >= 7 {
		return rest
	}
	return uint64(first[0])>>(more+1) | rest<<(7-more)
}

// svarint reads a signed one: the sign is the lowest bit.
func (d *decoder) svarint(field string) int64 {
	v := d.varint(field)
	return int64(v>>1) ^ -int64(v&1)
}

// lenenc reads a number as the client protocol packs it (net_field_length_ll
// in pack.cc).
func (d *decoder) lenenc(field string) uint64 {
	switch first := d.uint(field, 1); first {
	case 252:
		return d.uint(field, 2)
	case 253:
		return d.uint(field, 3)
	case 254:
		return d.uint(field, 8)
	case 251, 255:
		d.fail(field, "%d begins no number", first)
		return 0
	default:
		return first
	}
}

func (d *decoder) tag() string {
	n := d.varint("length of tag")
	if n > 32 {
		d.fail("length of tag", "%d, want at most 32", n)
		return ""
	}
	tag := string(d.take("tag", int(n)))
	if tag != "" && !validTag(tag) {
		d.fail("tag", "%q is none", tag)
	}
	return tag
}
