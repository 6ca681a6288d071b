package page

import (
	"compress/zlib"
	"encoding/binary"
	"io"
)

// unpack returns the page that a transparently compressed one was made from,
// or nil if that is not possible. The result is valid until the next call.
//
// Of the original only what lies behind the header was compressed, and its
// type was moved to make room for TypeCompressed (os_file_compress_page in
// os0file.cc; Compression::deserialize in file.cc). The rest of the header is
// unchanged, its checksum included.
func (v *Verifier) unpack(page []byte) []byte {
	h, err := ParseHeader(page)
	if err != nil || h.Version < 1 || h.Version > 2 || h.Original == TypeCompressed || !h.Original.known() {
		return nil
	}
	if h.OriginalSize != v.size.Logical-HeaderSize || HeaderSize+h.PackedSize > len(page) {
		return nil
	}
	if v.plain == nil {
		v.plain = make([]byte, v.size.Logical)
	}
	copy(v.plain, page[:HeaderSize])
	binary.BigEndian.PutUint16(v.plain[offType:], uint16(h.Original))
	to, from := v.plain[HeaderSize:], page[HeaderSize:HeaderSize+h.PackedSize]
	ok := false
	switch h.Algorithm {
	case Zlib:
		ok = v.inflate(to, from)
	case LZ4:
		ok = unpackLZ4(to, from)
	}
	if !ok {
		return nil
	}
	return v.plain
}

// inflate unpacks exactly len(to) bytes and uses all of from.
func (v *Verifier) inflate(to, from []byte) bool {
	v.in.Reset(from)
	if v.zlib == nil {
		r, err := zlib.NewReader(&v.in)
		if err != nil {
			return false
		}
		v.zlib = r
	} else if err := v.zlib.(zlib.Resetter).Reset(&v.in, nil); err != nil {
		return false
	}
	if _, err := io.ReadFull(v.zlib, to); err != nil {
		return false
	}
	// The checksum of the stream is looked at only when its end is read.
	var more [1]byte
	n, err := v.zlib.Read(more[:])
	return n == 0 && err == io.EOF && v.in.Len() == 0
}

// unpackLZ4 unpacks one LZ4 block without a frame: sequences of a token (two
// lengths of four bits, 15 means that bytes to be added follow), literals, and
// a distance back from where a match of at least four bytes is repeated. The
// last sequence has literals only. It reports whether the block gave exactly
// len(to) bytes.
func unpackLZ4(to, from []byte) bool {
	d, s := 0, 0
	length := func(n int) (int, bool) {
		if n < 15 {
			return n, true
		}
		for s < len(from) && n <= len(to) {
			c := from[s]
			s++
			n += int(c)
			if c != 255 {
				return n, true
			}
		}
		return 0, false
	}
	for s < len(from) {
		token := from[s]
		s++
		n, ok := length(int(token >> 4))
		if !ok || n > len(from)-s || n > len(to)-d {
			return false
		}
		d += copy(to[d:], from[s:s+n])
		s += n
		if s == len(from) {
			return d == len(to)
		}
		if len(from)-s < 2 {
			return false
		}
		back := int(binary.LittleEndian.Uint16(from[s:]))
		s += 2
		n, ok = length(int(token & 15))
		n += 4
		if !ok || back == 0 || back > d || n > len(to)-d {
			return false
		}
		repeat(to, d, back, n)
		d += n
	}
	return false
}

// repeat copies n bytes from back bytes before d to d, where the two may
// overlap: then what was just written is copied again.
func repeat(to []byte, d, back, n int) {
	for n > 0 {
		c := copy(to[d:d+min(n, back)], to[d-back:d])
		d, n, back = d+c, n-c, back+c
	}
}
