package redo

// Record is one record as [Parser.Records] tells it. Bytes are valid during the call only.
type Record struct {
	Type        Type
	LSN         LSN // of its first byte
	Group       LSN // of the mini-transaction it belongs to
	Single      bool
	Space, Page uint32 // 0 for the types that have none
	Bytes       []byte // all of it

	pageSize int
}

// Records makes the parser tell f about every record, also of mini-transactions before the checkpoint and of one that is not complete.
// It is for people who look at a log; call it before the first Feed.
func (p *Parser) Records(f func(Record)) { p.records = f }

// Fields takes the record apart. Bytes of fields alias those of the record.
func (r Record) Fields() []Field {
	var fields []Field
	if r.Type == MultiRecEnd || r.Type == DummyRecord {
		return nil
	}
	c := cursor{b: r.Bytes, i: 1, page: r.pageSize, note: func(f Field) { fields = append(fields, f) }}
	c.record(r.Type)
	return fields
}

func (p *Parser) tell(c *cursor, begin int, t Type, single bool) {
	r := Record{Type: t, LSN: p.lsn(p.pos(begin)), Group: p.lsn(p.start), Single: single, Bytes: c.b[begin:c.i:c.i], pageSize: p.page}
	if t != MultiRecEnd && t != DummyRecord {
		r.Space, r.Page = c.space, c.pageNo
	}
	p.records(r)
}
