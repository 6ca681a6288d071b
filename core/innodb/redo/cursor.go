package redo

import "encoding/binary"

// cursor reads the fields of a record. Reading beyond the end of b yields zeros and goes on: a record that ends at i > len(b) is incomplete and is at
// least that long. So a decoder needs no checks of its own, and a value that is impossible counts only if it was there.
//
// Each field is named where it is read. When fields are wanted, limit is 0, which sends every read through the slow path that notes them.
type cursor struct {
	b     []byte
	i     int // place of the next byte in b
	limit int // reads that end here or before take the fast path
	page  int // innodb_page_size
	bad   string
	note  func(Field)

	space, pageNo uint32 // of the record read last
}

// Field is one value of a record, as the dump shows it.
type Field struct {
	Name  string
	Value uint64
	Bytes []byte // for a field that is no number; aliases the bytes parsed
}

// fail says that the bytes read so far are impossible, unless they were not there.
func (c *cursor) fail(why string) {
	if c.i <= len(c.b) && c.bad == "" {
		c.bad = why
	}
}

func (c *cursor) u8(name string) int {
	if i := c.i; i < c.limit {
		c.i = i + 1
		return int(c.b[i])
	}
	return int(c.slow(name, 1))
}

func (c *cursor) u16(name string) int {
	if i := c.i; i+1 < c.limit {
		c.i = i + 2
		return int(c.b[i])<<8 | int(c.b[i+1])
	}
	return int(c.slow(name, 2))
}

func (c *cursor) u32(name string) uint32 { return uint32(c.slow(name, 4)) }

func (c *cursor) u64(name string) uint64 { return c.slow(name, 8) }

// slow reads an n-byte number with every check, and notes it.
func (c *cursor) slow(name string, n int) uint64 {
	v := c.peek(c.i, n)
	c.i += n
	c.noted(Field{Name: name, Value: v})
	return v
}

func (c *cursor) noted(f Field) {
	if c.note != nil && c.i <= len(c.b) {
		c.note(f)
	}
}

// peek returns the n-byte number at i, 0 where there are no bytes.
func (c *cursor) peek(i, n int) uint64 {
	if i+n > len(c.b) {
		return 0
	}
	var v uint64
	for _, x := range c.b[i : i+n] {
		v = v<<8 | uint64(x)
	}
	return v
}

// shortC32 takes a compressed number apart whose form is a frequent one; otherwise n is 0.
func shortC32(v uint32) (value uint32, n int) {
	switch {
	case v < 0x80<<24:
		return v >> 24, 1
	case v < 0xC0<<24:
		return v >> 16 & 0x3FFF, 2
	case v < 0xE0<<24:
		return v >> 8 & 0x1FFFFF, 3
	case v < 0xF0<<24:
		return v & 0xFFFFFFF, 4
	case v >= 0xF8<<24 && v < 0xFC<<24: // undo tablespaces, NULL
		return v>>16&0x3FF | 0xFFFFFC00, 2
	}
	return 0, 0
}

// c32 reads a number of 1 to 5 bytes. Source: mach0data.ic, mach_read_next_compressed and mach_parse_compressed.
func (c *cursor) c32(name string) uint32 {
	if i := c.i; i+4 <= c.limit {
		if v, n := shortC32(binary.BigEndian.Uint32(c.b[i:])); n > 0 {
			c.i = i + n
			return v
		}
	}
	return c.slowC32(name)
}

func (c *cursor) slowC32(name string) uint32 {
	v, n := c.compressed(c.i)
	if n == 0 {
		c.i++
		c.fail("number that begins with 0xff")
		return 0
	}
	c.i += n
	c.noted(Field{Name: name, Value: uint64(v)})
	return v
}

// compressed returns the number at i and its length in bytes: 0 if its first byte is impossible, 1 if it is not there.
func (c *cursor) compressed(i int) (v uint32, n int) {
	if i >= len(c.b) {
		return 0, 1
	}
	switch b := c.b[i]; {
	case b < 0x80:
		return uint32(b), 1
	case b < 0xC0:
		return uint32(c.peek(i, 2)) & 0x3FFF, 2
	case b < 0xE0:
		return uint32(c.peek(i, 3)) & 0x1FFFFF, 3
	case b < 0xF0:
		return uint32(c.peek(i, 4)) & 0xFFFFFFF, 4
	case b < 0xF8:
		return uint32(c.peek(i+1, 4)), 5
	case b < 0xFC:
		return uint32(c.peek(i, 2))&0x3FF | 0xFFFFFC00, 2
	case b < 0xFE:
		return uint32(c.peek(i, 3))&0x1FFFF | 0xFFFE0000, 3
	case b == 0xFE:
		return uint32(c.peek(i+1, 3)) | 0xFF000000, 4
	}
	return 0, 0
}

// c64 reads a 64-bit number whose high word is compressed. Source: mach_u64_parse_compressed.
func (c *cursor) c64(name string) uint64 {
	if c.i+9 <= c.limit && c.b[c.i] < 0x80 {
		c.i += 5
		return uint64(c.b[c.i-5])<<32 | uint64(binary.BigEndian.Uint32(c.b[c.i-4:]))
	}
	high, n := c.compressed(c.i)
	if n == 0 {
		c.i++
		c.fail("number that begins with 0xff")
		return 0
	}
	v := uint64(high)<<32 | c.peek(c.i+n, 4)
	c.i += n + 4
	c.noted(Field{Name: name, Value: v})
	return v
}

// mc64 reads a 64-bit number that is mostly small. Source: mach_parse_u64_much_compressed.
func (c *cursor) mc64(name string) uint64 {
	if c.peek(c.i, 1) != 0xFF {
		return uint64(c.c32(name))
	}
	c.i++
	high := c.c32(name + "_high")
	return uint64(high)<<32 | uint64(c.c32(name+"_low"))
}

// skip passes over n bytes, which the caller has bounded.
func (c *cursor) skip(name string, n int) {
	if c.note != nil && c.i+n <= len(c.b) {
		c.note(Field{Name: name, Bytes: c.b[c.i : c.i+n : c.i+n]})
	}
	c.i += n
}

// offset reads the place of something in a page.
func (c *cursor) offset(name string) int {
	v := c.u16(name)
	if v >= c.page {
		c.fail("offset beyond the page")
	}
	return v
}
