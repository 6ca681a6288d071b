package redo

import "encoding/binary"

// header reads what precedes the body of all types but three.
func (c *cursor) header() {
	if i := c.i; i+8 <= c.limit {
		space, n := shortC32(binary.BigEndian.Uint32(c.b[i:]))
		page, m := shortC32(binary.BigEndian.Uint32(c.b[i+n:]))
		if n > 0 && m > 0 {
			c.space, c.pageNo, c.i = space, page, i+n+m
			return
		}
	}
	c.space = c.c32("space")
	c.pageNo = c.c32("page")
}

// record reads a record behind its type byte, which must not be MultiRecEnd or DummyRecord. The page is never needed to know a record's length.
// Source: log0recv.cc, recv_parse_or_apply_log_rec_body, with the parse functions it calls.
func (c *cursor) record(t Type) {
	if t == TableDynamicMeta {
		c.dynamicMeta()
		return
	}
	c.header()
	switch t {
	case Byte1, Bytes2, Bytes4:
		c.number(t)
	case Bytes8:
		c.offset("offset")
		c.c64("value")
	case UndoInsert:
		c.skip("bytes", c.u16("length"))
	case UndoInit:
		c.c32("undo_type")
	case UndoHdrReuse, UndoHdrCreate:
		c.c64("trx_id")
	case RecMinMark, CompRecMinMark:
		c.offset("offset")
	case RecSecDeleteMark:
		c.u8("flag")
		c.offset("offset")
	case WriteString:
		c.writeString()
	case PageCreate, CompPageCreate, PageCreateRTree, CompPageCreateRTree, PageCreateSDI, CompPageCreateSDI,
		UndoEraseEnd, IbufBitmapInit, InitFilePage, InitFilePage2:
	case FileCreate, FileRename, FileDelete, FileExtend:
		c.file(t)
	case IndexLoad:
		c.u64("index")
	case ZipWriteNodePtr, ZipWriteBlobPtr, ZipWriteHeader, ZipPageCompress:
		c.zip(t)
	case Test:
		c.fail("record of a test build")
	case RecInsert, RecClustDeleteMark, RecDelete, RecUpdateInPlace, ListEndCopyCreated, PageReorganize, ZipPageReorganize,
		ZipPageCompressNoData, ListEndDelete, ListStartDelete:
		c.indexed(t)
	default:
		c.refuse(t)
	}
}

// refuse says why records of type t are not read. Servers since 8.0.28 do not write the types whose names end in 8027, and 9.7 does not read them.
func (c *cursor) refuse(t Type) {
	if int(t) < len(typeNames) && typeNames[t] != "" {
		c.fail("record type that servers since 8.0.28 do not write")
		return
	}
	c.fail("no such record type")
}

// number reads a value of 1, 2 or 4 bytes to be written to a page.
func (c *cursor) number(t Type) {
	c.offset("offset")
	v := c.c32("value")
	if t == Byte1 && v > 0xFF || t == Bytes2 && v > 0xFFFF {
		c.fail("value too large for its type")
	}
}

func (c *cursor) writeString() {
	at, n := c.offset("offset"), c.u16("length")
	if at+n > c.page {
		c.fail("string longer than its page")
	}
	c.skip("bytes", n)
}

// file reads a record about a tablespace's file.
func (c *cursor) file(t Type) {
	if c.pageNo != 0 {
		c.fail("file operation with a page number")
	}
	switch t {
	case FileCreate:
		c.u32("flags")
		c.path("path")
	case FileRename:
		c.path("path")
		c.path("to")
	case FileDelete:
		c.path("path")
	case FileExtend:
		c.u64("offset")
		if c.u64("size") == 0 {
			c.fail("extension by nothing")
		}
	}
}

// path reads a file name, which ends with a NUL.
func (c *cursor) path(name string) {
	n := c.u16("length")
	if n < 5 {
		c.fail("path too short")
	}
	c.skip(name, n)
	if c.i <= len(c.b) && n > 0 && c.b[c.i-1] != 0 {
		c.fail("path without its end")
	}
}

// zip reads the records of ROW_FORMAT=COMPRESSED that need no index. Source: page0zip.cc.
func (c *cursor) zip(t Type) {
	switch t {
	case ZipWriteNodePtr, ZipWriteBlobPtr:
		c.offset("offset")
		c.offset("zip_offset")
		if t == ZipWriteNodePtr {
			c.skip("pointer", 4)
		} else {
			c.skip("pointer", 20)
		}
	case ZipWriteHeader:
		at, n := c.u8("offset"), c.u8("length")
		if n == 0 || at+n >= 94 {
			c.fail("write beyond the page header")
		}
		c.skip("bytes", n)
	case ZipPageCompress:
		size, trailer := c.u16("size"), c.u16("trailer_size")
		if size+trailer > c.page {
			c.fail("compressed page longer than a page")
		}
		c.skip("links", 8)
		c.skip("bytes", size)
		c.skip("trailer", trailer)
	}
}

// dynamicMeta reads a change to what a table remembers outside of the dictionary. Source: MetadataRecover::parseMetadataLog, dict0dd.cc persisters.
func (c *cursor) dynamicMeta() {
	c.space, c.pageNo = 0, 0
	c.mc64("table")
	c.mc64("version")
	switch c.u8("kind") {
	case 1:
		n := c.u8("indexes")
		if n == 0 || n > 64 {
			c.fail("impossible number of corrupted indexes")
			return
		}
		for range n {
			c.u32("space")
			c.u64("index")
		}
	case 2:
		c.mc64("auto_increment")
	default:
		c.fail("unknown kind of table metadata")
	}
}
