package redo_test

import (
	"testing"

	"github.com/remora-backup/remora/core/innodb/redo"
	"github.com/remora-backup/remora/core/mysqld/mysqldtest"
	"github.com/remora-backup/remora/core/needs"
)

// What a real server leaves in its log when redo logging is switched off and on, with and without changes meanwhile,
// and what it leaves otherwise.
func TestSwitched(t *testing.T) {
	needs.Server(t)
	s := mysqldtest.Start(t, mysqldtest.Args("--innodb-redo-log-capacity=512M", "--skip-log-bin", "--innodb-flush-log-at-trx-commit=0"))
	keepLog(t, s)
	s.Exec("CREATE DATABASE t", "CREATE TABLE t.t (i INT PRIMARY KEY AUTO_INCREMENT, j INT)",
		"CREATE PROCEDURE t.p(n INT) BEGIN WHILE n > 0 DO INSERT INTO t.t (j) VALUES (n); SET n = n - 1; END WHILE; END")
	from := redo.LSN(0)
	for _, c := range []struct {
		name       string
		statements []string
		want       bool
	}{
		{"load", []string{"CALL t.p(700)", "ALTER TABLE t.t ADD INDEX (j)", "TRUNCATE t.t", "CALL t.p(300)"}, false},
		{"harmless statements", []string{"ALTER INSTANCE RELOAD TLS", "CALL t.p(300)"}, false},
		{"discarded", []string{"CREATE TABLE t.k LIKE t.t", "ALTER TABLE t.k DISCARD TABLESPACE", "CALL t.p(300)"}, false},
		{"off and on, nothing meanwhile", []string{"ALTER INSTANCE DISABLE INNODB REDO_LOG", "ALTER INSTANCE ENABLE INNODB REDO_LOG"}, true},
		{"off and on", []string{"CALL t.p(300)", "ALTER INSTANCE DISABLE INNODB REDO_LOG", "CALL t.p(600)", "ALTER INSTANCE ENABLE INNODB REDO_LOG", "CALL t.p(300)"}, true},
	} {
		s.Exec(c.statements...)
		l, end := atRest(t, s)
		var switched redo.Switched
		p := redo.NewParser(l.start(), 16<<10, func(redo.Event) {})
		p.Records(func(r redo.Record) {
			if r.LSN >= from {
				switched.Record(r)
			}
		})
		l.each(l.start(), redo.RequireCRC, func(b redo.Block) {
			if err := p.Feed(b); err != nil {
				t.Fatal(err)
			}
		})
		if at, was := switched.At(); was != c.want || was && at < from {
			t.Errorf("%s: got %v at LSN %d, want %v", c.name, was, at, c.want)
		}
		from = end
	}
}
