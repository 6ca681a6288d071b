package backup_test

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/remora-backup/remora/core/backup"
	"github.com/remora-backup/remora/core/code"
	"github.com/remora-backup/remora/core/needs"
	"github.com/remora-backup/remora/core/syncpoint"
)

// prober says what nobody may have to wait for, again and again: each statement by a session
// of its own, which gives up after a second.
type prober struct {
	stop context.CancelFunc
	wg   sync.WaitGroup
}

func (l *lab) probe(statements ...string) *prober {
	ctx, cancel := context.WithCancel(context.Background())
	p := &prober{stop: cancel}
	for _, q := range statements {
		conn := l.session("SET lock_wait_timeout = 1, innodb_lock_wait_timeout = 1")
		p.wg.Go(func() {
			defer conn.Close()
			for n := 0; ctx.Err() == nil; n++ {
				if _, err := conn.ExecContext(context.Background(), strings.ReplaceAll(q, "{n}", fmt.Sprint(n))); err != nil {
					l.t.Errorf("had to wait: %s: %v", q, err)
					return
				}
				time.Sleep(10 * time.Millisecond)
			}
		})
	}
	return p
}

func (p *prober) end() {
	p.stop()
	p.wg.Wait()
}

// session is one of somebody else's.
func (l *lab) session(first ...string) *sql.Conn {
	l.t.Helper()
	conn, err := l.source.DB().Conn(l.t.Context())
	if err != nil {
		l.t.Fatal(err)
	}
	for _, q := range first {
		if _, err := conn.ExecContext(l.t.Context(), q); err != nil {
			l.t.Fatalf("%s: %v", q, err)
		}
	}
	return conn
}

// goes starts a statement that takes long, and returns what ends it.
func (l *lab) goes(conn *sql.Conn, statement, state string) (end func() error) {
	l.t.Helper()
	done := make(chan error, 1)
	go func() {
		_, err := conn.ExecContext(context.Background(), statement)
		done <- err
	}()
	l.await(fmt.Sprintf("SELECT COUNT(*) FROM performance_schema.processlist WHERE INFO = '%s' AND STATE LIKE '%s'", strings.ReplaceAll(statement, "'", "''"), state))
	return func() error { return <-done }
}

func (l *lab) await(query string) {
	l.t.Helper()
	for end := time.Now().Add(time.Minute); l.source.QueryString(query) == "0"; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			l.t.Fatalf("waited in vain for %s", query)
		}
	}
}

// TestTablesOfOtherEngines: a backup waits for no reader of theirs and keeps none waiting, nor
// anybody's DDL that comes when the backup lock is held.
func TestTablesOfOtherEngines(t *testing.T) {
	needs.Server(t)
	l := newLab(t)
	l.source.Exec("CREATE DATABASE s", "CREATE TABLE s.i (a INT PRIMARY KEY, n INT)", "INSERT INTO s.i VALUES (1, 0)",
		"CREATE TABLE s.m (a INT PRIMARY KEY, n INT, KEY (n)) ENGINE=MyISAM", "INSERT INTO s.m VALUES (1, 0), (2, 0)",
		"CREATE TABLE s.lazy (a INT AUTO_INCREMENT PRIMARY KEY, n INT, KEY (n)) ENGINE=MyISAM DELAY_KEY_WRITE=1",
		"INSERT INTO s.lazy (n) VALUES (1), (2), (3)", "INSERT INTO s.lazy (n) SELECT a.n FROM s.lazy a, s.lazy b, s.lazy c",
		"CREATE TABLE s.csv (a INT NOT NULL) ENGINE=CSV", "INSERT INTO s.csv VALUES (1), (2)",
		"CREATE TABLE s.ar (a INT) ENGINE=ARCHIVE", "INSERT INTO s.ar VALUES (1), (2)",
		"CREATE TABLE s.part (a INT, n INT, KEY (n)) ENGINE=MyISAM", "INSERT INTO s.part VALUES (9, 9)",
		"CREATE TABLE s.merged (a INT, n INT, KEY (n)) ENGINE=MERGE UNION=(s.part)",
		"CREATE TABLE s.gone (a INT) ENGINE=MyISAM", "CREATE TABLE s.broken (a INT) ENGINE=MERGE UNION=(s.gone)", "DROP TABLE s.gone")
	reader := l.session()
	read := l.goes(reader, "SELECT *, SLEEP(3600) FROM s.m", "User sleep")
	var ddl func() error
	waits := l.session()
	// The keys of these rows are in memory only.
	l.hold(syncpoint.LockBefore, 1, func() { l.source.Exec("INSERT INTO s.lazy (n) VALUES (77), (78)", "INSERT INTO s.csv VALUES (3)") })
	l.hold(syncpoint.LockLook, 1, func() { ddl = l.goes(waits, "CREATE TABLE s.later (a INT)", "Waiting for backup lock") })
	p := l.probe("SELECT COUNT(*) FROM s.m", "UPDATE s.i SET n = n + 1")
	res, _, err := l.backup()
	p.end()
	if err != nil {
		t.Fatal(err)
	}
	l.allHeld()
	if res.TablesLockMS <= 0 || res.DDLStallMSMax < res.LockMS {
		t.Errorf("locks: got %+v", res)
	}
	l.await("SELECT COUNT(*) FROM performance_schema.processlist WHERE INFO LIKE 'SELECT *, SLEEP(3600)%'") // it still reads
	l.source.Exec("KILL QUERY " + l.source.QueryString("SELECT ID FROM performance_schema.processlist WHERE INFO LIKE 'SELECT *, SLEEP(3600)%'"))
	_ = read()
	if err := ddl(); err != nil {
		t.Error(err)
	}
	s := l.restore()
	for query, want := range map[string]string{
		"SELECT GROUP_CONCAT(a, ':', n ORDER BY a) FROM s.m":                                               "1:0,2:0",
		"SELECT COUNT(*) FROM s.lazy FORCE INDEX (n) WHERE n IN (77, 78)":                                  "2",
		"SELECT COUNT(*) FROM s.lazy IGNORE INDEX (n) WHERE n >= 0":                                        "32",
		"SELECT SUM(a) FROM s.csv":                                                                         "6",
		"SELECT SUM(a) FROM s.ar":                                                                          "3",
		"SELECT SUM(a) FROM s.merged WHERE n = 9":                                                          "9",
		"SELECT COUNT(*) FROM information_schema.TABLES WHERE TABLE_SCHEMA = 's' AND TABLE_NAME = 'later'": "0",
	} {
		if got := s.QueryString(query); got != want {
			t.Errorf("%s: got %s, want %s", query, got, want)
		}
	}
	for _, table := range []string{"s.m", "s.lazy", "s.part", "s.csv", "s.ar"} {
		if got := lastOfCheck(l, s.DB(), table); got != "status OK" {
			t.Errorf("check table %s: %s", table, got)
		}
	}
}

func lastOfCheck(l *lab, db *sql.DB, name string) (last string) {
	l.t.Helper()
	rows, err := db.QueryContext(l.t.Context(), "CHECK TABLE "+name+" EXTENDED")
	if err != nil {
		l.t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var table, op, kind, text string
		if err := rows.Scan(&table, &op, &kind, &text); err != nil {
			l.t.Fatal(err)
		}
		l.t.Logf("check table %s: %s %s", name, kind, text)
		last = kind + " " + text
	}
	return last
}

// TestLongDDL: while somebody's DDL takes long nobody else's waits because of a backup, which
// goes on once it is over.
func TestLongDDL(t *testing.T) {
	needs.Server(t)
	l := newLab(t)
	l.source.Exec("CREATE DATABASE s", "CREATE TABLE s.t (a INT PRIMARY KEY)", "INSERT INTO s.t VALUES (1)", "CREATE TABLE s.u (a INT)")
	open := l.session("BEGIN", "INSERT INTO s.t VALUES (2)")
	alters := l.session()
	altered := l.goes(alters, "ALTER TABLE s.t ADD COLUMN b INT, ALGORITHM=COPY", "Waiting for table metadata lock")
	time.Sleep(3 * time.Second) // it is one that takes long by now
	p := l.probe("ALTER TABLE s.u COMMENT '{n}'", "CREATE USER IF NOT EXISTS u{n}")
	_, _, err := l.backup(func(c *backup.Config) { c.Patience = 3 * time.Second })
	if code.Of(err) != code.Lock || !strings.Contains(err.Error(), "ALTER TABLE s.t ADD COLUMN b") {
		t.Errorf("with little patience: got %v, want what is in the way, and code 14", err)
	}
	over := make(chan error, 1)
	l.hold(syncpoint.LockBefore, 1+l.holds.seen[syncpoint.LockBefore], func() {
		go func() {
			time.Sleep(3 * time.Second)
			_, err := open.ExecContext(context.Background(), "COMMIT")
			over <- err
		}()
	})
	res, _, err := l.backup()
	p.end()
	if err != nil {
		t.Fatal(err)
	}
	for _, err := range []error{<-over, altered()} {
		if err != nil {
			t.Error(err)
		}
	}
	l.allHeld()
	s := l.restore()
	if got := s.QueryString("SELECT COUNT(b IS NULL) FROM s.t"); got != "2" {
		t.Errorf("rows after the ALTER: got %s, want 2", got)
	}
	t.Logf("locked for %.1f ms, DDL could wait for %.1f ms", res.LockMS, res.DDLStallMSMax)
}
