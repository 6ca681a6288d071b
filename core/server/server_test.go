package server_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/remora-backup/remora/core/code"
	"github.com/remora-backup/remora/core/mysqld/mysqldtest"
	"github.com/remora-backup/remora/core/needs"
	"github.com/remora-backup/remora/core/server"
)

// One server serves all tests that leave it as it is.
func TestLiveServer(t *testing.T) {
	needs.Server(t)
	s := mysqldtest.Start(t, mysqldtest.TCP(), mysqldtest.PageSize("8192"))
	s.Exec("CREATE DATABASE `b``1`", "CREATE DATABASE a", "CREATE TABLE a.i (id INT PRIMARY KEY)",
		"CREATE TABLE a.m (id INT) ENGINE=MyISAM", "CREATE TABLE `b``1`.c (id INT NOT NULL) ENGINE=CSV",
		"CREATE TABLE a.gone (id INT PRIMARY KEY)", "ALTER TABLE a.gone DISCARD TABLESPACE",
		"CREATE TABLESPACE g ADD DATAFILE 'g.ibd'", "CREATE TABLE a.mem (id INT) ENGINE=MEMORY", "CREATE TABLE a.hole (id INT) ENGINE=BLACKHOLE",
		"CREATE TABLE mysql.audit (id INT) ENGINE=MyISAM", "CREATE USER viewer@localhost", "GRANT SHOW VIEW, PROCESS ON *.* TO viewer@localhost",
		"CREATE USER blind@localhost", "GRANT PROCESS ON *.* TO blind@localhost")
	root := connect(t, server.Config{Socket: s.Socket, User: "root"})

	t.Run("facts", func(t *testing.T) { testFacts(t, s, root) })
	t.Run("log status", func(t *testing.T) { testLogStatus(t, s, root) })
	t.Run("objects", func(t *testing.T) { testObjects(t, s, root) })
	t.Run("consumer", func(t *testing.T) { testConsumer(t, s, root) })
	t.Run("connect", func(t *testing.T) { testConnect(t, s) })
	t.Run("privileges", func(t *testing.T) { testPrivileges(t, s) })
	t.Run("may lock tables", func(t *testing.T) { testMayLock(t, s) })
	t.Run("killed connection", func(t *testing.T) { testKilled(t, s) })
	t.Run("orphan", func(t *testing.T) { testOrphan(t, s) })
}

func testFacts(t *testing.T, s *mysqldtest.Server, root *server.Server) {
	f, err := root.Preflight(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name      string
		got, want any
	}{
		{"server_uuid", f.UUID, s.QueryString("SELECT @@server_uuid")},
		{"version", f.Version.String(), s.QueryString("SELECT @@version")},
		{"datadir", f.DataDir, s.Dir},
		{"page size", f.PageSize, 8192},
		{"redo dir", f.RedoDir(), filepath.Join(s.Dir, "#innodb_redo")},
		{"undo dir", f.UndoDir(), s.Dir},
		{"data file path", f.DataFilePath, "ibdata1:12M:autoextend"},
		{"log_bin", f.LogBin, true},
		{"log_bin_basename", f.LogBinBasename, filepath.Join(s.Dir, "binlog")},
		{"log_bin_index", f.LogBinIndex, filepath.Join(s.Dir, "binlog.index")},
		{"gtid_mode", f.GTIDMode, "ON"},
		{"redo enabled", f.RedoEnabled, true},
		{"redo encrypt", f.RedoEncrypt, false},
		{"redo capacity", f.RedoCapacity, uint64(100 << 20)},
		{"log checksums", f.LogChecksums, true},
		{"checksum algorithm", f.ChecksumAlgorithm, "crc32"},
		{"keyring", f.Keyring, ""},
		{"keys seen", f.KeysSeen, true},
		{"relay_log_basename", filepath.Dir(f.RelayLogBasename), s.Dir},
		{"event_scheduler", f.EventScheduler, "ON"},
		{"replica", f.IsReplica, false},
		{"server_id", fmt.Sprint(f.ServerID), s.QueryString("SELECT @@server_id")},
		{"tables of other engines", len(f.Others.Tables), 5},
	} {
		if c.got != c.want {
			t.Errorf("%s: got %v, want %v", c.name, c.got, c.want)
		}
	}
	for range 20 {
		again, err := root.Identity(t.Context())
		if err != nil || again != f.Identity {
			t.Fatalf("identity: got %v, %v, want %v", again, err, f.Identity)
		}
	}
}

func testLogStatus(t *testing.T, s *mysqldtest.Server, root *server.Server) {
	before, err := root.LogStatus(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	s.Exec("INSERT INTO a.i VALUES (1)")
	after, err := root.LogStatus(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	file, pos := s.Position()
	if after.BinlogFile != file || after.BinlogPosition != pos || after.BinlogPosition <= before.BinlogPosition {
		t.Errorf("binary log: got %s:%d, then %s:%d, want %s:%d", before.BinlogFile, before.BinlogPosition,
			after.BinlogFile, after.BinlogPosition, file, pos)
	}
	if after.LSN <= before.LSN || after.Checkpoint == 0 || after.Checkpoint > after.LSN {
		t.Errorf("LSN: got %d, then %d, checkpoint %d", before.LSN, after.LSN, after.Checkpoint)
	}
	if want := s.QueryString("SELECT @@gtid_executed"); after.GTIDExecuted != want {
		t.Errorf("gtid_executed: got %q, want %q", after.GTIDExecuted, want)
	}
	if err := root.FlushEngineLogs(t.Context()); err != nil {
		t.Error(err)
	}
	if now, capacity, err := root.RedoNow(t.Context()); err != nil || now < before.Checkpoint || capacity < 8<<20 {
		t.Errorf("current LSN: got %d, %v, want at least the checkpoint %d", now, err, before.Checkpoint)
	}
	if channels, err := root.ReplicaStatus(t.Context()); err != nil || len(channels) != 0 {
		t.Errorf("channels of a server that is no replica: got %v, %v", channels, err)
	}
}

func testObjects(t *testing.T, s *mysqldtest.Server, root *server.Server) {
	if got, err := root.Databases(t.Context()); err != nil || !slices.Equal(got, []string{"a", "b`1"}) {
		t.Errorf("databases: got %q, %v", got, err)
	}
	all := []server.Table{{"a", "hole", "BLACKHOLE"}, {"a", "m", "MyISAM"}, {"a", "mem", "MEMORY"}, {"b`1", "c", "CSV"}, {"mysql", "audit", "MyISAM"}}
	for user, want := range map[string][]server.Table{"root": all, "viewer": all, "blind": nil} {
		o, err := connect(t, server.Config{Socket: s.Socket, User: user}).OtherTables(t.Context())
		if err != nil || !slices.Equal(o.Tables, want) || o.Whole != (want != nil) || len(o.Foreign) > 0 {
			t.Errorf("tables of other engines, seen by %s: got %+v, %v, want %v", user, o, err, want)
		}
	}
	spaces, err := root.Tablespaces(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	byName := make(map[string]server.Tablespace)
	for _, sp := range spaces {
		byName[sp.Name] = sp
	}
	for name, want := range map[string]bool{"mysql": true, "innodb_undo_001": true, "a/i": true, "g": true, "innodb_temporary": false, "a/gone": false} {
		sp, ok := byName[name]
		if !ok || sp.HasFile() != want {
			t.Errorf("tablespace %s: got %+v (listed: %v), want a file: %v", name, sp, ok, want)
		}
	}
}

func testConsumer(t *testing.T, s *mysqldtest.Server, root *server.Server) {
	c, err := root.RegisterConsumer(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	st, err := root.LogStatus(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Advance(t.Context(), st.LSN); err != nil {
		t.Error(err)
	}
	if err := c.Advance(t.Context(), st.LSN-1); err == nil {
		t.Error("advancing backwards: got no error")
	}
	var leases int
	err = s.DB().QueryRowContext(t.Context(), "SELECT COUNT(*) FROM performance_schema.variables_by_thread WHERE variable_name = 'wait_timeout' AND variable_value = '10'").Scan(&leases)
	if err != nil || leases != 1 {
		t.Errorf("%d sessions end by themselves, %v; want the consumer's", leases, err)
	}
	if _, err := root.RegisterConsumer(t.Context()); !errors.Is(err, server.ErrConsumerTaken) {
		t.Errorf("a second consumer: got %v, want %v", err, server.ErrConsumerTaken)
	}
	for range 2 {
		if err := c.Close(t.Context()); err != nil {
			t.Error(err)
		}
	}
	if err := c.Advance(t.Context(), st.LSN); err == nil {
		t.Error("advancing after Close: got no error")
	}
	if c, err = root.RegisterConsumer(t.Context()); err != nil {
		t.Fatalf("register again after Close: %v", err)
	}
	if err := c.Close(t.Context()); err != nil {
		t.Error(err)
	}
	var none *server.Consumer
	if err := none.Close(t.Context()); err != nil {
		t.Errorf("close no consumer: %v", err)
	}
}

func testConnect(t *testing.T, s *mysqldtest.Server) {
	s.Exec("CREATE USER p@localhost IDENTIFIED BY 'right'", "CREATE USER l@localhost ACCOUNT LOCK")
	connect(t, server.Config{Socket: s.Socket, User: "p", Password: "right"})
	connect(t, server.Config{Host: "127.0.0.1", Port: s.Port, User: "root"})
	for _, c := range []struct {
		name   string
		config server.Config
		want   code.Code
	}{
		{"wrong password", server.Config{Socket: s.Socket, User: "p", Password: "wrong"}, code.Privilege},
		{"no such account", server.Config{Socket: s.Socket, User: "nobody"}, code.Privilege},
		{"locked account", server.Config{Socket: s.Socket, User: "l"}, code.Privilege},
		{"no such socket", server.Config{Socket: s.Socket + "x", User: "p"}, code.ServerGone},
		{"nobody listens", server.Config{Host: "127.0.0.1", Port: 1, User: "p"}, code.ServerGone},
	} {
		_, err := server.Connect(t.Context(), c.config)
		if code.Of(err) != c.want {
			t.Errorf("%s: got %v (code %d), want code %d", c.name, err, code.Of(err), c.want)
		}
		if err != nil && (strings.Contains(err.Error(), "wrong") || strings.Contains(err.Error(), "right")) {
			t.Errorf("%s: the error tells the password: %v", c.name, err)
		}
	}
}

// Everything is granted, by way of a role, but for one privilege at a time: exactly that one is reported, and
// the statement in the report mends it.
func testPrivileges(t *testing.T, s *mysqldtest.Server) {
	all := []struct{ privilege, on string }{
		{"BACKUP_ADMIN", "*.*"}, {"SELECT", "performance_schema.log_status"}, {"PROCESS", "*.*"}, {"REPLICATION CLIENT", "*.*"},
		{"SHOW DATABASES", "*.*"}, {"RELOAD", "*.*"}, {"SELECT", "performance_schema.metadata_locks"},
		{"SELECT", "performance_schema.threads"}, {"SELECT", "performance_schema.keyring_component_status"},
		{"SELECT", "performance_schema.error_log"}, {"SELECT", "performance_schema.replication_applier_status_by_worker"},
		{"SELECT", "performance_schema.keyring_keys"},
	}
	const required = 4 // the first of all
	for i, without := range all {
		t.Run(without.privilege+" on "+without.on, func(t *testing.T) {
			role, user := fmt.Sprintf("r%d", i), fmt.Sprintf("o'u%d", i)
			s.Exec(fmt.Sprintf("CREATE ROLE %s", role), fmt.Sprintf("CREATE USER `%s`@localhost DEFAULT ROLE %s", user, role))
			for j, p := range all {
				if j != i {
					s.Exec(fmt.Sprintf("GRANT %s ON %s TO %s", p.privilege, p.on, role))
				}
			}
			account := connect(t, server.Config{Socket: s.Socket, User: user})
			missing, err := account.CheckPrivileges(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			want := fmt.Sprintf("GRANT %s ON %s TO 'o''u%d'@'localhost'", without.privilege, without.on, i)
			k := slices.IndexFunc(missing, func(m server.Missing) bool { return m.Grant == want })
			if k < 0 || len(missing) != 1 {
				t.Fatalf("missing: got %+v, want %s", missing, want)
			}
			if missing[k].Optional != (i >= required) {
				t.Errorf("%s optional: got %v", missing[k].Privilege, missing[k].Optional)
			}
			_, err = account.Preflight(t.Context())
			if i < required && (code.Of(err) != code.Privilege || code.HintOf(err) != want+";") {
				t.Errorf("preflight: got %v (code %d, hint %q), want code %d and %q", err, code.Of(err), code.HintOf(err), code.Privilege, want)
			}
			if i >= required && err != nil {
				t.Errorf("preflight without an optional privilege: %v", err)
			}
			if without.privilege == "RELOAD" {
				if err := account.FlushEngineLogs(t.Context()); !errors.Is(err, server.ErrNotAllowed) {
					t.Errorf("flush the engine logs: got %v, want %v", err, server.ErrNotAllowed)
				}
			}
			if without.privilege == "BACKUP_ADMIN" {
				if _, err := account.RegisterConsumer(t.Context()); !errors.Is(err, server.ErrNotAllowed) {
					t.Errorf("register a consumer: got %v, want %v", err, server.ErrNotAllowed)
				}
			}
			s.Exec(missing[k].Grant)
			again, err := connect(t, server.Config{Socket: s.Socket, User: user}).CheckPrivileges(t.Context())
			if err != nil || slices.ContainsFunc(again, func(m server.Missing) bool { return m.Grant == want }) {
				t.Errorf("after %s: got %+v, %v", want, again, err)
			}
		})
	}
}

// testMayLock: both privileges are asked for, each schema for itself, and nobody is waited for.
func testMayLock(t *testing.T, s *mysqldtest.Server) {
	s.Exec("CREATE USER locker@localhost", "GRANT SELECT, LOCK TABLES ON `may``lock`.* TO locker@localhost", "GRANT SELECT ON half.* TO locker@localhost")
	account := connect(t, server.Config{Socket: s.Socket, User: "locker"})
	s.Exec("CREATE DATABASE `may``lock`", "CREATE TABLE `may``lock`.`#remora: no such table` (i INT) ENGINE=MyISAM")
	if err := account.MayLock(t.Context(), []string{"may`lock"}, false); err != nil {
		t.Errorf("with both: %v", err)
	}
	s.Exec("SET SESSION lock_wait_timeout = 5", "INSERT INTO `may``lock`.`#remora: no such table` VALUES (1)") // nobody has it locked
	s.Exec("ALTER TABLE `may``lock`.`#remora: no such table` DELAY_KEY_WRITE=1")
	const flush = "GRANT FLUSH_TABLES ON *.* TO 'locker'@'localhost';"
	if err := account.MayLock(t.Context(), []string{"may`lock"}, false); code.HintOf(err) != flush {
		t.Errorf("with a table that delays its keys: got %v (hint %q), want %q", err, code.HintOf(err), flush)
	}
	s.Exec("DROP DATABASE `may``lock`")
	err := account.MayLock(t.Context(), []string{"half", "may`lock", "none"}, true)
	const want = "GRANT SELECT, LOCK TABLES ON `half`.* TO 'locker'@'localhost'; GRANT SELECT, LOCK TABLES ON `none`.* TO 'locker'@'localhost'; GRANT FLUSH_TABLES ON *.* TO 'locker'@'localhost';"
	if code.Of(err) != code.Privilege || code.HintOf(err) != want {
		t.Errorf("got %v (code %d, hint %q), want code %d and %q", err, code.Of(err), code.HintOf(err), code.Privilege, want)
	}
}

func testKilled(t *testing.T, s *mysqldtest.Server) {
	account := connect(t, server.Config{Socket: s.Socket, User: "root"})
	c, err := account.RegisterConsumer(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	id := "0"
	for range 500 { // a statement enters the history a moment after it was answered
		if id = s.QueryString(`SELECT COALESCE(MAX(PROCESSLIST_ID), 0) FROM performance_schema.threads
			JOIN performance_schema.events_statements_history USING (THREAD_ID) WHERE SQL_TEXT LIKE 'SELECT innodb_redo_log_consumer_register%'`); id != "0" {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	s.Exec("KILL " + id)
	if err := c.Advance(t.Context(), 1); code.Of(err) != code.ServerGone {
		t.Errorf("advance on a killed connection: got %v (code %d), want code %d", err, code.Of(err), code.ServerGone)
	}
	if err := c.Close(t.Context()); code.Of(err) != code.ServerGone {
		t.Errorf("close on a killed connection: got %v (code %d), want code %d", err, code.Of(err), code.ServerGone)
	}
	if _, err := account.LogStatus(t.Context()); err != nil {
		t.Errorf("the pool makes a new connection: got %v", err)
	}
}

// testOrphan: only sessions of this account, of the lock plugin and of that process on that
// host are killed, by an account without any privilege.
func testOrphan(t *testing.T, s *mysqldtest.Server) {
	s.Exec("CREATE USER 'o'@'localhost'", "CREATE USER 'other'@'localhost'")
	session := func(user, program string) (*sql.Conn, uint64) {
		db, _, err := server.Open(server.Config{Socket: s.Socket, User: user, Program: program})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { db.Close() })
		conn, err := db.Conn(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		var id uint64
		if err := conn.QueryRowContext(t.Context(), "SELECT CONNECTION_ID()").Scan(&id); err != nil {
			t.Fatal(err)
		}
		return conn, id
	}
	account := connect(t, server.Config{Socket: s.Socket, User: "o"})
	here, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		user, program, host string
		pid                 int
		want                bool
	}{
		{"other", server.LockProgram, here, os.Getpid(), false},
		{"o", "", here, os.Getpid(), false},
		{"o", server.LockProgram, here, os.Getpid() + 1, false},
		{"o", server.LockProgram, "elsewhere", os.Getpid(), false},
		{"o", server.LockProgram, here, os.Getpid(), true},
	} {
		conn, id := session(c.user, c.program)
		killed, err := account.KillOrphans(t.Context(), c.host, c.pid)
		if err != nil || slices.Contains(killed, id) != c.want {
			t.Errorf("%+v: got %v, %v", c, killed, err)
		}
		if err := conn.PingContext(t.Context()); (err != nil) != c.want {
			t.Errorf("%+v: the session after it: %v", c, err)
		}
	}
	if killed, err := account.KillOrphans(t.Context(), here, 1); len(killed) > 0 || err != nil {
		t.Errorf("of no session: got %v, %v", killed, err)
	}
}

func TestServerThatChanges(t *testing.T) {
	needs.Server(t)
	s := mysqldtest.Start(t)
	root := connect(t, server.Config{Socket: s.Socket, User: "root"})
	before, err := root.Identity(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	s.Exec("ALTER INSTANCE DISABLE INNODB REDO_LOG")
	if _, err := root.Preflight(t.Context()); code.Of(err) != code.Version || !strings.Contains(err.Error(), "redo") {
		t.Errorf("preflight with redo disabled: got %v (code %d), want code %d", err, code.Of(err), code.Version)
	}
	s.Exec("ALTER INSTANCE ENABLE INNODB REDO_LOG")

	s.Stop()
	if _, err := root.Identity(t.Context()); code.Of(err) != code.ServerGone {
		t.Errorf("identity of a stopped server: got %v (code %d), want code %d", err, code.Of(err), code.ServerGone)
	}
	s.Restart()
	_, err = root.Identity(t.Context())
	if code.Of(err) != code.ServerGone || !strings.Contains(err.Error(), "restarted: it was "+before.String()) {
		t.Errorf("a new connection after a restart: got %v (code %d), want code %d", err, code.Of(err), code.ServerGone)
	}
	root = connect(t, server.Config{Socket: s.Socket, User: "root"})
	if after := root.First(); after == before || after.UUID != before.UUID {
		t.Errorf("identity after a restart: got %v, was %v", after, before)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := root.LogStatus(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: got %v, want %v", err, context.Canceled)
	}
}

func TestReplicaStatus(t *testing.T) {
	needs.Server(t)
	s := mysqldtest.Start(t)
	s.Exec("CHANGE REPLICATION SOURCE TO SOURCE_HOST='db.example', SOURCE_LOG_FILE='binlog.000007', SOURCE_LOG_POS=1234 FOR CHANNEL 'c1'")
	root := connect(t, server.Config{Socket: s.Socket, User: "root"})
	channels, err := root.ReplicaStatus(t.Context())
	if err != nil || len(channels) != 1 {
		t.Fatalf("channels: got %+v, %v, want one", channels, err)
	}
	if err := server.SameChannels(nil, channels); err == nil {
		t.Error("a channel that log_status does not have: got no error")
	}
	if a := channels[0].Age; a.Sight != server.No || !a.Applied.IsZero() {
		t.Errorf("nothing was applied: got %+v", a)
	}
	if c := channels[0]; c.Name != "c1" || c.SourceHost != "db.example" || c.SourceLogFile != "binlog.000007" || c.SourceLogPos != 1234 || c.ApplierRunning {
		t.Errorf("channel: got %+v", c)
	}
	st, err := root.LogStatus(t.Context())
	if err := server.SameChannels(st.Channels, channels); err != nil {
		t.Error(err)
	}
	if err != nil || len(st.Channels) != 1 || st.Channels[0].Name != "c1" || st.Channels[0].RelayLogFile == "" {
		t.Errorf("channels of log_status: got %+v, %v", st.Channels, err)
	}
}

func connect(t *testing.T, c server.Config) *server.Server {
	t.Helper()
	s, err := server.Connect(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}
