package redo_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/remora-backup/remora/core/innodb/redo"
	"github.com/remora-backup/remora/core/mysqld/mysqldtest"
	"github.com/remora-backup/remora/core/needs"
)

// TestMadeLogRecovers gives a killed server a log made by Layout, Headers and Cut in place of its own: it must recover from it to the exact end.
func TestMadeLogRecovers(t *testing.T) {
	needs.Server(t)
	s := mysqldtest.Start(t, mysqldtest.Args("--innodb-redo-log-capacity=512M", "--skip-log-bin", "--innodb-flush-method=nosync", "--innodb-log-checksums=OFF",
		"--innodb-adaptive-flushing=OFF", "--innodb-max-dirty-pages-pct=99", "--innodb-max-dirty-pages-pct-lwm=99", "--innodb-idle-flush-pct=0")) // no checkpoint of its own
	s.Exec("DO innodb_redo_log_sharp_checkpoint()")
	s.Exec(capture{until: "DROP DATABASE"}.statements(t)...)
	s.Exec("DROP INDEX mv ON js") // CHECKSUM TABLE gives another number each time for a table with a multi-valued index
	want, err := mysqldtest.Checksums(s.DB())
	if err != nil {
		t.Fatal(err)
	}
	l, end := atRest(t, s)
	s.Kill()
	// The newest checkpoint may have been made after the log was read, never before.
	l.checkpoint = readLog(t, filepath.Join(s.Dir, redo.Dir)).checkpoint
	makeLog(t, s.Dir, l, end)
	s.Restart()
	b, err := os.ReadFile(s.Log)
	if err != nil {
		t.Fatal(err)
	}
	if line := fmt.Appendf(nil, "scanned up to log sequence number %d", end); !bytes.Contains(b, line) {
		t.Errorf("the server's log has no line %q", line)
	}
	got, err := mysqldtest.Checksums(s.DB())
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("recovered %v, %v\nwant %v", got, err, want)
	}
}

// makeLog replaces the redo files below dir by small ones made of l, cut at end.
func makeLog(t *testing.T, dir string, l redoLog, end redo.LSN) {
	t.Helper()
	dir = filepath.Join(dir, redo.Dir)
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(dir, 0o750); err != nil {
		t.Fatal(err)
	}
	files, err := redo.Layout(l.checkpoint, end, 16<<10, 128<<10)
	if err != nil || len(files) < 2 {
		t.Fatalf("%d files, %v; want several", len(files), err)
	}
	raw := make([][]byte, len(files))
	for i, h := range redo.Headers(files, l.checkpoint, 4711, "MySQL 9.7.4") {
		raw[i] = h.Append(nil)
	}
	l.eachRaw(l.checkpoint, func(at redo.LSN, block []byte) bool {
		i := 0
		for at >= files[i].End() {
			i++
		}
		block = bytes.Clone(block)
		redo.Seal(block)
		if at == end.BlockStart() {
			redo.Cut(block, end)
		}
		raw[i] = append(raw[i], block...)
		return at < end.BlockStart()
	})
	for i, f := range files {
		b := append(raw[i], make([]byte, f.Size-int64(len(raw[i])))...)
		if err := os.WriteFile(filepath.Join(dir, redo.Name(f.ID)), b, 0o640); err != nil {
			t.Fatal(err)
		}
	}
}
