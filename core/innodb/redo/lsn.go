// Package redo reads and writes the InnoDB redo log of format 6 (MySQL 8.0.30 to 9.7).
//
// It is pure: bytes in, values out. A redo file is a 2048-byte [FileHeader] followed by 512-byte [Block]s up to its end:
//
//	file  | main header | checkpoint 1 | encryption | checkpoint 2 | block | block | ...
//	      0             512            1024         1536           2048
//
//	block | number 4 | data_len 2 | first_rec_group 2 | epoch 4 | 496 bytes of data | CRC-32C 4 |
//	      0                                                     12                  508         512
//
// The data of consecutive blocks is one stream of mini-transactions (mtr), each a group of records. [Parser] walks that stream and tells what
// happened to files. All integers are big endian.
//
// Source of the format: MySQL storage/innobase, log0types.h, log0constants.h, log0files_io.cc, log0recv.cc, mtr0types.h.
package redo

import "errors"

// ErrCorrupt marks every error of this package that says: these bytes cannot be redo of format 6, or are damaged.
var ErrCorrupt = errors.New("corrupt redo log")

// ErrFormat marks a redo log of a format that is not read here: the server is older than 8.0.30, or too new.
var ErrFormat = errors.New("redo log format not supported")

// These numbers are part of the format.
const (
	BlockSize    = 512 // bytes of a block on disk
	BlockHeader  = 12  // bytes before a block's data
	BlockTrailer = 4   // bytes after a block's data: the checksum
	BlockData    = BlockSize - BlockHeader - BlockTrailer

	HeaderSize    = 4 * BlockSize // bytes of a redo file before its first block
	FormatCurrent = 6             // the only format read here: 8.0.30 to 9.7

	blocksPerEpoch = 1 << 30
)

// LSN is a position in the redo log, in bytes since its beginning. It counts the headers and trailers of blocks, not the headers of files.
type LSN uint64

// BlockStart returns the LSN at which l's block begins.
func (l LSN) BlockStart() LSN { return l &^ (BlockSize - 1) }

// Offset returns l's place in its block, 0 to 511.
func (l LSN) Offset() int { return int(l % BlockSize) }

// Valid reports whether l points at data, as the ends of mini-transactions and checkpoints do: never into the header or trailer of a block.
func (l LSN) Valid() bool {
	o := l.Offset()
	return o >= BlockHeader && o < BlockSize-BlockTrailer
}

// Advance returns the LSN that lies n bytes of data after l, which must be Valid. Data that fills its block ends at the next block's data.
func (l LSN) Advance(n uint64) LSN {
	d := uint64(l.Offset()-BlockHeader) + n
	return l.BlockStart() + LSN(d/BlockData*BlockSize+d%BlockData+BlockHeader)
}

// blockNumbers returns what the header of the block at l holds: hdr_no and epoch_no.
// Source: log_block_convert_lsn_to_hdr_no, log_block_convert_lsn_to_epoch_no.
func (l LSN) blockNumbers() (hdr, epoch uint32) {
	n := uint64(l / BlockSize)
	return uint32(1 + n%blocksPerEpoch), uint32(1 + n/blocksPerEpoch)
}
