package redo

import (
	"bytes"
	"encoding/binary"
	"testing"
)

// block makes the block at LSN at with this data.
func block(at LSN, data []byte, first int) []byte {
	b := make([]byte, BlockSize)
	hdr, epoch := at.blockNumbers()
	binary.BigEndian.PutUint32(b, hdr)
	n := BlockHeader + len(data)
	if len(data) == BlockData {
		n = BlockSize
	}
	binary.BigEndian.PutUint16(b[4:], uint16(n))
	binary.BigEndian.PutUint16(b[6:], uint16(first))
	binary.BigEndian.PutUint32(b[8:], epoch)
	copy(b[BlockHeader:], data)
	PutChecksum(b)
	return b
}

func full(x byte) []byte { return bytes.Repeat([]byte{x}, BlockData) }

// set changes one 16-bit field of a block and makes its checksum right again.
func set(b []byte, at int, v uint16) []byte {
	binary.BigEndian.PutUint16(b[at:], v)
	PutChecksum(b)
	return b
}

func unsummed(b []byte) []byte {
	binary.BigEndian.PutUint32(b[508:], noChecksum)
	return b
}

func flipped(b []byte) []byte {
	b[100] ^= 1
	return b
}

func TestParseBlock(t *testing.T) {
	const at = 1649267441152 // the last of an epoch
	tests := []struct {
		name  string
		b     []byte
		sums  Checksums
		want  State
		data  int
		first int
		end   LSN
	}{
		{"full", block(at, full(1), 20), RequireCRC, Good, 496, 20, at + 512 + 12},
		{"incomplete", block(at, []byte("abc"), 12), RequireCRC, Good, 3, 12, at + 15},
		{"no data yet", block(at, nil, 12), RequireCRC, Good, 0, 12, at + 12},
		{"group begins behind the data", block(at, []byte("abc"), 16), RequireCRC, Good, 3, 0, at + 15},
		{"old flush bit", set(block(at, full(1), 0), 0, 0xC000), RequireCRC, Good, 496, 0, at + 512 + 12},
		{"zeros", make([]byte, BlockSize), RequireCRC, NotYetWritten, 0, 0, 0},
		{"the block before", block(at-512, full(1), 20), RequireCRC, NotYetWritten, 0, 0, 0},
		{"an epoch before", block(at-512<<30, full(1), 20), RequireCRC, NotYetWritten, 0, 0, 0},
		{"older life, damaged", flipped(block(at-512, full(1), 20)), RequireCRC, NotYetWritten, 0, 0, 0},
		{"flipped bit", flipped(block(at, full(1), 20)), RequireCRC, Torn, 0, 0, 0},
		{"length in the header", set(block(at, full(1), 0), 4, 11), RequireCRC, Torn, 0, 0, 0},
		{"length in the trailer", set(block(at, full(1), 0), 4, 508), RequireCRC, Torn, 0, 0, 0},
		{"length beyond", set(block(at, full(1), 0), 4, 513), RequireCRC, Torn, 0, 0, 0},
		{"group begins in the header", set(block(at, full(1), 0), 6, 11), RequireCRC, Torn, 0, 0, 0},
		{"group begins in the trailer", set(block(at, full(1), 0), 6, 508), RequireCRC, Torn, 0, 0, 0},
		{"next block, next epoch", block(at+512, full(1), 20), RequireCRC, Ahead, 0, 0, 0},
		{"later life, torn", flipped(block(at+512, full(1), 20)), RequireCRC, Torn, 0, 0, 0},
		{"encrypted", set(block(at, full(1), 20), 4, 0x8000|512), RequireCRC, Encrypted, 0, 0, 0},
		{"without checksum", unsummed(block(at, full(1), 20)), AllowNone, Good, 496, 20, at + 512 + 12},
		{"without checksum, not allowed", unsummed(block(at, full(1), 20)), RequireCRC, Torn, 0, 0, 0},
		{"checksum though not needed", block(at, full(1), 20), AllowNone, Good, 496, 20, at + 512 + 12},
		{"wrong checksum though not needed", flipped(block(at, full(1), 20)), AllowNone, Torn, 0, 0, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b, got := ParseBlock(tt.b, at, tt.sums)
			if got != tt.want {
				t.Fatalf("state %v, want %v", got, tt.want)
			}
			if got == Good && (b.LSN != at || len(b.Data) != tt.data || b.FirstRecGroup != tt.first || b.End() != tt.end) {
				t.Errorf("got %d bytes, group at %d, end %d; want %d, %d, %d", len(b.Data), b.FirstRecGroup, b.End(), tt.data, tt.first, tt.end)
			}
		})
	}
}

func TestCut(t *testing.T) {
	const at = 1 << 20
	for _, tt := range []struct {
		end         LSN
		first, want int
	}{{at + 12, 12, 12}, {at + 100, 100, 100}, {at + 99, 100, 0}, {at + 507, 30, 30}} {
		raw := unsummed(block(at, full(7), tt.first))
		Cut(raw, tt.end)
		b, state := ParseBlock(raw, at, RequireCRC)
		if state != Good || b.End() != tt.end || b.FirstRecGroup != tt.want {
			t.Errorf("cut at %d: %v, end %d, group at %d, want group at %d", tt.end, state, b.End(), b.FirstRecGroup, tt.want)
		}
		if tail := raw[tt.end.Offset() : BlockSize-BlockTrailer]; !bytes.Equal(tail, make([]byte, len(tail))) {
			t.Errorf("cut at %d: the tail is not zero", tt.end)
		}
	}
}

func TestSeal(t *testing.T) {
	b := unsummed(block(1<<20, full(7), 12))
	Seal(b)
	if _, state := ParseBlock(b, 1<<20, RequireCRC); state != Good {
		t.Errorf("sealed block is %v", state)
	}
	torn := flipped(block(1<<20, full(7), 12))
	Seal(torn)
	if _, state := ParseBlock(torn, 1<<20, RequireCRC); state != Torn {
		t.Errorf("a damaged block was sealed: %v", state)
	}
}

func TestEmptyBlock(t *testing.T) {
	const at = 1649267441664 // the first of an epoch
	b, state := ParseBlock(EmptyBlock(at), at, RequireCRC)
	if state != Good || b.End() != at+12 {
		t.Errorf("empty block is %v and ends at %d, want %d", state, b.End(), at+12)
	}
}

func TestParseBlockDoesNotAllocate(t *testing.T) {
	raw := block(1<<20, full(7), 12)
	if n := testing.AllocsPerRun(100, func() { ParseBlock(raw, 1<<20, RequireCRC) }); n != 0 {
		t.Errorf("%v allocations per block, want 0", n)
	}
}
