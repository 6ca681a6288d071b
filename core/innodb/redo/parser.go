package redo

import (
	"cmp"
	"fmt"
)

// Bounds of what a parser keeps. Both are far above what a server can write.
const (
	maxRecord  = 4 << 20  // bytes of one record
	maxPending = 64 << 20 // bytes of the events of one mini-transaction
)

// singleRecord in a type byte says that the record is a mini-transaction of its own. Source: MLOG_SINGLE_REC_FLAG.
const singleRecord = 0x80

// Parser walks the log from a checkpoint and reports the events of complete mini-transactions, in order. It keeps at most one incomplete record and the
// events of one mini-transaction, however long that is, and looks at each record once or twice.
//
// Every block says where its first mini-transaction begins. The parser compares that with where it finds one, so that a record whose length it got wrong
// is noticed within a block.
//
// Memory and positions: buf holds the stream from bytesBefore on, of which at bytes are parsed.
//
//	origin ....... bytesBefore | parsed ....... at | incomplete record | <- Feed appends
type Parser struct {
	checkpoint LSN
	emit       func(Event)
	records    func(Record) // nil if nobody wants them
	page       int
	err        error

	last   Block // the block fed last; its Data is not kept
	fed    int   // bytes of data in it
	begun  bool  // the first mini-transaction was found
	origin LSN   // of the first data of the block in which it was

	buf         []byte
	bytesBefore uint64 // of the stream, before buf
	at          int    // of the next record in buf
	need        int    // bytes of it, at least
	inGroup     bool   // it is not the first of its mini-transaction
	ended       bool   // the mini-transaction at its end waits for the block in which the next begins
	start       uint64 // in the stream, of the mini-transaction being parsed
	done        uint64 // in the stream, the end of the last complete one

	pending      []Event
	pendingBytes int
	groups       groupCheck
}

// NewParser returns a parser for the log from checkpoint on. Mini-transactions that begin before it are parsed but not reported. pageSize is
// innodb_page_size in bytes. emit is called from Feed.
func NewParser(checkpoint LSN, pageSize int, emit func(Event)) *Parser {
	return &Parser{checkpoint: checkpoint, page: pageSize, emit: emit, buf: make([]byte, 0, 64<<10)}
}

// ParsedLSN returns the end of the last complete mini-transaction; 0 as long as not even the beginning of one was found.
func (p *Parser) ParsedLSN() LSN {
	if !p.begun {
		return 0
	}
	return p.lsn(p.done)
}

// Feed takes the next block. The first must be the one that holds the checkpoint. A block that is not full may be given again when it has more data.
// An error is final and, if the bytes are to blame, a [RecordError] or a [GroupError].
func (p *Parser) Feed(b Block) error {
	if p.err == nil {
		p.err = p.feed(b)
	}
	return p.err
}

func (p *Parser) feed(b Block) error {
	seen, err := p.seen(b)
	if err != nil {
		return err
	}
	p.last, p.fed = Block{LSN: b.LSN}, len(b.Data)
	if !p.begun {
		if b.FirstRecGroup == 0 {
			return nil
		}
		p.begun, p.origin, seen = true, b.LSN+BlockHeader, 0
		p.at = b.FirstRecGroup - BlockHeader
		p.start, p.done = uint64(p.at), uint64(p.at)
	}
	p.groups.add(b, p.origin)
	if p.groups.next == 0 {
		p.groups.begins(p.done)
	}
	p.append(b.Data[seen:])
	if p.ended {
		p.ended = false
		p.finish(p.pos(p.at))
	}
	if len(p.buf)-p.at >= p.need {
		err = p.scan()
	}
	// A block that disagrees with the records explains an impossible record behind it.
	return cmp.Or(p.groups.settle(p.pos(p.at), p.origin), err)
}

// seen returns how much of b was fed before.
func (p *Parser) seen(b Block) (int, error) {
	switch want := p.last.LSN; {
	case want == 0 && b.LSN == p.checkpoint.BlockStart():
		return 0, nil
	case want == 0:
		return 0, fmt.Errorf("parse redo: first block is at LSN %d, checkpoint at %d", b.LSN, p.checkpoint)
	case b.LSN == want && len(b.Data) >= p.fed:
		return p.fed, nil
	case b.LSN == want+BlockSize && p.fed == BlockData:
		return 0, nil
	}
	return 0, fmt.Errorf("parse redo: block at LSN %d with %d bytes follows block at LSN %d with %d", b.LSN, len(b.Data), p.last.LSN, p.fed)
}

// append adds data to the buffer; what is parsed goes when room is needed, so that a byte is moved at most once on average.
func (p *Parser) append(data []byte) {
	if len(p.buf)+len(data) > cap(p.buf) && p.at >= cap(p.buf)/2 {
		n := copy(p.buf, p.buf[p.at:])
		p.bytesBefore += uint64(p.at)
		p.buf, p.at = p.buf[:n], 0
	}
	p.buf = append(p.buf, data...)
}

func (p *Parser) pos(i int) uint64 { return p.bytesBefore + uint64(i) }

func (p *Parser) lsn(pos uint64) LSN { return p.origin.Advance(pos) }

// scan parses all records that are complete.
func (p *Parser) scan() error {
	c := cursor{b: p.buf, i: p.at, limit: len(p.buf), page: p.page}
	for c.i < len(c.b) {
		begin := c.i
		single, t := c.b[begin]&singleRecord != 0, Type(c.b[begin]&^singleRecord)
		if single && (p.inGroup || t == MultiRecEnd || t == DummyRecord) {
			c.i++
			return p.recordError(&c, begin, t, "single record inside a group")
		}
		if !p.inGroup {
			p.start = p.pos(begin)
		}
		c.i++
		if t != MultiRecEnd && t != DummyRecord {
			c.record(t)
		}
		if c.bad != "" {
			return p.recordError(&c, begin, t, c.bad)
		}
		if c.i > len(c.b) {
			p.need = c.i - begin
			if p.need > maxRecord {
				return p.recordError(&c, begin, t, "record longer than any a server writes")
			}
			p.at = begin
			return nil
		}
		if p.records != nil {
			p.tell(&c, begin, t, single)
		}
		if wanted(t, c.pageNo) {
			if err := p.keep(&c, begin, t); err != nil {
				return err
			}
		}
		p.inGroup = !single && t != MultiRecEnd
		if !p.inGroup && !p.finish(p.pos(c.i)) {
			break
		}
	}
	p.at, p.need = c.i, 1
	return nil
}

// keep remembers the record until its mini-transaction is complete.
func (p *Parser) keep(c *cursor, begin int, t Type) error {
	start := p.lsn(p.start)
	if start < p.checkpoint {
		return nil
	}
	p.pendingBytes += c.i - begin + 200
	if p.pendingBytes > maxPending {
		return p.recordError(c, begin, t, "mini-transaction with too many file operations")
	}
	e := newEvent(t, c.b[begin:c.i])
	e.Start = start
	p.pending = append(p.pending, e)
	return nil
}

// finish ends the mini-transaction at pos. It returns false if it must wait: one that fills its block ends in the next one, which has to be there.
func (p *Parser) finish(pos uint64) bool {
	if pos >= p.groups.next && !p.groups.begins(pos) {
		p.ended = true
		return false
	}
	p.done = pos
	if len(p.pending) > 0 {
		p.deliver(p.lsn(pos))
	}
	return true
}

func (p *Parser) deliver(end LSN) {
	for i := range p.pending {
		p.pending[i].End = end
		p.emit(p.pending[i])
	}
	clear(p.pending)
	p.pending, p.pendingBytes = p.pending[:0], 0
}
