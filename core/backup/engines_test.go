package backup_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/remora-backup/remora/core/backup"
	"github.com/remora-backup/remora/core/code"
	"github.com/remora-backup/remora/core/needs"
	"github.com/remora-backup/remora/core/repo"
	"github.com/remora-backup/remora/core/run"
	"github.com/remora-backup/remora/core/syncpoint"
)

// Rows that no backup holds are named: those of MEMORY tables in a warning, those of an engine
// that is not copied in an error, or in a warning if it is left out on purpose.
func TestEngines(t *testing.T) {
	needs.Server(t)
	l := newLab(t)
	l.source.Exec("CREATE DATABASE `s.x`", "CREATE TABLE `s.x`.`m y` (i INT) ENGINE=MEMORY", "CREATE DATABASE s", "CREATE TABLE s.i (i INT)",
		"CREATE TABLE s.f (i INT) ENGINE=BLACKHOLE", "CREATE TABLE s.c (i INT) ENGINE=MyISAM")
	warned := func(events []run.Event) (all []string) {
		for _, e := range events {
			if e.Kind == run.KindWarning {
				all = append(all, e.Message)
			}
		}
		return all
	}
	_, events, err := l.backup()
	if err != nil {
		t.Fatal(err)
	}
	memory := repo.Engine{Name: "MEMORY", Tables: []repo.Table{{Schema: "s.x", Name: "m y"}}}
	if got := l.manifest().Engines; len(got) != 1 || got[0].Excluded || got[0].String() != memory.String() {
		t.Errorf("engines in the manifest: %v, want %v", got, memory)
	}
	if got := warned(events); len(got) != 1 || !strings.Contains(got[0], "MEMORY (s.x.m y)") {
		t.Errorf("warnings: %q, want one that names the MEMORY table", got)
	}

	// A table of MyRocks has a description as all tables outside InnoDB have.
	rocks := func() {
		text := `{"mysqld_version_id":90704,"dd_object_type":"Table","dd_object":{"name":"r","schema_ref":"s","engine":"ROCKSDB"}}`
		if err := os.WriteFile(filepath.Join(l.source.Dir, "s", "r_99.sdi"), []byte(text), 0o640); err != nil {
			t.Error(err)
		}
	}
	l.forget()
	l.hold(syncpoint.LockBefore, 1, rocks)
	for _, when := range []string{"made while the backup ran", "before"} {
		_, _, err = l.backup()
		if code.Of(err) != code.Version || !strings.Contains(err.Error(), "ROCKSDB (s.r)") || !strings.Contains(code.HintOf(err), `exclude_engines = ["ROCKSDB"]`) {
			t.Errorf("%s: %v (code %d, hint %q), want code %d, the engine and its table, and the setting", when, err, code.Of(err), code.HintOf(err), code.Version)
		}
		l.forget()
	}
	if err := os.Remove(filepath.Join(l.source.Dir, "s", "r_99.sdi")); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(l.source.Dir, ".rocksdb"), 0o750); err != nil {
		t.Fatal(err)
	}
	if _, _, err = l.backup(); code.Of(err) != code.Version || !strings.Contains(err.Error(), "ROCKSDB") {
		t.Errorf("with .rocksdb: %v (code %d), want code %d", err, code.Of(err), code.Version)
	}
	rocks()
	_, events, err = l.backup(func(c *backup.Config) { c.ExcludeEngines = []string{"rocksdb"} })
	if err != nil {
		t.Fatal(err)
	}
	if got := l.manifest().Engines; len(got) != 2 || !got[1].Excluded || got[1].String() != "ROCKSDB (s.r)" {
		t.Errorf("engines in the manifest: %v, want ROCKSDB excluded", got)
	}
	if got := warned(events); !slices.ContainsFunc(got, func(w string) bool { return strings.Contains(w, "on purpose: ROCKSDB (s.r)") }) {
		t.Errorf("warnings: %q, want one that says what was left out", got)
	}
	for _, never := range []string{"InnoDB", "myisam", "Memory"} {
		_, err := backup.New(t.Context(), backup.Config{Storage: l.storage, ExcludeEngines: []string{never}})
		if code.Of(err) != code.Usage || !strings.Contains(err.Error(), never) {
			t.Errorf("exclude %s: %v (code %d), want code %d", never, err, code.Of(err), code.Usage)
		}
	}
}

// manifest is that of the newest backup.
func (l *lab) manifest() repo.Manifest {
	l.t.Helper()
	r, err := repo.Open(l.t.Context(), l.storage)
	if err != nil {
		l.t.Fatal(err)
	}
	m, err := r.Manifest(l.t.Context(), repo.Latest)
	if err != nil {
		l.t.Fatal(err)
	}
	return m
}

// Tables of other engines in the server's own schemas are users' tables, but for its logs:
// writes are stopped while they are copied.
func TestOtherEnginesInSystemSchemas(t *testing.T) {
	needs.Server(t)
	l := newLab(t)
	l.source.Exec("SET GLOBAL log_output = 'TABLE', general_log = ON")
	locks := func() string {
		return l.source.QueryString("SELECT COUNT(*) FROM performance_schema.metadata_locks WHERE OBJECT_TYPE = 'TABLE' AND OBJECT_NAME = 'audit' AND LOCK_TYPE IN ('SHARED_READ_ONLY', 'SHARED_NO_READ_WRITE')")
	}
	for _, made := range []struct{ statement, locks string }{
		{"DO 0", "0"},
		{"CREATE TABLE mysql.audit (i INT) ENGINE=MyISAM", "1"},
		{"DROP TABLE mysql.audit", "0"},
		{"CREATE TABLE sys.audit (i INT NOT NULL) ENGINE=CSV", "1"},
	} {
		l.source.Exec(made.statement)
		l.forget()
		l.hold(syncpoint.LockTables, 1, func() {
			if got := locks(); got != made.locks {
				t.Errorf("after %s: %s locks against writes, want %s", made.statement, got, made.locks)
			}
		})
		if _, _, err := l.backup(); err != nil {
			t.Fatal(err)
		}
		l.allHeld()
	}
}
