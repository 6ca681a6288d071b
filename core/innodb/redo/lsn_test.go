package redo

import (
	"encoding/binary"
	"testing"
)

func TestLSNArithmetic(t *testing.T) {
	tests := []struct {
		name string
		from LSN
		n    uint64
		want LSN
	}{
		{"nothing", 8204, 0, 8204},
		{"inside a block", 8204, 495, 8204 + 495},
		{"a full block ends in the next", 8204, 496, 8192 + 512 + 12},
		{"one more", 8204, 497, 8192 + 512 + 13},
		{"many blocks", 8204, 496 * 1000, 8192 + 512*1000 + 12},
		{"from the middle", 8192 + 507, 1, 8192 + 512 + 12},
		{"beyond 32 bits", 1<<40 + 12, 496 << 24, 1<<40 + 512<<24 + 12},
	}
	for _, tt := range tests {
		got := tt.from.Advance(tt.n)
		if got != tt.want || !got.Valid() {
			t.Errorf("%s: %d.Advance(%d) = %d, want %d", tt.name, tt.from, tt.n, got, tt.want)
		}
	}
}

func TestLSNValid(t *testing.T) {
	for offset := range LSN(BlockSize) {
		want := offset >= 12 && offset <= 507
		if got := (8192 + offset).Valid(); got != want {
			t.Errorf("offset %d: valid %v, want %v", offset, got, want)
		}
	}
}

// The numbers were read from the files of a server whose log had been moved to the end of an epoch.
func TestBlockNumbers(t *testing.T) {
	tests := []struct {
		at         LSN
		hdr, epoch uint32
	}{
		{8192, 17, 1},
		{1649267441152, 1 << 30, 3},
		{1649267441664, 1, 4},
	}
	for _, tt := range tests {
		hdr, epoch := tt.at.blockNumbers()
		if hdr != tt.hdr || epoch != tt.epoch {
			t.Errorf("LSN %d: number %d epoch %d, want %d and %d", tt.at, hdr, epoch, tt.hdr, tt.epoch)
		}
		var b [BlockSize]byte
		binary.BigEndian.PutUint32(b[0:], hdr)
		binary.BigEndian.PutUint32(b[8:], epoch)
		if at, ok := BlockLSN(b[:]); !ok || at != tt.at {
			t.Errorf("BlockLSN of number %d epoch %d = %d, %v, want %d", hdr, epoch, at, ok, tt.at)
		}
	}
	if at, ok := BlockLSN(make([]byte, BlockSize)); ok {
		t.Errorf("BlockLSN of zeros = %d, want none", at)
	}
}
