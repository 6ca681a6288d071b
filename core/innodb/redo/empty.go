package redo

import "encoding/binary"

// EmptyBlock returns the 512 bytes of the block at LSN at, holding no data yet: what a
// log looks like whose last mini-transaction filled the block before exactly.
// Source: log_data_block_header_serialize.
func EmptyBlock(at LSN) []byte {
	b := make([]byte, BlockSize)
	hdr, epoch := at.blockNumbers()
	binary.BigEndian.PutUint32(b, hdr)
	binary.BigEndian.PutUint16(b[4:], BlockHeader)
	binary.BigEndian.PutUint32(b[8:], epoch)
	PutChecksum(b)
	return b
}
