package page

import (
	"encoding/binary"
	"hash/crc32"
)

// noChecksum is stored in place of a checksum by innodb_checksum_algorithm =
// none (BUF_NO_CHECKSUM_MAGIC in buf0types.h).
const noChecksum = 0xDEADBEEF

// castagnoli is computed by the processor's own instruction where it has one.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// crc is what innodb_checksum_algorithm = crc32 stores in header and trailer
// (buf_calc_page_crc32 in buf/checksum.cc): all but both checksums, the flush
// LSN and the space id.
func crc(page []byte) uint32 {
	return crc32.Checksum(page[offNumber:offFlush], castagnoli) ^
		crc32.Checksum(page[offData:len(page)-TrailerSize], castagnoli)
}

// PutChecksum makes the checksums of a whole page, that is not ROW_FORMAT=COMPRESSED, right.
func PutChecksum(page []byte) {
	binary.BigEndian.PutUint32(page, crc(page))
	binary.BigEndian.PutUint32(page[len(page)-TrailerSize:], crc(page))
}

// crcZip is the same for ROW_FORMAT=COMPRESSED pages, which cover the space id
// but not the LSN and have no trailer (BlockReporter::calc_zip_checksum in
// buf/checksum.cc).
func crcZip(page []byte) uint32 {
	return crc32.Checksum(page[offNumber:offLSN], castagnoli) ^
		crc32.Checksum(page[offType:offFlush], castagnoli) ^
		crc32.Checksum(page[offSpace:], castagnoli)
}

// adlerZip is what innodb_checksum_algorithm = innodb stores in
// ROW_FORMAT=COMPRESSED pages: one Adler-32 over the same three ranges, begun
// at 0 instead of the usual 1.
func adlerZip(page []byte) uint32 {
	sum := adler(0, page[offNumber:offLSN])
	sum = adler(sum, page[offType:offFlush])
	return adler(sum, page[offSpace:])
}

// adler goes on with an Adler-32 (RFC 1950), which hash/adler32 cannot do from
// a given value.
func adler(sum uint32, b []byte) uint32 {
	const (
		mod   = 65521
		delay = 5552 // as many bytes as can be added before 32 bits overflow
	)
	lo, hi := sum&0xffff, sum>>16
	for len(b) > 0 {
		part := b[:min(delay, len(b))]
		b = b[len(part):]
		for _, c := range part {
			lo += uint32(c)
			hi += lo
		}
		lo, hi = lo%mod, hi%mod
	}
	return hi<<16 | lo
}

// fold is the hash that innodb_checksum_algorithm = innodb is made of
// (ut_fold_binary in ut0rnd.h).
func fold(b []byte) uint32 {
	const mask, mask2 = 1463735687, 1653893711
	var h uint32
	for _, c := range b {
		n := uint32(c)
		h = ((h^n^mask2)<<8 + h) ^ mask + n
	}
	return h
}
