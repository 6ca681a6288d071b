package prepare_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/remora-backup/remora/core/code"
	"github.com/remora-backup/remora/core/innodb/redo"
	"github.com/remora-backup/remora/core/needs"
	"github.com/remora-backup/remora/core/prepare"
	"github.com/remora-backup/remora/core/run"
	"github.com/remora-backup/remora/core/staging"
	"github.com/remora-backup/remora/core/syncpoint"
	"github.com/remora-backup/remora/core/xtrabackup"
)

// TestPrepare takes one backup under load, lays it out in all ways that a raw directory
// can have, and prepares each.
func TestPrepare(t *testing.T) {
	needs.Server(t)
	s := newSource(t)
	t.Run("export", s.testExport)
	t.Run("xtrabackup", s.testXtraBackup)
	t.Run("reduced", s.testReduced)
	t.Run("lost", s.testLost)
	t.Run("interrupted", s.testInterrupted)
	t.Run("refusals", s.testRefusals)
}

func (s *source) testExport(t *testing.T) {
	d := s.copy(t)
	events, err := d.prepare(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	checkEvents(t, events, s.export.Manifest.LSN.End)
	d.checkPrepared()
	s.same(t, d)
}

func (s *source) testXtraBackup(t *testing.T) {
	d := s.xtrabackup(t, "ON")
	events, err := d.prepare(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	checkEvents(t, events, s.export.Manifest.LSN.End)
	d.checkPrepared()
	if points, err := xtrabackup.ParseCheckpoints(d.read(xtrabackup.CheckpointsName)); err != nil || points.Type != xtrabackup.FullPrepared || points.Last != s.export.Manifest.LSN.End {
		t.Errorf("%s after prepare: got %+v, %v", xtrabackup.CheckpointsName, points, err)
	}
	if h, err := redo.ParseFileHeader(d.read(xtrabackup.LogName)); err != nil || h.Creator != xtrabackup.BlankCreator {
		t.Errorf("%s after prepare: creator %q, %v, want blanks", xtrabackup.LogName, h.Creator, err)
	}
	d.remove(prepare.JournalName) // XtraBackup knows nothing of it
	d.checkPrepared()
	s.same(t, d)
}

// checkEvents holds the events against what hooks and history expect.
func checkEvents(t *testing.T, events []run.Event, end uint64) {
	t.Helper()
	var phases []string
	var percent []int
	for _, e := range events {
		switch {
		case e.Operation != "prepare":
			t.Errorf("event of operation %q", e.Operation)
		case e.Kind == run.KindPhase:
			phases = append(phases, e.Phase)
		case e.Kind == run.KindProgress && e.Phase == prepare.PhasePrepare && e.Percent != nil:
			percent = append(percent, *e.Percent)
		case e.Kind == run.KindWarning:
			t.Errorf("warning: %s", e.Message)
		}
	}
	want := []string{prepare.PhaseRead, prepare.PhaseApply, prepare.PhasePrepare, prepare.PhaseFinish, run.PhaseCompleted}
	if !slices.Equal(phases, want) {
		t.Errorf("phases: got %v, want %v", phases, want)
	}
	if len(percent) == 0 || percent[len(percent)-1] != 100 {
		t.Errorf("percents of %s: got %v, want them to end at 100", prepare.PhasePrepare, percent)
	}
	last := events[len(events)-1]
	if res, ok := last.Result.(prepare.Result); !ok || res.LSN != end || last.State != run.Complete {
		t.Errorf("end: got %+v, %v, want LSN %d", last.Result, last.State, end)
	}
}

// checkPrepared makes sure that a second run does nothing.
func (d dir) checkPrepared() {
	d.t.Helper()
	before := d.tree()
	events, err := d.prepare(d.t.Context())
	if err != nil {
		d.t.Fatalf("prepare again: %v", err)
	}
	if res, ok := events[len(events)-1].Result.(prepare.Result); !ok || !res.Already {
		d.t.Errorf("prepare again: got %+v, want it to be prepared already", res)
	}
	if !maps.Equal(d.tree(), before) {
		d.t.Error("preparing again changed the directory")
	}
}

// reduced rearranges a right directory so that its markers lead back to it.
func (s *source) reduced(t *testing.T) dir {
	d := s.xtrabackup(t, "REDUCED")
	id := map[string]uint32{}
	for _, name := range []string{"d/x", "d/y", "d/z", "d/fresh", "d/again", "e/moved"} {
		id[name] = d.space(name + ".ibd")
	}
	rename := func(name, to string) { d.write(fmt.Sprintf("d/%d.ren", id[name]), []byte("1\n"+to)) }
	// x, y and z have each other's names: a cycle.
	d.move("d/x.ibd", "d/t")
	d.move("d/y.ibd", "d/x.ibd")
	d.move("d/z.ibd", "d/y.ibd")
	d.move("d/t", "d/z.ibd")
	rename("d/x", "./d/x.ibd")
	rename("d/y", "d/y.ibd")
	rename("d/z", "./d/z.ibd")
	// A table moved to a schema that was made after its directory was read; the path is
	// absolute, as of one outside the data directory.
	d.move("e/moved.ibd", "d/before.ibd")
	d.remove("e")
	rename("e/moved", "/elsewhere/e/moved.ibd")
	// Created, or rebuilt, during the copy; what was there first is of no use.
	d.move("d/fresh.ibd", "d/fresh.ibd.new")
	d.move("d/again.ibd", "d/again.ibd.new")
	d.stale("d/again.ibd", "d/again.ibd.new", id["d/again"])
	d.move("my.new.ibd", "my.new.ibd.new")
	// Dropped after a part of it was copied, one under the name of another that came later.
	d.stale("d/dropped.ibd", "d/x.ibd", 70001)
	d.write("d/70001.del", nil)
	d.stale("d/fresh.ibd", "d/x.ibd", 70002)
	d.write("d/70002.del", nil)
	// Unreadable, then dropped; unreadable, then copied again.
	d.write("d/unreadable.ibd", make([]byte, 20000))
	d.write("d/unreadable.ibd.crpt", nil)
	d.move("shop/blobs.ibd", "shop/blobs.ibd.new")
	d.write("shop/blobs.ibd", []byte("not even a page"))
	d.write("shop/blobs.ibd.crpt", nil)
	// An undo tablespace that was truncated, and the system tablespace, copied again.
	d.move("undo_001", "undo_001.new")
	d.stale("undo_001", "undo_001.new", 4294967150)
	d.write("4294967150.del", nil)
	d.move("ibdata1", "ibdata1.new")
	d.stale("ibdata1", "ibdata1.new", 0)
	return d
}

func (s *source) testReduced(t *testing.T) {
	d := s.reduced(t)
	events, err := d.prepare(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	checkEvents(t, events, s.export.Manifest.LSN.End)
	if res := events[len(events)-1].Result.(prepare.Result); res.Markers != 15 {
		t.Errorf("markers: got %d, want 15", res.Markers)
	}
	for _, gone := range []string{"d/dropped.ibd", "d/unreadable.ibd", "d/before.ibd"} {
		if _, err := os.Stat(filepath.Join(d.path, gone)); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: got %v, want it gone", gone, err)
		}
	}
	s.same(t, d)
}

// A table whose copy is marked as of no use, and was not copied again, is not lost without
// a word: nothing in the directory tells whether it was dropped, but the server's dictionary.
func (s *source) testLost(t *testing.T) {
	for _, table := range []string{"d/y.ibd", "sys/sys_config.ibd"} {
		d := s.xtrabackup(t, "REDUCED")
		d.write(table+".crpt", nil)
		events, err := d.prepare(t.Context())
		told := err != nil
		for _, e := range events {
			told = told || e.Kind == run.KindWarning && strings.Contains(e.Message, "missing")
		}
		if !told {
			t.Errorf("%s: the end is %+v, want a failure or a warning", table, events[len(events)-1])
		}
	}
}

var errPoint = errors.New("stopped at a sync point")

type failAt syncpoint.Point

func (f failAt) At(_ context.Context, p syncpoint.Point) error {
	if p == syncpoint.Point(f) {
		return errPoint
	}
	return nil
}

// A run that ended before the server started goes on; one that ended while it recovered
// says that there is no way.
func (s *source) testInterrupted(t *testing.T) {
	d := s.xtrabackup(t, "ON")
	// As a run that was killed while it made the redo log leaves it.
	d.write(prepare.JournalName, []byte(`{"format":1,"stage":"applying_markers","done":0,"groups":[[{"name":"d/extra.ibd"}],[{"name":"d/x.ibd","to":"d/x.ibd.remora-1"}],[{"name":"d/x.ibd.remora-1","to":"d/x.ibd"}]]}`))
	if err := os.Mkdir(filepath.Join(d.path, redo.Dir), 0o750); err != nil {
		t.Fatal(err)
	}
	d.write(redo.Dir+"/#ib_redo0", []byte("half"))
	if events, err := d.prepare(syncpoint.With(t.Context(), failAt(syncpoint.PrepareProgress))); !errors.Is(err, errPoint) {
		t.Fatalf("got %v, want %v", err, errPoint)
	} else if last := events[len(events)-1].Message; !strings.Contains(last, "data might be corrupted") {
		t.Errorf("last line: got %q", last)
	} else if !events[len(events)-1].Destructive {
		t.Errorf("the end event does not say that data was being changed")
	}
	_, err := d.prepare(t.Context())
	if code.Of(err) != code.Integrity || !strings.Contains(err.Error(), "no way back") {
		t.Errorf("after an interrupted recovery: got %v, want code %d", err, code.Integrity)
	}
}

func (s *source) testRefusals(t *testing.T) {
	end := s.export.Manifest.LSN.End
	last := func(n uint64) func(dir) {
		return func(d dir) {
			d.replace(xtrabackup.CheckpointsName, fmt.Sprintf("last_lsn = %d", end), fmt.Sprintf("last_lsn = %d", n))
		}
	}
	tests := []struct {
		name   string
		export bool
		change func(dir)
		want   code.Code
		text   string
	}{
		{"del of nothing", false, func(d dir) { d.write("d/99999.del", nil) }, code.Integrity, "no file is tablespace 99999"},
		{"ren of nothing", false, func(d dir) { d.write("d/99999.ren", []byte("1\nd/q.ibd")) }, code.Integrity, "no file is tablespace 99999"},
		{"crpt of nothing", false, func(d dir) { d.write("d/q.ibd.crpt", nil) }, code.Integrity, "there is no d/q.ibd"},
		{"new over another table", false, func(d dir) { d.stale("d/x.ibd.new", "d/x.ibd", 70003) }, code.Integrity, "no marker drops"},
		{"rename out of the directory", false, func(d dir) { d.write(fmt.Sprintf("d/%d.ren", d.space("d/x.ibd")), []byte("1\n../../x.ibd")) }, code.Integrity, "not allowed"},
		{"rename over a table", false, func(d dir) { d.write(fmt.Sprintf("d/%d.ren", d.space("d/x.ibd")), []byte("1\nd/y.ibd")) }, code.Integrity, "which another file has"},
		{"id that is none", false, func(d dir) { d.write("d/x.del", nil) }, code.Integrity, "not the id"},
		{"incremental", false, func(d dir) { d.write("d/x.ibd.new.delta", nil) }, code.Integrity, "incremental"},
		{"markers of another lock mode", false, func(d dir) {
			d.write("d/x.ibd.new", d.read("d/x.ibd"))
			d.replace(xtrabackup.InfoName, "REDUCED", "ON")
		}, code.Integrity, "--lock-ddl=ON"},
		{"no logfile", false, func(d dir) { d.remove(xtrabackup.LogName) }, code.Integrity, "has no " + xtrabackup.LogName},
		{"used logfile", false, func(d dir) {
			b := d.read(xtrabackup.LogName)
			h, _ := redo.ParseFileHeader(b)
			h.Creator = xtrabackup.BlankCreator
			d.write(xtrabackup.LogName, append(h.Append(nil), b[redo.HeaderSize:]...))
		}, code.Target, "used already"},
		{"cut logfile", false, func(d dir) { b := d.read(xtrabackup.LogName); d.write(xtrabackup.LogName, b[:len(b)-2*redo.BlockSize]) }, code.Integrity, "it ends before LSN"},
		{"damaged logfile", false, func(d dir) {
			b := d.read(xtrabackup.LogName)
			b[redo.HeaderSize+700] ^= 1
			d.write(xtrabackup.LogName, b)
		}, code.Integrity, "is torn"},
		{"last_lsn too late", false, last(end + 4096), code.Integrity, "the redo ends at LSN"},
		{"last_lsn within a change", false, last(end - 1), code.Integrity, "the backup at"},
		{"newer server", false, func(d dir) { d.replace(xtrabackup.InfoName, "server_version = ", "server_version = 1") }, code.Version, "cannot open data"},
		{"no description", false, func(d dir) { d.remove(xtrabackup.InfoName) }, code.Integrity, xtrabackup.InfoName},
		{"no backup", false, func(d dir) { d.remove(xtrabackup.CheckpointsName) }, code.Target, "no backup that can be prepared"},
		{"log-applied", false, func(d dir) { d.replace(xtrabackup.CheckpointsName, "full-backuped", "log-applied") }, code.Target, "log-applied"},
		{"incremental backup", false, func(d dir) { d.replace(xtrabackup.CheckpointsName, "full-backuped", "incremental") }, code.Target, "incremental"},
		{"compressed", false, func(d dir) { d.move("d/x.ibd", "d/x.ibd.zst") }, code.Target, "d/x.ibd.zst is packed"},
		{"encrypted", false, func(d dir) { d.move("d/x.ibd", "d/x.ibd.xbcrypt") }, code.Target, "d/x.ibd.xbcrypt is packed"},
		{"no system tablespace", false, func(d dir) { d.remove("ibdata1") }, code.Integrity, "ibdata1"},
		{"link", false, func(d dir) { d.remove("d/x.ibd"); _ = os.Symlink("y.ibd", filepath.Join(d.path, "d/x.ibd")) }, code.Target, "d/x.ibd is no plain file"},
		{"export after a server", true, func(d dir) {
			b := d.read("#innodb_redo/#ib_redo0")
			h, _ := redo.ParseFileHeader(b)
			h.Checkpoints = [2]redo.LSN{h.Checkpoint() + 20, h.Checkpoint() + 20}
			d.write("#innodb_redo/#ib_redo0", append(h.Append(nil), b[redo.HeaderSize:]...))
		}, code.Integrity, "a server has changed this directory"},
		{"unfinished restore", true, func(d dir) { _ = os.Mkdir(filepath.Join(d.path, staging.Name), 0o700) }, code.Target, "unfinished"},
	}
	export, xb := s.copy(t), s.xtrabackup(t, "REDUCED")
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			from := xb
			if tt.export {
				from = export
			}
			d := dir{t, filepath.Join(t.TempDir(), "b")}
			linkTree(t, from.path, d.path)
			tt.change(d)
			before := d.tree()
			_, err := d.prepare(t.Context())
			if code.Of(err) != tt.want || !strings.Contains(err.Error(), tt.text) {
				t.Errorf("got code %d, %v; want code %d, %q", code.Of(err), err, tt.want, tt.text)
			}
			if !maps.Equal(d.tree(), before) {
				t.Error("the directory was changed")
			}
		})
	}
}

// linkTree makes a tree of hard links for the files that tests do not change, and copies
// of the others.
func linkTree(t *testing.T, from, to string) {
	t.Helper()
	err := filepath.WalkDir(from, func(p string, e os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(from, p)
		at := filepath.Join(to, rel)
		if e.IsDir() {
			return os.MkdirAll(at, 0o750)
		}
		if strings.HasSuffix(rel, ".ibd") || strings.HasPrefix(rel, "undo_") || rel == "ibdata1" {
			return os.Link(p, at)
		}
		b, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		return os.WriteFile(at, b, 0o640)
	})
	if err != nil {
		t.Fatal(err)
	}
}
