package redo

import (
	"bytes"
	"encoding/binary"
	"errors"
	"reflect"
	"strings"
	"testing"
)

func sampleHeader() FileHeader {
	return FileHeader{
		Header:      Header{Format: 6, UUID: 0xCAFE, Start: 1 << 20, Creator: "MySQL 9.7.4", Flags: FileFull | NoLogging},
		Checkpoints: [2]LSN{1<<20 + 12, 1<<20 + 500},
		Encryption:  Encryption{Present: true, Magic: [3]byte{'l', 'C', 'C'}, MasterKey: 3, ServerUUID: "0c58ac2d-e538-11f1-8174-02fc00000001", Wrapped: [64]byte{1, 2, 3}, Checksum: 77},
	}
}

func TestFileHeaderRoundTrip(t *testing.T) {
	for _, want := range []FileHeader{sampleHeader(), {Header: Header{Format: 6}}} {
		b := want.Append(nil)
		if len(b) != HeaderSize {
			t.Fatalf("header has %d bytes, want %d", len(b), HeaderSize)
		}
		got, err := ParseFileHeader(b)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("got %+v, %v\nwant %+v", got, err, want)
		}
	}
	if got := sampleHeader().Checkpoint(); got != 1<<20+500 {
		t.Errorf("newest checkpoint %d, want %d", got, 1<<20+500)
	}
}

func TestParseFileHeaderRefuses(t *testing.T) {
	change := func(f func(b []byte)) []byte {
		b := sampleHeader().Append(nil)
		f(b)
		return b
	}
	tests := []struct {
		name string
		b    []byte
		want string
		is   error
	}{
		{"short", make([]byte, 2047), "2047 bytes", ErrCorrupt},
		{"zeros", make([]byte, 2048), "checksum 00000000", ErrCorrupt},
		{"flipped bit", change(func(b []byte) { b[20] ^= 1 }), "checksum", ErrCorrupt},
		{"newer format", change(func(b []byte) { b[3] = 7; PutChecksum(b) }), `format 7 is not 6 (created by "MySQL 9.7.4")`, ErrFormat},
		{"odd start", change(func(b []byte) { b[15] = 1; PutChecksum(b) }), "start LSN 1048577", ErrCorrupt},
	}
	for _, tt := range tests {
		_, err := ParseFileHeader(tt.b)
		if !errors.Is(err, tt.is) || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got error %v, want %q and %v", tt.name, err, tt.want, tt.is)
		}
	}
}

func TestDamagedCheckpointIsIgnored(t *testing.T) {
	b := sampleHeader().Append(nil)
	b[3*BlockSize+9] ^= 1
	f, err := ParseFileHeader(b)
	if err != nil || f.Checkpoint() != 1<<20+12 {
		t.Errorf("got checkpoint %d, %v, want the other one", f.Checkpoint(), err)
	}
	if at, ok := ParseCheckpoint(AppendCheckpoint(nil, 0)); ok {
		t.Errorf("an empty checkpoint block gave %d", at)
	}
	if at, ok := ParseCheckpoint(AppendCheckpoint(nil, 1<<20+3)); ok {
		t.Errorf("a checkpoint in a block's header gave %d", at)
	}
}

func TestCreatorIsCut(t *testing.T) {
	h, err := ParseHeader(Header{Format: 6, Creator: strings.Repeat("x", 40)}.Append(nil))
	if err != nil || h.Creator != strings.Repeat("x", 31) {
		t.Errorf("creator %q, %v", h.Creator, err)
	}
}

func TestFlagsString(t *testing.T) {
	for f, want := range map[Flags]string{0: "none", 3: "no_logging,crash_unsafe", 8: "file_full", 16: "0x10"} {
		if got := f.String(); got != want {
			t.Errorf("flags %d: %q, want %q", f, got, want)
		}
	}
}

func TestNames(t *testing.T) {
	tests := []struct {
		name      string
		id        uint64
		spare, ok bool
	}{
		{"#ib_redo0", 0, false, true},
		{"#ib_redo12", 12, false, true},
		{"#ib_redo12_tmp", 12, true, true},
		{"#ib_redo", 0, false, false},
		{"#ib_redo_tmp", 0, false, false},
		{"#ib_redo1x", 0, false, false},
		{"#ib_redo+1", 0, false, false},
		{"#ib_redo01", 0, false, false},
		{"#ib_redo1_tmp_tmp", 0, false, false},
		{"#ib_redo99999999999999999999", 0, false, false},
		{"ib_logfile0", 0, false, false},
	}
	for _, tt := range tests {
		id, spare, ok := ParseName(tt.name)
		if ok != tt.ok || ok && (id != tt.id || spare != tt.spare) {
			t.Errorf("%s: got %d, %v, %v", tt.name, id, spare, ok)
		}
		if ok && !spare && Name(id) != tt.name {
			t.Errorf("Name(%d) = %s, want %s", id, Name(id), tt.name)
		}
	}
}

func TestLayout(t *testing.T) {
	tests := []struct {
		name       string
		checkpoint LSN
		end        LSN
		page       int
		max        int64
		want       []File
	}{
		{"nothing to hold", 8204, 8204, 16384, 0, []File{{0, 8192, 81920}}},
		{"page of 64K", 8204, 8204, 65536, 0, []File{{0, 8192, 131072}}},
		{"one file", 1<<20 + 100, 2<<20 + 12, 4096, 0, []File{{0, 1 << 20, 1<<20 + 65536 + 4096}}},
		{"three files", 8192 + 512*7 + 12, 8192 + 300000, 16384, 131072 + 1000, []File{{0, 11776, 131072}, {1, 11776 + 129024, 131072}, {2, 11776 + 2*129024, 114688}}},
		{"more than one file of 8.0 takes", 8204, 8204 + 5<<30, 16384, 0, []File{{0, 8192, 4 << 30}, {1, 8192 + 4<<30 - HeaderSize, 1073823744}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := Layout(tt.checkpoint, tt.end, tt.page, tt.max)
			if err != nil || !reflect.DeepEqual(got, tt.want) {
				t.Fatalf("got %v, %v, want %v", got, err, tt.want)
			}
			hs := Headers(got, tt.checkpoint, 7, "MySQL 9.7.4")
			for i, h := range hs {
				last := i == len(hs)-1
				if (h.Flags == 0) != last || (h.Checkpoint() == tt.checkpoint) != (i == 0) || h.Start != got[i].Start || h.UUID != 7 {
					t.Errorf("header %d: %+v", i, h)
				}
			}
		})
	}
	for _, bad := range []struct {
		from, end LSN
		page      int
		max       int64
	}{{8192, 8204, 16384, 0}, {8204, 8203, 16384, 0}, {8204, 8204, 5000, 0}, {8204, 8204, 16384, 1000}, {8204, 8204, 16384, 5 << 30}} {
		if got, err := Layout(bad.from, bad.end, bad.page, bad.max); err == nil {
			t.Errorf("%v: got %v, want an error", bad, got)
		}
	}
}

func FuzzFileHeader(f *testing.F) {
	f.Add(sampleHeader().Append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) < HeaderSize {
			return
		}
		b = bytes.Clone(b)
		binary.BigEndian.PutUint32(b, FormatCurrent)
		PutChecksum(b)
		h, err := ParseFileHeader(b)
		if err != nil {
			return
		}
		again, err := ParseFileHeader(h.Append(nil))
		if err != nil || !reflect.DeepEqual(again, h) {
			t.Errorf("parse, append, parse: got %+v, %v\nwant %+v", again, err, h)
		}
	})
}
