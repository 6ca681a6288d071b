// Package binlog reads MySQL binary logs as far as positions and GTIDs go.
//
// A backup ends at a position of the binary log that the server named. This
// package tells whether that position is the end of a transaction, and which
// transactions lie before it. Row images, statements and what compressed
// transactions hold are passed over. Bytes come from an io.Reader; nothing
// here opens files.
package binlog

import "fmt"

// Type is the type of an event (Log_event_type in binlog_event.h).
type Type uint8

// The events that matter here; all others are passed over.
const (
	Query             Type = 2
	Stop              Type = 3
	Rotate            Type = 4
	FormatDescription Type = 15
	XID               Type = 16
	GTIDEvent         Type = 33
	AnonymousGTID     Type = 34
	PreviousGTIDs     Type = 35
	XAPrepare         Type = 38
	Payload           Type = 40 // a whole transaction, compressed
	TaggedGTID        Type = 42 // from MySQL 8.3 on
)

func (t Type) String() string {
	switch t {
	case Query:
		return "Query"
	case Stop:
		return "Stop"
	case Rotate:
		return "Rotate"
	case FormatDescription:
		return "Format_desc"
	case XID:
		return "Xid"
	case GTIDEvent:
		return "Gtid"
	case AnonymousGTID:
		return "Anonymous_Gtid"
	case PreviousGTIDs:
		return "Previous_gtids"
	case XAPrepare:
		return "XA_prepare"
	case Payload:
		return "Transaction_payload"
	case TaggedGTID:
		return "Gtid_tagged"
	}
	return fmt.Sprintf("event type %d", uint8(t))
}

// kept reports whether the reader keeps the body of such events.
func (t Type) kept() bool {
	switch t {
	case Rotate, FormatDescription, GTIDEvent, AnonymousGTID, PreviousGTIDs, TaggedGTID:
		return true
	}
	return false
}

// flagInUse is set in the format description of a log that is being written
// (LOG_EVENT_BINLOG_IN_USE_F in log_event.h), and left out of its checksum.
const flagInUse = 1

// Event is one event. All numbers in it are little-endian; it begins with
// (Log_event_header in binlog_event.h):
//
//	0         4    5         9      13      17    19
//	+---------+----+---------+------+-------+-----+- - -
//	|timestamp|type|server_id|length|end_pos|flags| body, checksum (4, if the format says so)
//	+---------+----+---------+------+-------+-----+- - -
//
// end_pos is the low half of where the event ends in its file.
type Event struct {
	Time     uint32 // seconds since 1970
	Type     Type
	ServerID uint32
	Flags    uint16
	Start    int64 // position of its first byte in the file
	End      int64 // position behind its last byte

	// Body is what lies between header and checksum, kept for the types that
	// this package decodes, nil for others. It is valid until the next event.
	Body []byte
}

// Format is the first event of every binary log.
type Format struct {
	Version   int    // 4
	Server    string // version of the server that wrote it, such as 8.4.3
	Checksums bool   // every event ends with a CRC-32
	// InUse is set while the server writes the file, and stays set after a
	// crash: it is what makes a server that starts look for transactions that
	// were prepared and not committed. In a copy of the current log it must
	// stay set.
	InUse bool
}

const (
	headerSize   = 19
	checksumSize = 4
)

// decodeFormat reads a format description event, checksum included: version
// (2), server (50), time (4), header size (1), sizes by type (n), algorithm
// (1), checksum (4).
func decodeFormat(body []byte, flags uint16) (Format, error) {
	d := decoder{b: body}
	f := Format{Version: int(d.uint("version", 2)), InUse: flags&flagInUse != 0}
	f.Server = cstring(d.take("server", 50))
	d.take("time", 4)
	header := d.uint("header size", 1)
	d.take("sizes", len(body)-57-1-checksumSize)
	algorithm := d.uint("checksum algorithm", 1)
	switch {
	case d.err != nil:
		return f, fmt.Errorf("read format description: %w", d.err)
	case f.Version != 4 || header != headerSize:
		return f, fmt.Errorf("read format description: version %d with headers of %d bytes, want 4 and %d",
			f.Version, header, headerSize)
	case algorithm > 1:
		return f, fmt.Errorf("read format description: unknown checksum algorithm %d", algorithm)
	}
	f.Checksums = algorithm == 1
	return f, nil
}

func cstring(b []byte) string {
	for i, c := range b {
		if c == 0 {
			return string(b[:i])
		}
	}
	return string(b)
}

// Transaction is what a GTID event says of the transaction that it begins.
type Transaction struct {
	GTID      GTID  // zero if Anonymous
	Anonymous bool  // gtid_mode was OFF
	Length    int64 // bytes in this log, the GTID event included; 0 if not told
}

// Transaction decodes an event of type GTIDEvent, AnonymousGTID or TaggedGTID.
func (e Event) Transaction() (Transaction, error) {
	d := decoder{b: e.Body}
	var t Transaction
	switch e.Type {
	case GTIDEvent, AnonymousGTID:
		t = plainTransaction(&d)
	case TaggedGTID:
		t = taggedTransaction(&d)
	default:
		return t, fmt.Errorf("read transaction: a %s event begins none", e.Type)
	}
	t.Anonymous = e.Type == AnonymousGTID
	if n := t.GTID.Number; !t.Anonymous && d.err == nil && (n < 1 || n > MaxNumber) {
		d.fail("number", "%d", n)
	}
	if t.Length < 0 || t.Length > 1<<62 {
		d.fail("length", "%d", t.Length)
	}
	if d.err != nil {
		return Transaction{}, fmt.Errorf("read %s event: %w", e.Type, d.err)
	}
	if t.Anonymous {
		t.GTID = GTID{}
	}
	return t, nil
}

// plainTransaction reads flags (1), uuid (16), number (8), 2 (1), last
// committed (8), sequence number (8), time of commit (7) and, if its highest
// bit is set, that on the first server (7), length (packed); more follows
// (Gtid_event::Gtid_event in control_events.cpp).
func plainTransaction(d *decoder) Transaction {
	var t Transaction
	d.take("flags", 1)
	copy(t.GTID.UUID[:], d.take("uuid", 16))
	t.GTID.Number = int64(d.u64("number"))
	if len(d.b)-d.at < 1+16+7 {
		return t // before 8.0.2
	}
	d.take("logical clock", 1+16)
	if d.uint("time", 7)>>55 == 1 {
		d.take("first time", 7)
	}
	if d.at < len(d.b) {
		t.Length = int64(d.lenenc("length"))
	}
	return t
}

// The fields of a tagged GTID event, numbered in the order in which they are
// defined (Gtid_event::define_fields in control_events.h).
const (
	fieldFlags = iota
	fieldUUID
	fieldNumber
	fieldTag
	fieldLastCommitted
	fieldSequence
	fieldTime
	fieldFirstTime
	fieldLength
)

// taggedTransaction reads the serialization library's format (its readme.md):
// version, size, last field that may not be skipped, then fields in ascending
// order, each after its number; fields may be missing.
func taggedTransaction(d *decoder) Transaction {
	var t Transaction
	if v := d.varint("format version"); v != 1 && d.err == nil {
		d.fail("format version", "%d, want 1", v)
	}
	d.varint("size")
	d.varint("last necessary field")
	for d.err == nil && d.at < len(d.b) {
		switch field := d.varint("field"); field {
		case fieldFlags:
			d.varint("flags")
		case fieldUUID:
			for i := range t.GTID.UUID {
				t.GTID.UUID[i] = byte(d.varint("uuid")) // each byte a number
			}
		case fieldNumber:
			t.GTID.Number = d.svarint("number")
		case fieldTag:
			t.GTID.Tag = d.tag()
		case fieldLastCommitted, fieldSequence:
			d.svarint("logical clock")
		case fieldTime, fieldFirstTime:
			d.varint("time")
		case fieldLength:
			t.Length = int64(d.varint("length"))
			return t
		default:
			return t
		}
	}
	return t
}

// Next returns which file follows, of an event of type Rotate.
func (e Event) Next() (string, error) {
	if e.Type != Rotate || len(e.Body) < 8 {
		return "", fmt.Errorf("read rotate event: a %s event of %d bytes", e.Type, len(e.Body))
	}
	return string(e.Body[8:]), nil
}
