package xtrabackup

import (
	"encoding/binary"
	"slices"
	"testing"
)

func TestMeta(t *testing.T) {
	for text, want := range map[string]Meta{
		"page_size = 16384\nzip_size = 0\nspace_id = 5\nspace_flags = 16417\n":    {Space: 5, Flags: 16417, PageSize: 16384},
		"page_size = 16384\nzip_size = 8192\nspace_id = 6\nspace_flags = 16425\n": {Space: 6, Flags: 16425, PageSize: 8192},
	} {
		if got, err := ParseMeta([]byte(text)); err != nil || got != want {
			t.Errorf("%q: got %+v, %v, want %+v", text, got, err, want)
		}
	}
	for _, bad := range []string{"", "page_size = 16384\n", "page_size = 1000\nzip_size = 0\nspace_id = 5\nspace_flags = 1\n", "page_size = 16384\nzip_size = 0\nspace_id = -1\nspace_flags = 1\n"} {
		if got, err := ParseMeta([]byte(bad)); err == nil {
			t.Errorf("%q: got %+v, want an error", bad, got)
		}
	}
}

func TestIndex(t *testing.T) {
	index := func(magic uint32, numbers ...uint32) []byte {
		b := binary.BigEndian.AppendUint32(nil, magic)
		for _, n := range numbers {
			b = binary.BigEndian.AppendUint32(b, n)
		}
		for len(b) < 1024 {
			b = append(b, 0xFF)
		}
		return b[:1024]
	}
	var full []uint32
	for n := range uint32(255) {
		full = append(full, 2*n)
	}
	tests := []struct {
		page []byte
		want []uint32
		last bool
		ok   bool
	}{
		{index(deltaLast, 0, 3, 4), []uint32{0, 3, 4}, true, true},
		{index(deltaLast), nil, true, true},
		{index(deltaMagic, full...), full, false, true},
		{index(deltaMagic, 0, 3), nil, false, false},
		{index(deltaLast, 3, 3), nil, true, false},
		{index(0x12345678, 1), nil, false, false},
		{nil, nil, false, false},
	}
	for i, tt := range tests {
		got, last, err := ParseIndex(tt.page)
		if (err == nil) != tt.ok || tt.ok && (last != tt.last || !slices.Equal(got, tt.want)) {
			t.Errorf("index %d: got %v, %v, %v, want %v, %v, %v", i, got, last, err, tt.want, tt.last, tt.ok)
		}
	}
}
