package redo

import (
	"bytes"
	"encoding/hex"
	"errors"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// unhex reads bytes written as hex with spaces, and quoted text.
func unhex(t testing.TB, s string) []byte {
	t.Helper()
	var b []byte
	for i, part := range strings.Split(s, "'") {
		if i%2 == 1 {
			b = append(b, part...)
			continue
		}
		x, err := hex.DecodeString(strings.ReplaceAll(part, " ", ""))
		if err != nil {
			t.Fatalf("%q: %v", part, err)
		}
		b = append(b, x...)
	}
	return b
}

// Indexes as records describe them.
const (
	redundant = "01 00 "
	compact   = "01 01 0002 0001 8004 0000 "                                  // two fields
	versioned = "01 03 0002 0001 8004 0000 0002 0001 8003 05 0002 C004 0102 " // one column added, one added and dropped
	instant   = "01 05 0001 0001 0001 7FFF "
	redVers   = "01 02 0003 0001 0001 4002 07 "
	sys       = "02 00000000000001 05 00000009 " // position, roll pointer, transaction
)

// TestRecords has one record at least of each type. Each is parsed whole, and none is complete when a byte is missing.
func TestRecords(t *testing.T) {
	records := map[Type][]string{
		Byte1:                 {"0102 8080", "0102 05"},
		Bytes2:                {"0102 C0FFFF"},
		Bytes4:                {"0102 F0FFFFFFFE", "0102 FBFF", "0102 FCFFFF", "0102 FEFFFFFF", "0102 E1000000"},
		Bytes8:                {"0102 05 00000001", "0102 F0FFFFFFFF 00000001"},
		RecSecDeleteMark:      {"01 0100"},
		PageCreate:            {""},
		UndoInsert:            {"0003 'abc'", "0000"},
		UndoEraseEnd:          {""},
		UndoInit:              {"01"},
		UndoHdrReuse:          {"00 00000001"},
		UndoHdrCreate:         {"81FF 00000001"},
		RecMinMark:            {"0063"},
		IbufBitmapInit:        {""},
		InitFilePage:          {""},
		WriteString:           {"3FFD 0003 'abc'"},
		CompRecMinMark:        {"0063"},
		CompPageCreate:        {""},
		ZipWriteNodePtr:       {"0001 0002 'four'"},
		ZipWriteBlobPtr:       {"0001 0002 'four567890four567890'"},
		ZipWriteHeader:        {"5B 02 'ab'"},
		ZipPageCompress:       {"0003 0002 '8 bytes.' 'abc' 'de'"},
		PageCreateRTree:       {""},
		CompPageCreateRTree:   {""},
		InitFilePage2:         {""},
		IndexLoad:             {"00000000000000AB"},
		PageCreateSDI:         {""},
		CompPageCreateSDI:     {""},
		RecInsert:             {compact + "0063 07 20 05 81FF 'abc'", redundant + "0063 06 'abc'", versioned + "0063 00", instant + "0063 00", redVers + "0063 00"},
		RecClustDeleteMark:    {compact + "00 01 " + sys + "0063"},
		RecDelete:             {redundant + "0063"},
		RecUpdateInPlace:      {compact + "00 " + sys + "0063 00 03 01 02 'ab' 05 FBFF 87FF 00"},
		ListEndCopyCreated:    {compact + "00000003 'abc'"},
		PageReorganize:        {compact},
		ZipPageReorganize:     {compact + "09"},
		ZipPageCompressNoData: {compact + "06"},
		ListEndDelete:         {compact + "0063"},
		ListStartDelete:       {versioned + "0063"},
	}
	for typ, bodies := range records {
		for _, body := range bodies {
			wholeRecord(t, typ, append([]byte{byte(typ), 0x05, 0x81, 0x23}, unhex(t, body)...))
		}
	}
	path := "0008 './a.ibd' 00"
	for typ, body := range map[Type]string{
		FileCreate: "00000021" + path, FileRename: path + path, FileDelete: path, FileExtend: "0000000000010000 0000000000000001",
	} {
		wholeRecord(t, typ, append([]byte{byte(typ), 0x05, 0x00}, unhex(t, body)...))
	}
	for _, body := range []string{"05 06 02 07", "FF 81FF 07 00 02 FF 05 06", "05 06 01 01 00000001 0000000000000002"} {
		wholeRecord(t, TableDynamicMeta, append([]byte{byte(TableDynamicMeta)}, unhex(t, body)...))
	}
}

func wholeRecord(t *testing.T, typ Type, rec []byte) {
	t.Helper()
	for n := 1; n <= len(rec)+20; n++ { // with less than the record, and with bytes that follow
		b := append(bytes.Clone(rec), bytes.Repeat([]byte{0xFF}, 20)...)[:n]
		c := cursor{b: b, i: 1, limit: len(b), page: 16 << 10}
		c.record(typ)
		if n < len(rec) && (c.i <= n || c.i > len(rec)) {
			t.Errorf("%v % x: with %d bytes the record ends at %d, want at %d or a little less", typ, rec, n, c.i, len(rec))
		}
		if n >= len(rec) && c.i != len(rec) {
			t.Errorf("%v % x: ends at %d, want %d", typ, rec, c.i, len(rec))
		}
		if c.bad != "" {
			t.Errorf("%v % x: with %d bytes: %s", typ, rec, n, c.bad)
		}
	}
	fields := Record{Type: typ, Bytes: rec, pageSize: 16 << 10}.Fields()
	if len(fields) < 2 {
		t.Errorf("%v: fields %v", typ, fields)
	}
}

func TestImpossibleRecords(t *testing.T) {
	tests := []struct{ name, record, want string }{
		{"no type", "00 05 06", "no such record type"},
		{"type beyond the last", "4D 05 06 0000", "no such record type"},
		{"type of an older server", "09 05 06 0000", "since 8.0.28"},
		{"test", "42 05 06", "test build"},
		{"space", "01 FF", "begins with 0xff"},
		{"offset", "01 05 06 4000 01", "offset beyond the page"},
		{"one byte", "01 05 06 0000 8100", "value too large"},
		{"two bytes", "02 05 06 0000 C10000", "value too large"},
		{"string", "1E 05 06 3FFE 0003", "longer than its page"},
		{"file on a page", "23 05 06 0008", "page number"},
		{"short path", "23 05 00 0003", "path too short"},
		{"open path", "23 05 00 0005 './abc'", "path without its end"},
		{"extension", "41 05 00 0000000000000000 0000000000000000", "extension by nothing"},
		{"page header", "32 05 06 5B 03", "beyond the page header"},
		{"zip page", "33 05 06 3000 1001", "longer than a page"},
		{"index version", "48 05 06 00", "unknown version"},
		{"index flags", "48 05 06 01 08", "unknown flags"},
		{"fields", "48 05 06 01 01 1001", "too many fields"},
		{"versions", "48 05 06 01 02 0001 1001", "too many versions"},
		{"level", "49 05 06 01 00 0A", "compression level"},
		{"insert", "43 05 06 01 00 0063 E0008000", "longer than its page"},
		{"update of fields", "46 05 06 01 00 00" + sys + "0063 00 9001", "too many fields"},
		{"update with a field", "46 05 06 01 00 00" + sys + "0063 00 01 00 C04001", "field longer"},
		{"records", "47 05 06 01 00 00020001", "more records than fit"},
		{"end alone", "9F", "single record inside a group"},
		{"dummy alone", "A0", "single record inside a group"},
		{"metadata", "3E 05 06 03", "unknown kind"},
		{"indexes", "3E 05 06 01 41", "corrupted indexes"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := NewParser(8204, 16<<10, func(Event) {})
			err := p.Feed(Block{LSN: 8192, Data: unhex(t, tt.record), FirstRecGroup: 12})
			var re *RecordError
			if !errors.As(err, &re) || !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), tt.want) || re.LSN != 8204 {
				t.Errorf("got error %v, want %q at LSN 8204", err, tt.want)
			}
			if again := p.Feed(Block{LSN: 8192, Data: unhex(t, tt.record), FirstRecGroup: 12}); again != err {
				t.Errorf("after an error: %v, want it again", again)
			}
		})
	}
}

func TestSingleRecordInsideGroup(t *testing.T) {
	p := NewParser(8204, 16<<10, func(Event) {})
	err := p.Feed(Block{LSN: 8192, Data: unhex(t, "01 05 06 0000 01"+small), FirstRecGroup: 12})
	var re *RecordError
	if !errors.As(err, &re) || re.LSN != 8210 || re.Group != 8204 || re.Type != Byte1 {
		t.Errorf("got %v, want an error at LSN 8210 in the group from 8204", err)
	}
}

func TestCompressedNumbers(t *testing.T) {
	for in, want := range map[string]uint32{
		"00": 0, "7F": 0x7F, "8080": 0x80, "BFFF": 0x3FFF, "C04000": 0x4000, "DFFFFF": 0x1FFFFF, "E0200000": 0x200000, "EFFFFFFF": 0xFFFFFFF,
		"F010000000": 0x10000000, "F7FEFFFFFF": 0xFEFFFFFF, "F800": 0xFFFFFC00, "FBFF": 0xFFFFFFFF, "FC0000": 0xFFFE0000, "FDFBFF": 0xFFFFFBFF,
		"FE000000": 0xFF000000, "FEFDFFFF": 0xFFFDFFFF,
	} {
		b := unhex(t, in)
		for _, limit := range []int{0, len(b) + 9} { // the careful path, the fast one
			c := cursor{b: append(b[:len(b):len(b)], make([]byte, 9)...), limit: limit}
			if got := c.c32("x"); got != want || c.i != len(b) || c.bad != "" {
				t.Errorf("%s: got %#x of %d bytes (%s), want %#x of %d", in, got, c.i, c.bad, want, len(b))
			}
			c.b, c.i = append(b[:len(b):len(b)], 0, 0, 0, 9, 0, 0, 0, 0, 0), 0
			if got := c.c64("x"); got != uint64(want)<<32+9 || c.i != len(b)+4 {
				t.Errorf("%s with a low word: got %#x of %d bytes", in, got, c.i)
			}
		}
	}
}

// Records for streams. Each is a mini-transaction of its own.
const (
	deleteFile = "A3 05 00 0008 './a.ibd' 00"
	extend     = "C1 85FF 00 0000000000010000 0000000000004000"
	small      = "81 05 06 0000 01"
	group      = "01 05 06 0000 01  21 07 00 00000021 0008 './b.ibd' 00  20 1F"
	dummies    = "20 20 1F"
	keyOnPage0 = "9E 05 00 2000 0003 'key'"
	notPage0   = "9E 05 01 2000 0003 'key'"
	load       = "BD 05 04 00000000000000AB"
)

// filler is a mini-transaction of n bytes, 7 at least.
func filler(n int) []byte {
	b := []byte{byte(UndoInsert) | singleRecord, 5, 6, byte((n - 5) >> 8), byte(n - 5)}
	return append(b, make([]byte, n-5)...)
}

// blocks lays mini-transactions out from LSN start on, its block included.
func blocks(start LSN, groups ...[]byte) []Block {
	bs := []Block{{LSN: start.BlockStart(), Data: make([]byte, start.Offset()-BlockHeader), FirstRecGroup: start.Offset()}}
	for _, g := range groups {
		for {
			b := &bs[len(bs)-1]
			n := min(len(g), BlockData-len(b.Data))
			b.Data, g = append(b.Data, g[:n]...), g[n:]
			if b.Full() {
				bs = append(bs, Block{LSN: b.LSN + BlockSize})
			}
			if len(g) == 0 {
				break
			}
		}
		if b := &bs[len(bs)-1]; b.FirstRecGroup == 0 {
			b.FirstRecGroup = BlockHeader + len(b.Data)
		}
	}
	return bs
}

func feedAll(t testing.TB, p *Parser, bs []Block) {
	t.Helper()
	for _, b := range bs {
		if err := p.Feed(b); err != nil {
			t.Fatal(err)
		}
	}
}

func TestEvents(t *testing.T) {
	stream := [][]byte{unhex(t, small), unhex(t, deleteFile), filler(1200), unhex(t, extend), unhex(t, group), unhex(t, dummies), unhex(t, keyOnPage0), unhex(t, notPage0), unhex(t, load)}
	at := []LSN{8204}
	for _, g := range stream {
		at = append(at, at[len(at)-1].Advance(uint64(len(g))))
	}
	want := []Event{
		{Type: FileDelete, Space: 5, Start: at[1], End: at[2], Path: "./a.ibd"},
		{Type: FileExtend, Space: 0x5FF, Start: at[3], End: at[4], Offset: 65536, Size: 16384},
		{Type: FileCreate, Space: 7, Start: at[4], End: at[5], Flags: 0x21, Path: "./b.ibd"},
		{Type: WriteString, Space: 5, Start: at[6], End: at[7], Offset: 0x2000, Bytes: []byte("key")},
		{Type: IndexLoad, Space: 5, Start: at[8], End: at[9], Index: 0xAB, Page: 4},
	}
	bs := blocks(8204, stream...)
	for _, from := range []LSN{8204, at[1], at[1] + 1, at[2] + 5, at[4]} {
		var got []Event
		p := NewParser(from, 16<<10, func(e Event) { got = append(got, e) })
		feedAll(t, p, bs[(from-8192)/BlockSize:])
		later := want
		for len(later) > 0 && later[0].Start < from {
			later = later[1:]
		}
		if !reflect.DeepEqual(got, later) {
			t.Errorf("from checkpoint %d: got %+v\nwant %+v", from, got, later)
		}
		if p.ParsedLSN() != at[len(at)-1] {
			t.Errorf("parsed to %d, want %d", p.ParsedLSN(), at[len(at)-1])
		}
	}
}

// A mini-transaction that fills its block ends in the next one: recovery ignores it as long as that is not there.
func TestGroupAtTheEndOfABlock(t *testing.T) {
	n := 0
	p := NewParser(8204, 16<<10, func(Event) { n++ })
	del := unhex(t, deleteFile)
	bs := blocks(8204, filler(BlockData-len(del)), del)
	feedAll(t, p, bs[:1])
	if want := LSN(8204 + BlockData - len(del)); n != 0 || p.ParsedLSN() != want {
		t.Errorf("without the next block: %d events, parsed to %d, want none and %d", n, p.ParsedLSN(), want)
	}
	if len(bs[1].Data) != 0 {
		t.Fatalf("the next block has %d bytes", len(bs[1].Data))
	}
	feedAll(t, p, bs[1:])
	if n != 1 || p.ParsedLSN() != 8192+512+12 {
		t.Errorf("with the next block: %d events, parsed to %d", n, p.ParsedLSN())
	}
}

func TestNothingBeforeTheFirstGroup(t *testing.T) {
	p := NewParser(8204, 16<<10, func(Event) { t.Error("unexpected event") })
	feedAll(t, p, []Block{{LSN: 8192, Data: full(0xFF)}, {LSN: 8704, Data: []byte{0xFF}}})
	if p.ParsedLSN() != 0 {
		t.Errorf("parsed to %d though no mini-transaction began", p.ParsedLSN())
	}
	feedAll(t, p, []Block{{LSN: 8704, Data: append([]byte{0xFF, 0xFF}, unhex(t, small)...), FirstRecGroup: 14}})
	if want := LSN(8704 + 12 + 2 + 6); p.ParsedLSN() != want {
		t.Errorf("parsed to %d, want %d", p.ParsedLSN(), want)
	}
}

func TestGroupError(t *testing.T) {
	for _, tt := range []struct {
		name  string
		spoil func(bs []Block)
		block int // that is wrong
		seen  int // when this one is fed
	}{
		{"said, none there", func(bs []Block) { bs[1].FirstRecGroup = 100 }, 1, 2},
		{"there, not said", func(bs []Block) { bs[2].FirstRecGroup = 0 }, 2, 2},
		{"elsewhere", func(bs []Block) { bs[2].FirstRecGroup++ }, 2, 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			bs := blocks(8204, filler(1200), filler(100), filler(2000))
			tt.spoil(bs)
			p := NewParser(8204, 16<<10, func(Event) {})
			feedAll(t, p, bs[:tt.seen])
			err := p.Feed(bs[tt.seen])
			var ge *GroupError
			if !errors.As(err, &ge) || !errors.Is(err, ErrCorrupt) || ge.LSN != LSN(8192+512*tt.block) {
				t.Errorf("got %v, want a GroupError of block %d", err, tt.block)
			}
		})
	}
}

func TestFeedInOrder(t *testing.T) {
	for name, bs := range map[string][]Block{
		"before the checkpoint": {{LSN: 8192 - 512}},
		"gap":                   {{LSN: 8192, Data: full(0)}, {LSN: 8192 + 1024}},
		"incomplete before":     {{LSN: 8192, Data: []byte{0}}, {LSN: 8192 + 512}},
		"shorter again":         {{LSN: 8192, Data: []byte{0, 0}}, {LSN: 8192, Data: []byte{0}}},
	} {
		p := NewParser(8204, 16<<10, func(Event) {})
		var err error
		for _, b := range bs {
			err = p.Feed(b)
		}
		if err == nil || errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: got %v, want an error that blames the caller", name, err)
		}
	}
}

// The memory of a parser does not grow with a mini-transaction, and the work not with its square.
func TestLongMiniTransaction(t *testing.T) {
	var long []byte
	rec := unhex(t, small)
	rec[0] &^= singleRecord
	for range 1 << 20 / len(rec) {
		long = append(long, rec...)
	}
	bs := blocks(8204, append(long, byte(MultiRecEnd)))
	p := NewParser(8204, 16<<10, func(Event) {})
	n := 0
	p.Records(func(Record) { n++ })
	feedAll(t, p, bs)
	if want := len(long)/len(rec) + 1; n != want {
		t.Errorf("%d records parsed, want each of %d once", n, want)
	}
	if cap(p.buf) > 64<<10 || cap(p.groups.blocks) > 16 {
		t.Errorf("buffer of %d bytes and %d blocks for a mini-transaction of 1 MiB", cap(p.buf), cap(p.groups.blocks))
	}
}

func TestFeedDoesNotAllocate(t *testing.T) {
	bs := blocks(8204, slices.Repeat([][]byte{unhex(t, small)}, 60000)...)
	p := NewParser(8204, 16<<10, func(Event) {})
	feedAll(t, p, bs[:10])
	i := 10
	if n := testing.AllocsPerRun(500, func() { feedAll(t, p, bs[i:i+1]); i++ }); n != 0 {
		t.Errorf("%v allocations per block, want 0", n)
	}
}

// walk is the parser without blocks: all of the stream is there. It returns where mini-transactions begin and the events.
func walk(stream []byte, page int) (begins []int, events []Event) {
	var pending []Event
	inGroup := false
	c := cursor{b: stream, page: page}
	begins = []int{0}
	for start := 0; c.i < len(stream); {
		begin := c.i
		single, typ := stream[c.i]&0x80 != 0, Type(stream[c.i]&0x7F)
		c.i++
		if typ == MultiRecEnd || typ == DummyRecord {
			if single {
				break
			}
		} else {
			c.record(typ)
		}
		if c.i > len(stream) || c.bad != "" || single && inGroup {
			break
		}
		if wanted(typ, c.pageNo) {
			e := newEvent(typ, stream[begin:c.i])
			e.Start = LSN(8204).Advance(uint64(start))
			pending = append(pending, e)
		}
		inGroup = !single && typ != MultiRecEnd
		if !inGroup {
			start = c.i
			begins = append(begins, c.i)
			for _, e := range pending {
				e.End = LSN(8204).Advance(uint64(c.i))
				events = append(events, e)
			}
			pending = nil
		}
	}
	return begins, events
}

// FuzzParser states: however the blocks grow between two looks, the same is reported as when all is there at once, and nothing grows without bound.
func FuzzParser(f *testing.F) {
	var some []byte
	for _, s := range []string{small, deleteFile, extend, group, dummies, keyOnPage0, load} {
		some = append(some, unhex(f, s)...)
		some = append(some, filler(300)...)
	}
	f.Add(some, uint64(1))
	f.Add(append(filler(4000), some...), uint64(2))
	f.Add(append(filler(BlockData), some...), uint64(3))
	f.Fuzz(func(t *testing.T, stream []byte, seed uint64) {
		begins, want := walk(stream, 16<<10)
		bs := blocks(8204, stream)
		for i := range bs {
			bs[i].FirstRecGroup = 0
		}
		for i := len(begins) - 1; i >= 0; i-- {
			bs[begins[i]/BlockData].FirstRecGroup = begins[i]%BlockData + BlockHeader
		}
		var got []Event
		p := NewParser(8204, 16<<10, func(e Event) { got = append(got, e) })
		err := grow(p, bs, rand.New(rand.NewPCG(seed, 0)))
		if !reflect.DeepEqual(got, want) {
			t.Errorf("got %+v (%v)\nwant %+v", got, err, want)
		}
		if last, at := LSN(8204).Advance(uint64(begins[len(begins)-1])), p.ParsedLSN(); at != last {
			t.Errorf("parsed to %d (%v), want %d", at, err, last)
		}
		if cap(p.buf) > 128<<10+4*len(stream) {
			t.Errorf("buffer of %d bytes for %d", cap(p.buf), len(stream))
		}
	})
}

// grow feeds each block several times, with more data each time.
func grow(p *Parser, bs []Block, r *rand.Rand) error {
	for _, b := range bs {
		for n := 0; ; {
			n = min(n+r.IntN(300), len(b.Data))
			part := Block{LSN: b.LSN, Data: b.Data[:n]}
			if b.FirstRecGroup <= n+BlockHeader {
				part.FirstRecGroup = b.FirstRecGroup
			}
			if err := p.Feed(part); err != nil {
				return err
			}
			if n == len(b.Data) {
				break
			}
		}
	}
	return nil
}
