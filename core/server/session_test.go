package server_test

import (
	"context"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/remora-backup/remora/core/code"
	"github.com/remora-backup/remora/core/mysqld/mysqldtest"
	"github.com/remora-backup/remora/core/needs"
	"github.com/remora-backup/remora/core/server"
)

// Whatever the server makes of new sessions, ours are as they must be. What is set by init_connect holds for the
// accounts without CONNECTION_ADMIN, which a backup's is.
func TestSessionSettings(t *testing.T) {
	needs.Server(t)
	s := mysqldtest.Start(t)
	s.Exec("CREATE USER few@localhost", "GRANT BACKUP_ADMIN, PROCESS, SHOW DATABASES, REPLICATION CLIENT ON *.* TO few@localhost",
		"GRANT SELECT ON performance_schema.log_status TO few@localhost",
		"CREATE DATABASE a", "CREATE DATABASE `größe`", "CREATE TABLE a.t (i INT)", "CREATE TABLE a.u (i INT)")
	for _, odd := range []string{
		"sql_select_limit=1", "sql_select_limit=0", "max_execution_time=1", "max_join_size=1", "sql_big_selects=0",
		"autocommit=0", "completion_type=CHAIN", "completion_type='RELEASE'", "time_zone='-11:00'", "max_sort_length=4",
		"sql_mode='ANSI_QUOTES,PIPES_AS_CONCAT,NO_BACKSLASH_ESCAPES,HIGH_NOT_PRECEDENCE'", "sql_mode='PAD_CHAR_TO_FULL_LENGTH'",
		"transaction_isolation='SERIALIZABLE'", "transaction_isolation='READ-UNCOMMITTED'", "transaction_read_only=1",
		"lock_wait_timeout=1", "innodb_lock_wait_timeout=1", "net_read_timeout=1", "net_write_timeout=1", "wait_timeout=1",
		"sql_safe_updates=1", "information_schema_stats_expiry=86400", "group_concat_max_len=4", "sql_buffer_result=1",
		"character_set_client=latin1", "character_set_results=latin1", "collation_connection=latin1_german1_ci",
	} {
		t.Run(odd, func(t *testing.T) {
			name, _, _ := strings.Cut(odd, "=")
			s.Exec("SET GLOBAL " + odd)
			testSettled(t, s)
			s.Exec("SET GLOBAL "+name+" = DEFAULT", `SET GLOBAL init_connect = "SET `+odd+`"`)
			testSettled(t, s)
			s.Exec("SET GLOBAL init_connect = ''")
		})
	}
	for _, odd := range []string{
		"BEGIN", "SET autocommit=0; SELECT COUNT(*) FROM information_schema.INNODB_TABLESPACES_BRIEF", "SET timestamp=1", "SET NAMES latin1", "SET character_set_results=NULL",
		"SET completion_type='CHAIN'; START TRANSACTION WITH CONSISTENT SNAPSHOT",
	} {
		t.Run(odd, func(t *testing.T) {
			s.Exec(`SET GLOBAL init_connect = "` + odd + `"`)
			testSettled(t, s)
			s.Exec("SET GLOBAL init_connect = ''")
		})
	}
	s.Exec(`SET GLOBAL init_connect = "SELECT * FROM a.nothing"`)
	if _, err := server.Connect(t.Context(), server.Config{Socket: s.Socket, User: "few"}); code.Of(err) != code.ServerGone || !strings.Contains(err.Error(), "init_connect") {
		t.Errorf("init_connect fails: got %v (code %d), want an error that names it", err, code.Of(err))
	}
}

// testSettled makes sure that what is asked is answered whole and as of now, over a pool's several sessions.
func testSettled(t *testing.T, s *mysqldtest.Server) {
	t.Helper()
	few := connect(t, server.Config{Socket: s.Socket, User: "few"})
	if got, err := few.Databases(t.Context()); err != nil || !slices.Equal(got, []string{"a", "größe"}) {
		t.Errorf("databases: got %q, %v", got, err)
	}
	s.Exec("CREATE TABLE a.new (i INT)")
	got, err := few.TablespacePaths(t.Context())
	if err != nil || !slices.ContainsFunc(got, func(p server.TablespacePath) bool { return p.Name == "a/new" }) || len(got) < 6 {
		t.Errorf("tablespaces: got %v, %v; want all, with the newest", got, err)
	}
	s.Exec("DROP TABLE a.new")
	odd := s.QueryString(`SELECT GROUP_CONCAT(VARIABLE_NAME, '=', VARIABLE_VALUE) FROM performance_schema.variables_by_thread
		JOIN performance_schema.threads USING (THREAD_ID) WHERE PROCESSLIST_USER = 'few' AND (VARIABLE_NAME, VARIABLE_VALUE) IN
		(('autocommit', 'OFF'), ('transaction_isolation', 'SERIALIZABLE'), ('transaction_isolation', 'READ-UNCOMMITTED'), ('lock_wait_timeout', '1'), ('innodb_lock_wait_timeout', '1'), ('net_read_timeout', '1'), ('net_write_timeout', '1'), ('wait_timeout', '1'),
		('transaction_read_only', 'ON'), ('max_join_size', '1'), ('sql_big_selects', 'OFF'), ('max_sort_length', '4'), ('group_concat_max_len', '4'),
		('information_schema_stats_expiry', '86400'), ('sql_buffer_result', 'ON'), ('completion_type', 'CHAIN'), ('completion_type', 'RELEASE')) OR PROCESSLIST_USER = 'few' AND VARIABLE_NAME = 'sql_mode' AND VARIABLE_VALUE <> 'STRICT_ALL_TABLES'`)
	if odd != "" {
		t.Errorf("the session has %s", odd)
	}
	if err := few.SameServer(t.Context()); err != nil {
		t.Error(err)
	}
	a, err := few.Altered(t.Context())
	if now := s.QueryString("SELECT UTC_TIMESTAMP(6)"); err != nil || a.At[:14] != now[:14] {
		t.Errorf("the server's clock: got %v, %v; want about %s", a, err, now)
	}
}

func TestSettingRefused(t *testing.T) {
	needs.Server(t)
	s := mysqldtest.Start(t)
	db, _, err := server.Open(server.Config{Socket: s.Socket, User: "root"})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	conn, err := db.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	// One that the server corrects, and one that it refuses.
	s.Exec("SET GLOBAL max_execution_time = 0")
	for _, v := range []server.Setting{{"net_read_timeout", "31536001"}, {"sql_mode", "NO_SUCH_MODE"}} {
		err := server.Adjust(t.Context(), conn, v)
		if err == nil || !strings.Contains(err.Error(), v.Name) {
			t.Errorf("%v: got %v, want an error that names it", v, err)
		}
	}
	if err := server.Adjust(t.Context(), conn, server.Setting{Name: "wait_timeout", Value: "7"}); err != nil {
		t.Error(err)
	}
}

// splitter leads every second connection to the second server.
func splitter(t *testing.T, ports ...int) int {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for n := 0; ; n++ {
			from, err := l.Accept()
			if err != nil {
				return
			}
			go lead(t.Context(), from, ports[n%len(ports)])
		}
	}()
	return l.Addr().(*net.TCPAddr).Port
}

func lead(ctx context.Context, from net.Conn, port int) {
	defer from.Close()
	to, err := (&net.Dialer{}).DialContext(ctx, "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil {
		return
	}
	defer to.Close()
	go func() {
		_, _ = io.Copy(to, from)
		_ = to.(*net.TCPConn).CloseWrite()
	}()
	_, _ = io.Copy(from, to)
}

func TestTwoServers(t *testing.T) {
	needs.Server(t)
	a, b := mysqldtest.Start(t, mysqldtest.TCP()), mysqldtest.Start(t, mysqldtest.TCP())
	port := splitter(t, a.Port, b.Port)
	both := connect(t, server.Config{Host: "127.0.0.1", Port: port, User: "root"})
	c, err := both.RegisterConsumer(t.Context()) // keeps the first connection
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close(context.Background()) }()
	err = both.SameServer(t.Context())
	for _, s := range []*mysqldtest.Server{a, b} {
		if uuid := s.QueryString("SELECT @@server_uuid"); err == nil || !strings.Contains(err.Error(), uuid) {
			t.Errorf("got %v, want an error that names %s", err, uuid)
		}
	}
	if code.Of(err) != code.ServerGone || !strings.Contains(code.HintOf(err), "one server") {
		t.Errorf("got code %d, hint %q", code.Of(err), code.HintOf(err))
	}
	if err := both.SameServer(t.Context()); err != nil {
		t.Errorf("the next connection leads to the first server: got %v", err)
	}
}
