package state

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/remora-backup/remora/core/code"
	"github.com/remora-backup/remora/core/run"
	"github.com/remora-backup/remora/core/run/runtest"
)

func open(t *testing.T, dir string) *Store {
	t.Helper()
	s, err := Open(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func begin(t *testing.T, s *Store, o Operation) {
	t.Helper()
	if err := s.Begin(t.Context(), o); err != nil {
		t.Fatal(err)
	}
}

func show(t *testing.T, s *Store, id string) (Operation, []Progress) {
	t.Helper()
	o, steps, err := s.Show(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return o, steps
}

func told(steps []Progress) string {
	var all []string
	for _, p := range steps {
		s := fmt.Sprintf("%d %s %s %s", p.Seq, p.Event, p.State, p.Phase)
		if p.Percent != nil {
			s += fmt.Sprintf(" %d%%", *p.Percent)
		}
		all = append(all, strings.TrimSpace(s))
	}
	return strings.Join(all, "\n")
}

func TestHistoryTellsARun(t *testing.T) {
	lock := 12.5
	result := map[string]any{"lock_ms": lock, "bytes": 7, "lsn": uint64(1) << 62, "binlog_file": "b.000001", "binlog_position": 157, "gtid_executed": "u:1-3"}
	fifty := 50
	work := runtest.Phase("copying", func(_ context.Context, task *run.Task) error {
		task.Databases([]string{"a`b", "c"})
		task.Progress(run.Progress{Percent: &fifty})
		return nil
	})
	for _, c := range []struct {
		name  string
		then  error
		want  Operation
		steps string
	}{
		{"complete", nil, Operation{State: run.Complete, Bytes: 7, LockMS: &lock, LSN: 1 << 62, BinlogFile: "b.000001", BinlogPosition: 157, GTIDExecuted: "u:1-3"},
			"4 progress running copying 50%\n5 phase running sealing\n6 phase running completed\n7 end complete completed"},
		{"error", code.New(code.NoSpace, "disk full"), Operation{State: run.Failed, Code: 18, Error: "disk full", Errors: []string{"disk full", "clean-up: x"}},
			"6 error running sealing\n7 error running sealing\n8 phase running failed\n9 end error failed"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := open(t, t.TempDir())
			begin(t, s, Operation{ID: "one", Operation: "backup", PID: 7, Host: "h"})
			sealing := runtest.Phase("sealing", func(context.Context, *run.Task) error { return c.then })
			if c.then != nil {
				sealing = sealing.Cleaning(func(context.Context, *run.Task, error) error { return errors.New("x") })
			}
			plan := runtest.Result(runtest.Plan("backup", "one", work, sealing), result)
			if err := run.Do(t.Context(), plan, run.Options{Readers: []run.Reader{s}}); !errors.Is(err, c.then) {
				t.Fatalf("got %v, want %v", err, c.then)
			}
			if err := s.Err(); err != nil {
				t.Fatal(err)
			}
			got, steps := show(t, s, "one")
			if got.Started.IsZero() || got.Ended.Before(got.Started) {
				t.Errorf("got started %v, ended %v", got.Started, got.Ended)
			}
			got.Started, got.Ended = time.Time{}, time.Time{}
			c.want.ID, c.want.Operation, c.want.PID, c.want.Host, c.want.Phase, c.want.Databases = "one", "backup", 7, "h", "sealing", []string{"a`b", "c"}
			if g, w := asJSON(t, got), asJSON(t, c.want); g != w {
				t.Errorf("row\ngot  %s\nwant %s", g, w)
			}
			if g := told(steps); !strings.HasPrefix(g, "0 start starting\n1 start running\n") || !strings.HasSuffix(g, c.steps) {
				t.Errorf("progress\ngot  %s\nwant it to end with\n%s", g, c.steps)
			}
		})
	}
}

func asJSON(t *testing.T, v any) string {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// A restore ends with the fields of the backup: its id must not become the row's.
func TestEndOfARestoreKeepsItsOwnRow(t *testing.T) {
	s := open(t, t.TempDir())
	begin(t, s, Operation{ID: "r1", Operation: "restore"})
	s.Event(t.Context(), run.Event{Seq: 1, Kind: run.KindEnd, ID: "r1", Operation: "restore", State: run.Complete, Time: time.Now(),
		Result: map[string]any{"id": "b1", "operation": "backup", "target": "/t", "bytes": "odd"}})
	got, _ := show(t, s, "r1")
	if got.Operation != "restore" || got.State != run.Complete || got.Target != "/t" {
		t.Errorf("got %+v, want a complete restore to /t", got)
	}
	if s.Err() == nil {
		t.Error("got no error for a result that does not fit, want one")
	}
}

func TestMarkCrashedEndsWhatHasNoEnd(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	begin(t, s, Operation{ID: "a", Operation: "backup", PID: 42, Host: "h", Started: time.Now().Add(-time.Hour)})
	lastSign := time.Now().Add(-time.Minute).Truncate(time.Second)
	s.Event(t.Context(), run.Event{Seq: 1, Time: lastSign, Kind: run.KindPhase, ID: "a", Phase: "copying"})
	begin(t, s, Operation{ID: "b", Operation: "backup"})
	begin(t, s, Operation{ID: "c", Operation: "backup"})
	s.Event(t.Context(), run.Event{Seq: 1, Time: time.Now(), Kind: run.KindEnd, ID: "c", Operation: "backup", State: run.Cancelled})
	s.Close()

	s = open(t, dir)
	crashed, err := s.MarkCrashed(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(crashed) != 2 || crashed[0].ID != "a" || crashed[1].ID != "b" {
		t.Fatalf("got %+v, want a, b", crashed)
	}
	a, steps := show(t, s, "a")
	if a.State != run.Crashed || a.Phase != "copying" || !a.Ended.Equal(lastSign) || !strings.Contains(a.Error, "pid 42 on h") {
		t.Errorf("got %+v, want a crashed row that names its owner", a)
	}
	if got, want := told(steps), "0 start starting\n1 phase running copying\n2 end crashed copying"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if c, _ := show(t, s, "c"); c.State != run.Cancelled {
		t.Errorf("got %s, want cancelled", c.State)
	}
	if again, err := s.MarkCrashed(t.Context()); err != nil || len(again) != 0 {
		t.Errorf("second time: got %v, %v, want nothing", again, err)
	}
	all, err := s.History(t.Context())
	if err != nil || len(all) != 3 || all[0].ID != "c" || all[2].ID != "a" {
		t.Errorf("got %v, %v, want c, b, a", all, err)
	}
}

// What a later start must know of a run that was killed is in its row at once.
func TestTheRowOfAKilledRunSaysWhatItHeldAndChanged(t *testing.T) {
	s := open(t, t.TempDir())
	begin(t, s, Operation{ID: "a", Operation: "restore"})
	s.Event(t.Context(), run.Event{Seq: 1, Time: time.Now(), Kind: run.KindNote, ID: "a", LockConnection: 17})
	if err := s.Journal(t.Context(), run.Event{ID: "a", Destructive: true}); err != nil {
		t.Fatal(err)
	}
	s.Event(t.Context(), run.Event{Seq: 2, Time: time.Now(), Kind: run.KindPhase, ID: "a", Phase: "finalizing"})
	if _, err := s.MarkCrashed(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got, _ := show(t, s, "a"); got.LockConnection != 17 || !got.Destructive || got.State != run.Crashed {
		t.Errorf("got %+v, want the session and that data changed", got)
	}
	if err := s.Journal(t.Context(), run.Event{ID: "b", Destructive: true}); err == nil {
		t.Error("journal of an unknown operation: got no error, want one")
	}
}

func TestShowOfAnUnknownIsUsage(t *testing.T) {
	if _, _, err := open(t, t.TempDir()).Show(t.Context(), "x"); code.Of(err) != code.Usage {
		t.Errorf("got %v (code %d), want code 10", err, code.Of(err))
	}
}

func TestFilesArePrivate(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "state")
	s := open(t, dir)
	begin(t, s, Operation{ID: "a", Operation: "backup"})
	l, err := Lock(dir, Owner{})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Release()
	files, err := os.ReadDir(dir)
	if err != nil || len(files) != 4 { // database, -wal, -shm, lock
		t.Fatalf("got %v, %v, want four files", files, err)
	}
	for _, f := range files {
		if info, err := f.Info(); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: got %v, %v, want 0600", f.Name(), info.Mode(), err)
		}
	}
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("directory: got %v, %v, want 0700", info.Mode(), err)
	}
}

// What a killed process leaves is its files as they are: copies of them must open with
// everything that was committed, torn at the end or not.
func TestOpenAfterAKill(t *testing.T) {
	live := t.TempDir()
	s := open(t, live)
	begin(t, s, Operation{ID: "a", Operation: "backup"})
	begin(t, s, Operation{ID: "b", Operation: "backup"})
	wal, err := os.ReadFile(filepath.Join(live, "remora.db-wal"))
	if err != nil {
		t.Fatal(err)
	}
	main, err := os.ReadFile(filepath.Join(live, "remora.db"))
	if err != nil {
		t.Fatal(err)
	}
	for _, cut := range []int{len(wal), len(wal) - 1, len(wal) - 4096, len(wal) / 2, 40, 31, 1, 0} {
		dir := t.TempDir()
		for name, text := range map[string][]byte{"remora.db": main, "remora.db-wal": wal[:cut]} {
			if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		s, err := Open(t.Context(), dir)
		if err != nil {
			t.Errorf("cut at %d of %d: %v", cut, len(wal), err)
			continue
		}
		all, err := s.History(t.Context())
		if err != nil || cut == len(wal) && len(all) != 2 || len(all) == 1 && all[0].ID != "a" {
			t.Errorf("cut at %d of %d: got %v, %v", cut, len(wal), all, err)
		}
		s.Close()
	}
}

func TestOpenOfATornOrForeignFileSaysWhatToDo(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	begin(t, s, Operation{ID: "a", Operation: "backup"})
	s.Close()
	path := filepath.Join(dir, "remora.db")
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	texts := map[string][]byte{"foreign": []byte("not a database at all, but long enough to be one"), "cut": whole[:len(whole)/2], "cut in a page": whole[:len(whole)-100]}
	scribbled := slices.Clone(whole)
	copy(scribbled[4096:], strings.Repeat("x", 4096))
	texts["scribbled"] = scribbled
	for name, text := range texts {
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := Open(t.Context(), dir)
		if err == nil {
			s.Close()
			t.Errorf("%s: got no error", name)
			continue
		}
		if !strings.Contains(code.HintOf(err), "mv "+path) {
			t.Errorf("%s: got %v, hint %q, want the command that sets it aside", name, err, code.HintOf(err))
		}
	}
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	open(t, dir) // a file without a byte was never written: it is new
}

func setVersion(t *testing.T, dir string, version int, sqls ...string) {
	t.Helper()
	db, err := sql.Open("sqlite", filepath.Join(dir, "remora.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for _, q := range append(sqls, fmt.Sprintf("PRAGMA user_version = %d", version)) {
		if _, err := db.Exec(q); err != nil {
			t.Fatal(err)
		}
	}
}

func TestOpenRefusesANewerSchema(t *testing.T) {
	dir := t.TempDir()
	open(t, dir).Close()
	setVersion(t, dir, len(migrations())+1)
	if _, err := Open(t.Context(), dir); code.Of(err) != code.StateNewer {
		t.Errorf("got %v (code %d), want code 24", err, code.Of(err))
	}
}

func TestOpenMigratesAnOlderSchemaAndKeepsACopy(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	begin(t, s, Operation{ID: "a", Operation: "backup"})
	s.Close()
	released := migrations()
	s, err := openSchema(t.Context(), dir, append(released, "ALTER TABLE backup_history ADD COLUMN later TEXT"))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if got, _ := show(t, s, "a"); got.ID != "a" {
		t.Errorf("got %+v, want the row from before", got)
	}
	if _, err := s.db.Exec("SELECT later FROM backup_history"); err != nil {
		t.Error(err)
	}
	kept, err := os.Stat(filepath.Join(dir, fmt.Sprintf("remora.db.v%d", len(released))))
	if err != nil || kept.Size() == 0 || kept.Mode().Perm() != 0o600 {
		t.Errorf("got %v, %v, want a private copy", kept, err)
	}
}

func TestAReaderDoesNotStopTheWriter(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	begin(t, s, Operation{ID: "a", Operation: "backup"})
	reader := open(t, dir)
	tx, err := reader.db.BeginTx(t.Context(), &sql.TxOptions{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback()
	if _, err := query(t.Context(), tx, ""); err != nil {
		t.Fatal(err)
	}
	begin(t, s, Operation{ID: "b", Operation: "backup"})
}

func TestLockNamesItsOwner(t *testing.T) {
	dir := t.TempDir()
	since := time.Date(2026, 11, 20, 22, 15, 0, 0, time.UTC)
	first, err := Lock(dir, Owner{PID: 42, Operation: "backup", ID: "b1", Host: "h", Since: since})
	if err != nil {
		t.Fatal(err)
	}
	_, err = Lock(dir, Owner{PID: 43})
	if code.Of(err) != code.Busy || !strings.Contains(err.Error(), "backup b1 (pid 42 on h, since 2026-11-20T22:15:00Z) is running") {
		t.Errorf("got %v (code %d), want code 11 and the owner", err, code.Of(err))
	}
	if err := first.Release(); err != nil {
		t.Fatal(err)
	}
	second, err := Lock(dir, Owner{PID: 43})
	if err != nil {
		t.Fatalf("after release: %v", err)
	}
	second.Release()
}

func TestOpenWhereNothingCanBeWritten(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := Open(t.Context(), filepath.Join(file, "state"))
	if code.Of(err) != code.Usage || code.HintOf(err) == "" {
		t.Errorf("got %v (code %d), want code 10 and a hint", err, code.Of(err))
	}
	if _, err := Lock(filepath.Join(file, "state"), Owner{}); code.Of(err) != code.Usage {
		t.Errorf("lock: got %v (code %d), want code 10", err, code.Of(err))
	}
}
