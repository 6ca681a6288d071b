package binlog

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"io"
)

var (
	// ErrEncrypted means that the log is encrypted (binlog_encryption=ON),
	// and can be read only with the server's keyring: see Encryption.
	ErrEncrypted = errors.New("binary log is encrypted")
	// ErrPosition means that a position is not the end of an event, or not
	// the end of a transaction.
	ErrPosition = errors.New("no transaction ends there")
)

// magicSize is the length of what a log begins with: 0xfe "bin", or 0xfd "bin"
// for an encrypted one (binlog_ostream.h, rpl_log_encryption.h).
const (
	magicSize      = 4
	plainMagic     = "\xfebin"
	encryptedMagic = "\xfdbin"
)

// maxKept bounds the events whose body is kept. Servers keep to 1 GiB
// (max_allowed_packet); memory is taken as bytes arrive, not as they are
// announced.
const maxKept = 1 << 30

// Reader goes through a binary log from its beginning.
type Reader struct {
	r      io.Reader
	format Format
	at     int64 // position of the next event
	header [headerSize]byte
	body   bytes.Buffer
	sum    hash.Hash32
	buf    []byte
}

// NewReader reads the file's first bytes and its format. The error wraps
// ErrEncrypted for an encrypted log, and io.ErrUnexpectedEOF for one that ends
// too early.
func NewReader(r io.Reader) (*Reader, error) {
	var magic [magicSize]byte
	if _, err := io.ReadFull(r, magic[:]); err != nil {
		return nil, fmt.Errorf("read binary log: %w", noEOF(err))
	}
	switch string(magic[:]) {
	case plainMagic:
	case encryptedMagic:
		return nil, fmt.Errorf("read binary log: %w", ErrEncrypted)
	default:
		return nil, fmt.Errorf("read binary log: it begins with %x, want fe62696e", magic)
	}
	d := &Reader{r: r, at: magicSize, sum: crc32.NewIEEE(), buf: make([]byte, 64<<10)}
	e, err := d.Next()
	if err != nil {
		return nil, fmt.Errorf("read binary log: format description: %w", noEOF(err))
	}
	if e.Type != FormatDescription {
		return nil, fmt.Errorf("read binary log: first event is %s, want %s", e.Type, FormatDescription)
	}
	return d, nil
}

func noEOF(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// Format returns what the format description event said.
func (d *Reader) Format() Format { return d.format }

// Position returns where the next event begins.
func (d *Reader) Position() int64 { return d.at }

// Next returns the next event, its length, position and checksum verified. The
// error is io.EOF itself if there is none, and wraps io.ErrUnexpectedEOF if
// the log ends within an event. Bodies that are not kept are read all the same
// and need no memory.
func (d *Reader) Next() (Event, error) {
	e, err := d.next()
	if err != nil && err != io.EOF {
		err = fmt.Errorf("event at %d: %w", d.at, err)
	}
	if err == nil {
		d.at = e.End
	}
	return e, err
}

func (d *Reader) next() (Event, error) {
	if _, err := io.ReadFull(d.r, d.header[:]); err != nil {
		return Event{}, err
	}
	le, h := binary.LittleEndian, d.header[:]
	e := Event{Time: le.Uint32(h), Type: Type(h[4]), ServerID: le.Uint32(h[5:]), Flags: le.Uint16(h[17:])}
	length := int64(le.Uint32(h[9:]))
	e.Start, e.End = d.at, d.at+length
	if length < headerSize || e.Type.kept() && length > maxKept {
		return e, fmt.Errorf("%s event of %d bytes: no such length", e.Type, length)
	}
	if end := le.Uint32(h[13:]); end != uint32(e.End) {
		return e, fmt.Errorf("%s event says it ends at %d, not at %d", e.Type, end, uint32(e.End))
	}
	if err := d.readBody(&e, length-headerSize); err != nil {
		return e, err
	}
	return e, nil
}

// readBody takes in the body, keeps it if its type is one of those, and
// compares the checksum.
func (d *Reader) readBody(e *Event, n int64) error {
	first := e.Type == FormatDescription
	d.sum.Reset()
	if first { // flagInUse is cleared later, by writing over it
		d.header[17] &^= flagInUse
	}
	d.sum.Write(d.header[:])
	var tail [checksumSize]byte
	sums := first || d.format.Checksums
	if sums {
		if n -= checksumSize; n < 0 {
			return fmt.Errorf("%s event without room for a checksum", e.Type)
		}
	}
	d.body.Reset()
	to := io.Writer(d.sum)
	if e.Type.kept() {
		to = io.MultiWriter(d.sum, &d.body)
	}
	got, err := io.CopyBuffer(to, io.LimitReader(d.r, n), d.buf)
	if err == nil && got < n {
		err = io.ErrUnexpectedEOF
	}
	if err == nil && sums {
		_, err = io.ReadFull(d.r, tail[:])
	}
	if err != nil {
		return fmt.Errorf("%s event: %w", e.Type, noEOF(err))
	}
	if e.Type.kept() {
		e.Body = d.body.Bytes()
	}
	if first {
		if d.format, err = decodeFormat(append(e.Body, tail[:]...), e.Flags); err != nil {
			return err
		}
	}
	if want := binary.LittleEndian.Uint32(tail[:]); d.format.Checksums && d.sum.Sum32() != want {
		return fmt.Errorf("%s event: checksum %08x, want %08x", e.Type, d.sum.Sum32(), want)
	}
	return nil
}
