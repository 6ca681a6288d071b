package backup_test

import (
	"context"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"

	"github.com/remora-backup/remora/core/mysqld/mysqldtest"
	"github.com/remora-backup/remora/core/syncpoint"
)

// holds does something while the backup is held at a point: the goroutine that is the nth to
// come there does it.
type holds struct {
	mu   sync.Mutex
	at   map[syncpoint.Point][]*hold
	seen map[syncpoint.Point]int
}

type hold struct {
	nth  int
	do   func() error
	done bool
}

func (h *holds) At(_ context.Context, p syncpoint.Point) error {
	h.mu.Lock()
	h.seen[p]++
	var now []*hold
	for _, x := range h.at[p] {
		if x.nth == h.seen[p] {
			x.done = true
			now = append(now, x)
		}
	}
	h.mu.Unlock()
	for _, x := range now {
		if err := x.do(); err != nil {
			return err
		}
	}
	return nil
}

// hold does something when the backup comes to a point for the nth time.
func (l *lab) hold(p syncpoint.Point, nth int, do func()) {
	l.holdErr(p, nth, func() error { do(); return nil })
}

// holdErr is hold with an error that fails the backup there.
func (l *lab) holdErr(p syncpoint.Point, nth int, do func() error) {
	l.holds.at[p] = append(l.holds.at[p], &hold{nth: nth, do: do})
}

// next does something when the backup comes to a point the next time. It may be called while
// the backup runs.
func (l *lab) next(p syncpoint.Point, do func()) {
	l.holds.mu.Lock()
	defer l.holds.mu.Unlock()
	l.hold(p, l.holds.seen[p]+1, do)
}

// allHeld fails the test if the backup did not come to all the points.
func (l *lab) allHeld() {
	l.t.Helper()
	for p, hs := range l.holds.at {
		for _, h := range hs {
			if !h.done {
				l.t.Errorf("the backup came to %s %d times, want %d", p, l.holds.seen[p], h.nth)
			}
		}
	}
}

// whole checks what checksums do not show: every table in all its indexes, no file that no
// table has, and a server that finds nothing to complain about.
func (l *lab) whole(s *mysqldtest.Server) {
	l.t.Helper()
	tables := column(l, s, "SELECT CONCAT('`', REPLACE(TABLE_SCHEMA, '`', '``'), '`.`', REPLACE(TABLE_NAME, '`', '``'), '`') FROM information_schema.TABLES WHERE TABLE_TYPE = 'BASE TABLE' AND ENGINE = 'InnoDB' AND TABLE_SCHEMA <> 'sys'")
	for _, name := range tables {
		var table, op, kind, text string
		if err := s.DB().QueryRowContext(l.t.Context(), "CHECK TABLE "+name+" EXTENDED").Scan(&table, &op, &kind, &text); err != nil || text != "OK" {
			l.t.Errorf("check table %s: %s %s %v", name, kind, text, err)
		}
	}
	listed := map[string]bool{"mysql.ibd": true}
	for _, path := range column(l, s, "SELECT PATH FROM information_schema.INNODB_TABLESPACES_BRIEF") {
		listed[filepath.Clean(path)] = true
	}
	for path := range listed {
		if filepath.IsAbs(path) {
			l.t.Errorf("the restored server has a tablespace outside of its data directory: %s", path)
		}
	}
	err := filepath.WalkDir(s.Dir, func(path string, _ os.DirEntry, err error) error {
		rel, rerr := filepath.Rel(s.Dir, path)
		if ext := filepath.Ext(path); rerr == nil && (ext == ".ibd" || ext == ".ibu") && !listed[rel] {
			l.t.Errorf("%s belongs to no table", rel)
		}
		return err
	})
	if err != nil {
		l.t.Error(err)
	}
	log, err := os.ReadFile(s.Log)
	if err != nil {
		l.t.Fatal(err)
	}
	for line := range strings.Lines(string(log)) {
		if strings.Contains(line, "[ERROR]") {
			l.t.Errorf("the restored server logs: %s", strings.TrimSpace(line))
		}
	}
}

// differs is what may: the counter in memory may be ahead of the one that outlives a crash,
// and files from outside of the data directory are within it.
var differs = regexp.MustCompile(` AUTO_INCREMENT=\d+|( /\*!50100)? DATA DIRECTORY ?= ?'[^']*'( \*/)?`)

// definitions returns what CHECKSUM TABLE does not see.
func definitions(l *lab, s *mysqldtest.Server) map[string]string {
	l.t.Helper()
	all := map[string]string{}
	for _, schema := range column(l, s, "SELECT SCHEMA_NAME FROM information_schema.SCHEMATA") {
		all["schema "+schema] = ""
	}
	for _, name := range column(l, s, "SELECT CONCAT('`', REPLACE(TABLE_SCHEMA, '`', '``'), '`.`', REPLACE(TABLE_NAME, '`', '``'), '`') FROM information_schema.TABLES WHERE TABLE_TYPE = 'BASE TABLE' AND TABLE_SCHEMA NOT IN ('mysql', 'sys', 'performance_schema')") {
		var table, definition string
		if err := s.DB().QueryRowContext(l.t.Context(), "SHOW CREATE TABLE "+name).Scan(&table, &definition); err != nil {
			l.t.Errorf("show create table %s: %v", name, err)
		}
		all["table "+name] = differs.ReplaceAllString(definition, "")
	}
	for _, user := range column(l, s, "SELECT CONCAT(User, '@', Host) FROM mysql.user") {
		all["user "+user] = ""
	}
	// Statements about undo tablespaces are not replicated; those of a storm (undo_ddl...) may come after the backup.
	for _, name := range column(l, s, "SELECT NAME FROM information_schema.INNODB_TABLESPACES WHERE SPACE_TYPE IN ('Undo', 'General') AND NAME NOT LIKE 'undo\\_ddl%'") {
		all["tablespace "+name] = ""
	}
	return all
}

func column(l *lab, s *mysqldtest.Server, query string) (values []string) {
	l.t.Helper()
	rows, err := s.DB().QueryContext(l.t.Context(), query)
	if err != nil {
		l.t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var v string
		if err := rows.Scan(&v); err != nil {
			l.t.Fatal(err)
		}
		values = append(values, v)
	}
	if err := rows.Err(); err != nil {
		l.t.Fatal(err)
	}
	return values
}
