package redo

// sqlNull is the length of a field that is NULL.
const sqlNull = 0xFFFFFFFF

// maxFields is more than the columns, virtual ones included, of any table.
const maxFields = 4096

// Flags of an index description. Source: dict0mem.h and mtr0log.cc, mlog_open_and_write_index.
const (
	indexCompact   = 1 // not ROW_FORMAT=REDUNDANT
	indexVersioned = 2 // the table has columns added or dropped INSTANT
	indexInstant   = 4 // the same, done by 8.0.12 to 8.0.28
)

// indexed reads the body of a record that carries a description of its index.
func (c *cursor) indexed(t Type) {
	c.index()
	switch t {
	case RecInsert:
		c.insert()
	case RecClustDeleteMark:
		c.u8("flags")
		c.u8("value")
		c.sysValues()
		c.offset("offset")
	case RecDelete, ListEndDelete, ListStartDelete:
		c.offset("offset")
	case RecUpdateInPlace:
		c.update()
	case ListEndCopyCreated:
		n := c.u32("length")
		if int64(n) > int64(8*c.page) {
			c.fail("more records than fit a page")
			return
		}
		c.skip("records", int(n))
	case PageReorganize:
	case ZipPageReorganize, ZipPageCompressNoData:
		if c.u8("level") > 9 {
			c.fail("unknown compression level")
		}
	}
}

// index reads the description of an index. Source: mtr0log.cc, mlog_parse_index.
func (c *cursor) index() {
	if c.u8("index_version") != 1 {
		c.fail("unknown version of an index description")
		return
	}
	flags := c.u8("index_flags")
	if flags&^(indexCompact|indexVersioned|indexInstant) != 0 {
		c.fail("unknown flags of an index description")
		return
	}
	if flags&(indexCompact|indexVersioned) == 0 {
		return
	}
	n := c.u16("fields")
	if n > maxFields {
		c.fail("index with too many fields")
		return
	}
	if flags&indexCompact != 0 {
		if flags&indexInstant != 0 {
			c.u16("instant_fields")
		}
		c.u16("unique_fields")
		c.skip("field_lengths", 2*n)
	}
	if flags&indexVersioned != 0 {
		c.versions(n)
	}
}

// versions reads when the fields of an index were added or dropped.
func (c *cursor) versions(fields int) {
	n := c.u16("versioned_fields")
	if n > maxFields {
		c.fail("index with too many versions")
		return
	}
	for range n {
		c.u16("logical_position")
		at := c.u16("physical_position")
		if at&0x8000 != 0 {
			c.u8("version_added")
		}
		if at&0x4000 != 0 {
			c.u8("version_dropped")
		}
		if c.i > len(c.b) {
			return
		}
	}
}

// insert reads a record as its difference to the one before it. Source: page0cur.cc, page_cur_parse_insert_rec.
func (c *cursor) insert() {
	c.offset("cursor")
	e := c.c32("end_segment")
	if int64(e) >= int64(2*c.page) {
		c.fail("record longer than its page")
		return
	}
	if e&1 != 0 {
		c.u8("info_bits")
		c.c32("origin")
		c.c32("mismatch")
	}
	c.skip("bytes", int(e>>1))
}

// update reads the new values of fields. Source: btr0cur.cc, btr_cur_parse_update_in_place and row_upd_index_parse.
func (c *cursor) update() {
	c.u8("flags")
	c.sysValues()
	c.offset("offset")
	c.u8("info_bits")
	n := c.c32("fields")
	if n > maxFields {
		c.fail("update of too many fields")
		return
	}
	for range n {
		c.c32("field")
		length := c.c32("length")
		if length == sqlNull {
			continue
		}
		if int64(length) > int64(c.page) {
			c.fail("field longer than its page")
			return
		}
		c.skip("value", int(length))
		if c.i > len(c.b) {
			return
		}
	}
}

// sysValues reads the system columns of a changed row. Source: row_upd_parse_sys_vals.
func (c *cursor) sysValues() {
	c.c32("system_position")
	c.skip("roll_pointer", 7)
	c.c64("trx_id")
}
