package redo_test

import (
	"bytes"
	"compress/gzip"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/remora-backup/remora/core/innodb/redo"
	"github.com/remora-backup/remora/core/mysqld/mysqldtest"
)

var update = flag.Bool("update", false, "capture the logs of real servers again, and write what is expected of them")

// captures are logs in testdata, each one redo file that begins at the checkpoint, made by Layout and Headers. Every created table costs
// some kilobytes that do not compress, so they are of a few statements only; TestLive has them all.
func captures() []capture {
	return []capture{
		{name: "16k", page: 16 << 10, until: "DROP DATABASE", compressed: []string{"4"}},
		{name: "4k-without-checksums", page: 4 << 10, sums: redo.AllowNone, args: []string{"--innodb-log-checksums=OFF"}, until: "INSERT INTO red"},
		{name: "64k", page: 64 << 10, until: "INSERT INTO red"},
	}
}

type capture struct {
	name       string
	page       int
	sums       redo.Checksums
	args       []string
	until      string   // in the last statement of load.sql
	compressed []string // KEY_BLOCK_SIZEs
}

// statements are those the server executes while it is captured.
func (c capture) statements(t *testing.T) []string {
	t.Helper()
	all := statements(t, "load.sql", "$ROWS", "12")
	last := slices.IndexFunc(all, func(sql string) bool { return strings.Contains(sql, c.until) })
	all = slices.DeleteFunc(all[:last+1], func(sql string) bool {
		// An undo tablespace makes 130,000 records, a full-text index a dozen tables, partitions as many as there are.
		return strings.Contains(sql, "UNDO TABLESPACE") || strings.Contains(sql, " ft") || strings.Contains(sql, " part") || strings.Contains(sql, " ex ")
	})
	for _, k := range c.compressed {
		all = append(all, statements(t, "compressed.sql", "$K", k, "$P", "OFF")...)
	}
	return all
}

func (c capture) file() string { return filepath.Join("testdata", c.name+".redo.gz") }

// TestGolden parses logs of real servers and compares every event, and how many records of each type there were.
func TestGolden(t *testing.T) {
	for _, c := range captures() {
		t.Run(c.name, func(t *testing.T) {
			if *update {
				c.take(t)
			}
			l := c.read(t)
			compare(t, filepath.Join("testdata", c.name+".events"), describe(t, l, c))
		})
	}
}

// The log of a real 8.0.30 (built from its source), as kill -9 left it, its three files put together behind the header of the first, which has
// the checkpoint. The server that recovered it said in its log where it began and where the redo ended.
func TestGolden8030(t *testing.T) {
	const checkpoint, end = 12643852, 17659233
	packed, err := os.ReadFile("testdata/8.0.30.redo.zst")
	if err != nil {
		t.Fatal(err)
	}
	z, err := zstd.NewReader(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	raw, err := z.DecodeAll(packed, nil)
	if err != nil {
		t.Fatal(err)
	}
	h, err := redo.ParseFileHeader(raw)
	if err != nil || h.Checkpoint() != checkpoint || h.Creator != "MySQL 8.0.30" {
		t.Fatalf("header: %+v, %v, want checkpoint %d of MySQL 8.0.30", h, err, checkpoint)
	}
	got := describe(t, redoLog{files: []redoFile{{h, raw[redo.HeaderSize:]}}, checkpoint: h.Checkpoint()}, capture{page: 16 << 10})
	if line := fmt.Sprintf("checkpoint %d, parsed to %d\n", checkpoint, end); !strings.Contains(got, line) {
		t.Errorf("the server recovered %q; got\n%s", line, got)
	}
	compare(t, "testdata/8.0.30.events", got)
}

// compare compares with what a file has, or writes it there.
func compare(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs from what the log says:\n%s", file, got)
	}
}

// describe renders all that the parser says about a log.
func describe(t *testing.T, l redoLog, c capture) string {
	t.Helper()
	var out strings.Builder
	counts := map[redo.Type]int{}
	p := redo.NewParser(l.checkpoint, c.page, func(e redo.Event) {
		fmt.Fprintf(&out, "%d-%d %v space=%d", e.Start, e.End, e.Type, e.Space)
		switch e.Type {
		case redo.FileExtend:
			fmt.Fprintf(&out, " offset=%d size=%d", e.Offset, e.Size)
		case redo.IndexLoad:
			fmt.Fprintf(&out, " index=%d root=%d", e.Index, e.Page)
		case redo.WriteString:
			fmt.Fprintf(&out, " offset=%d bytes=%x", e.Offset, e.Bytes)
		case redo.FileCreate:
			fmt.Fprintf(&out, " flags=%#x %s", e.Flags, e.Path)
		default:
			fmt.Fprintf(&out, " %s %s", e.Path, e.To)
		}
		out.WriteByte('\n')
	})
	p.Records(func(r redo.Record) {
		counts[r.Type]++
		if r.Type != redo.MultiRecEnd && r.Type != redo.DummyRecord && len(r.Fields()) < 2 {
			t.Errorf("LSN %d: %v has fields %v", r.LSN, r.Type, r.Fields())
		}
	})
	if state := l.each(l.checkpoint, c.sums, func(b redo.Block) {
		if err := p.Feed(b); err != nil {
			t.Fatal(err)
		}
	}); state != redo.NotYetWritten {
		t.Errorf("the log ends with a block that is %v", state)
	}
	fmt.Fprintf(&out, "checkpoint %d, parsed to %d\n", l.checkpoint, p.ParsedLSN())
	for typ := range redo.Type(128) {
		if counts[typ] > 0 {
			fmt.Fprintf(&out, "%6d %v\n", counts[typ], typ)
		}
	}
	return out.String()
}

// take captures the log of a server while it executes the load.
func (c capture) take(t *testing.T) {
	t.Helper()
	args := append([]string{"--innodb-redo-log-capacity=512M", "--skip-log-bin"}, c.args...)
	s := mysqldtest.Start(t, mysqldtest.PageSize(fmt.Sprint(c.page)), mysqldtest.Args(args...))
	s.Exec("SET GLOBAL innodb_change_buffering = 'all'", "DO innodb_redo_log_sharp_checkpoint()")
	keepLog(t, s)
	l, _ := atRest(t, s)
	s.Exec(c.statements(t)...)
	checkpoint := l.checkpoint
	l, end := atRest(t, s)
	files, err := redo.Layout(checkpoint, end, c.page, 0)
	if err != nil || len(files) != 1 {
		t.Fatal(files, err)
	}
	raw := redo.Headers(files, checkpoint, 1, "MySQL 9.7.4")[0].Append(nil)
	for _, f := range l.files {
		from := max(f.Start, files[0].Start)
		if till := f.Start + redo.LSN(len(f.blocks)); from < till {
			raw = append(raw, f.blocks[from-f.Start:]...)
		}
	}
	raw = raw[:redo.HeaderSize+int(end.BlockStart()-files[0].Start)+redo.BlockSize]
	raw = append(raw, make([]byte, files[0].Size-int64(len(raw)))...)
	var z bytes.Buffer
	w, _ := gzip.NewWriterLevel(&z, gzip.BestCompression)
	if _, err := w.Write(raw); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(c.file(), z.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
}

func (c capture) read(t testing.TB) redoLog {
	t.Helper()
	f, err := os.Open(c.file())
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	h, err := redo.ParseFileHeader(raw)
	if err != nil {
		t.Fatal(err)
	}
	return redoLog{files: []redoFile{{h, raw[redo.HeaderSize:]}}, checkpoint: h.Checkpoint()}
}
