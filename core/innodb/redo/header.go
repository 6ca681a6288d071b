package redo

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
)

// castagnoli is the polynomial of every checksum in the redo log.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Flags are the bits of a file's main header. Those of the newest file hold for the whole server.
type Flags uint32

// Source: log0types.h, Log_file_header flags.
const (
	NoLogging      Flags = 1 << iota // redo logging is disabled
	CrashUnsafe                      // pages were written without redo: the data cannot be recovered from it
	NotInitialized                   // the log was being created
	FileFull                         // a newer file exists or is about to
)

// String names the flags that are set.
func (f Flags) String() string {
	names := ""
	for i, n := range []string{"no_logging", "crash_unsafe", "not_initialized", "file_full"} {
		if f&(1<<i) != 0 {
			names += "," + n
		}
	}
	if rest := f &^ 15; rest != 0 {
		names += fmt.Sprintf(",%#x", uint32(rest))
	}
	if names == "" {
		return "none"
	}
	return names[1:]
}

// creatorSize is the room for the creator, its NUL included.
const creatorSize = 32

// Header is the main header of a redo file.
//
//	| format 4 | uuid 4 | start LSN 8 | creator 32 | flags 4 | zeros | CRC-32C 4 |
//	0          4        8             16           48        52      508
type Header struct {
	Format  uint32
	UUID    uint32 // drawn when the log was created; the same in all files of a server
	Start   LSN    // of the file's first block
	Creator string // "MySQL 9.7.4"
	Flags   Flags
}

// ParseHeader reads the first 512 bytes of a redo file. Its checksum counts also on servers with innodb_log_checksums=OFF.
func ParseHeader(b []byte) (Header, error) {
	if len(b) < BlockSize {
		return Header{}, fmt.Errorf("parse redo header: %d bytes, want %d: %w", len(b), BlockSize, ErrCorrupt)
	}
	b = b[:BlockSize]
	h := Header{
		Format:  binary.BigEndian.Uint32(b),
		UUID:    binary.BigEndian.Uint32(b[4:]),
		Start:   LSN(binary.BigEndian.Uint64(b[8:])),
		Creator: string(cutNUL(b[16 : 16+creatorSize-1])),
		Flags:   Flags(binary.BigEndian.Uint32(b[48:])),
	}
	if got, want := trailer(b), checksum(b); got != want {
		return h, fmt.Errorf("parse redo header: checksum %08x, want %08x: %w", got, want, ErrCorrupt)
	}
	if h.Format != FormatCurrent {
		return h, fmt.Errorf("parse redo header: format %d is not %d (created by %q): %w", h.Format, FormatCurrent, h.Creator, ErrFormat)
	}
	if h.Start%BlockSize != 0 {
		return h, fmt.Errorf("parse redo header: start LSN %d is not a multiple of %d: %w", h.Start, BlockSize, ErrCorrupt)
	}
	return h, nil
}

// Append appends the header's 512 bytes, checksum included. A creator longer than 31 bytes is cut.
func (h Header) Append(b []byte) []byte {
	var block [BlockSize]byte
	binary.BigEndian.PutUint32(block[:], h.Format)
	binary.BigEndian.PutUint32(block[4:], h.UUID)
	binary.BigEndian.PutUint64(block[8:], uint64(h.Start))
	copy(block[16:16+creatorSize-1], h.Creator)
	binary.BigEndian.PutUint32(block[48:], uint32(h.Flags))
	PutChecksum(block[:])
	return append(b, block[:]...)
}

// ParseCheckpoint reads a checkpoint block. ok is false if its checksum is wrong or it holds none (LSN 0): such blocks are normal.
// The newest checkpoint of a server is the largest of all files.
func ParseCheckpoint(b []byte) (at LSN, ok bool) {
	if len(b) < BlockSize {
		return 0, false
	}
	b = b[:BlockSize]
	at = LSN(binary.BigEndian.Uint64(b[8:]))
	if trailer(b) != checksum(b) || !at.Valid() {
		return 0, false
	}
	return at, true
}

// AppendCheckpoint appends the 512 bytes of a checkpoint block; at 0 says that there is none.
func AppendCheckpoint(b []byte, at LSN) []byte {
	var block [BlockSize]byte
	binary.BigEndian.PutUint64(block[8:], uint64(at))
	PutChecksum(block[:])
	return append(b, block[:]...)
}

// PutChecksum writes the CRC-32C of a 512-byte block into its last four bytes.
func PutChecksum(b []byte) {
	binary.BigEndian.PutUint32(b[BlockSize-BlockTrailer:BlockSize], checksum(b))
}

func checksum(b []byte) uint32 { return crc32.Checksum(b[:BlockSize-BlockTrailer], castagnoli) }

func trailer(b []byte) uint32 { return binary.BigEndian.Uint32(b[BlockSize-BlockTrailer : BlockSize]) }

func cutNUL(b []byte) []byte {
	if i := bytes.IndexByte(b, 0); i >= 0 {
		return b[:i]
	}
	return b
}
