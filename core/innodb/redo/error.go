package redo

import "fmt"

// RecordError says that the log holds a record that no server writes. It is an [ErrCorrupt].
type RecordError struct {
	LSN   LSN    // of the record
	Group LSN    // of the mini-transaction it belongs to
	Type  Type   // as its first byte says
	Why   string // what is impossible
	Bytes []byte // the record's first bytes
}

// excerpt is how many bytes of a record an error shows.
const excerpt = 64

func (e *RecordError) Error() string {
	return fmt.Sprintf("parse redo record %s (type %d) at LSN %d, in the mini-transaction from LSN %d: %s: % x", e.Type, uint8(e.Type), e.LSN, e.Group, e.Why, e.Bytes)
}

// Unwrap returns ErrCorrupt.
func (e *RecordError) Unwrap() error { return ErrCorrupt }

// GroupError says that a block's header and the records disagree about where the block's first mini-transaction begins: either the block is damaged or
// a record before it was read wrongly. It is an [ErrCorrupt].
type GroupError struct {
	LSN         LSN // of the block
	Said, Found int // offset in the block, 0 for none
}

func (e *GroupError) Error() string {
	return fmt.Sprintf("parse redo block at LSN %d: first mini-transaction begins at offset %d, the block says %d", e.LSN, e.Found, e.Said)
}

// Unwrap returns ErrCorrupt.
func (e *GroupError) Unwrap() error { return ErrCorrupt }

// recordError stops the parser at the record that begins at begin.
func (p *Parser) recordError(c *cursor, begin int, t Type, why string) error {
	p.at = begin
	rec := c.b[begin:min(begin+excerpt, len(c.b))]
	return &RecordError{LSN: p.lsn(p.pos(begin)), Group: p.lsn(p.start), Type: t, Why: why, Bytes: append([]byte(nil), rec...)}
}
