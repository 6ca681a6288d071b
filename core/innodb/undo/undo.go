// Package undo reads from the pages of undo tablespaces which transactions are prepared.
package undo

import (
	"encoding/binary"
	"fmt"

	"github.com/remora-backup/remora/core/innodb/page"
)

// XID names a prepared transaction of a client.
type XID struct {
	Format         int32
	Global, Branch string // 64 bytes at most each
}

// SQL is the name as XA COMMIT and XA ROLLBACK take it.
func (x XID) SQL() string { return fmt.Sprintf("X'%x',X'%x',%d", x.Global, x.Branch, x.Format) }

// An undo segment's first page (trx0undo.h), big-endian, behind the 38 bytes that begin every
// page and 18 that begin every undo page:
//
//	56      58         60           70           86
//	+-------+----------+------------+------------+- - -
//	| state | last log | segment    | pages' list| logs
//	+-------+----------+------------+------------+- - -
//
// and a log's header, at the offset that "last log" says (TRX_UNDO_XA_FORMAT and after):
//
//	46       50           54           58
//	+--------+------------+------------+- - - 128 - -
//	| format | global len | branch len | global, branch
//	+--------+------------+------------+- - -
const (
	offState    = page.HeaderSize + 18
	offLast     = offState + 2
	offSegment  = offLast + 2 // begins with the space id
	offLogs     = offState + 30
	offFlags    = 20
	offXA       = 46
	offXIDBytes = offXA + 12
	maxPart     = 64
	hasXID      = 1 // TRX_UNDO_FLAG_XID
)

// Prepared returns the client's transaction that is prepared in the undo segment of which p is
// the first page. ok is false for all other pages; pages that are encrypted cannot be told.
func Prepared(p []byte) (x XID, ok bool) {
	h, err := page.ParseHeader(p)
	if err != nil || h.Type != page.TypeUndoLog || len(p) < offLogs {
		return x, false
	}
	be := binary.BigEndian
	state, last := be.Uint16(p[offState:]), int(be.Uint16(p[offLast:]))
	const first, final = 5, 7 // TRX_UNDO_PREPARED_80028, TRX_UNDO_PREPARED, TRX_UNDO_PREPARED_IN_TC
	if state < first || state > final || last < offLogs || last+offXIDBytes+2*maxPart > len(p) || be.Uint32(p[offSegment:]) != h.Space {
		return x, false // another page of a segment has undo records in this place
	}
	log := p[last:]
	global, branch := be.Uint32(log[offXA+4:]), be.Uint32(log[offXA+8:])
	if log[offFlags]&hasXID == 0 || global == 0 || global > maxPart || branch > maxPart {
		return x, false
	}
	b := log[offXIDBytes:]
	x = XID{Format: int32(be.Uint32(log[offXA:])), Global: string(b[:global]), Branch: string(b[global : global+branch])}
	return x, true
}
