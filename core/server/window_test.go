package server_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/remora-backup/remora/core/code"
	"github.com/remora-backup/remora/core/mysqld/mysqldtest"
	"github.com/remora-backup/remora/core/needs"
	"github.com/remora-backup/remora/core/server"
)

// What is asked under the lock, by an account that may see everything and by one that may not.
func TestWindow(t *testing.T) {
	needs.Server(t)
	s := mysqldtest.Start(t)
	s.Exec("CREATE USER few@localhost", "GRANT BACKUP_ADMIN, PROCESS ON *.* TO few@localhost", "CREATE DATABASE `a b`", "CREATE TABLE `a b`.`größe` (i INT)",
		"CREATE TABLESPACE g ADD DATAFILE 'g.ibd'", "CREATE UNDO TABLESPACE u ADD DATAFILE 'u.ibu'")
	all, few := connect(t, server.Config{Socket: s.Socket, User: "root"}), connect(t, server.Config{Socket: s.Socket, User: "few"})

	spaces, err := few.TablespacePaths(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	paths := map[string]uint32{}
	for _, p := range spaces {
		paths[p.Path] = p.ID
	}
	for _, want := range []string{"./a@0020b/gr@1i@1je.ibd", "g.ibd", "u.ibu", "./undo_001", "./sys/sys_config.ibd"} {
		if paths[want] == 0 {
			t.Errorf("%s is not listed in %v", want, paths)
		}
	}

	conn, err := s.DB().Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	var id uint64
	if err := conn.QueryRowContext(t.Context(), "SELECT CONNECTION_ID()").Scan(&id); err != nil {
		t.Fatal(err)
	}
	see := func(who *server.Server, want server.Sight) {
		t.Helper()
		if got, err := who.HoldsBackupLock(t.Context(), id); err != nil || got != want {
			t.Errorf("lock: %v, %v; want %v", got, err, want)
		}
	}
	see(all, server.No)
	see(few, server.Unseen)
	if _, err := conn.ExecContext(t.Context(), "LOCK INSTANCE FOR BACKUP"); err != nil {
		t.Fatal(err)
	}
	see(all, server.Yes)
	if got, err := all.HoldsBackupLock(t.Context(), id+1); err != nil || got != server.No {
		t.Errorf("lock of another connection: %v, %v; want %v", got, err, server.No)
	}
	proveLocked(t, s, all, few, id)
	if _, err := conn.ExecContext(t.Context(), "UNLOCK INSTANCE"); err != nil {
		t.Fatal(err)
	}

	before, err := few.Altered(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	switched := func(who *server.Server, want server.Sight, count uint64) {
		t.Helper()
		now, err := who.Altered(t.Context())
		if err != nil || now.Count-before.Count != count {
			t.Errorf("altered: %v, %v; want %d more than %v", now, err, count, before)
		}
		if got, err := who.RedoSwitched(t.Context(), before, now); err != nil || got != want {
			t.Errorf("redo switched: %v, %v; want %v", got, err, want)
		}
	}
	switched(all, server.No, 0)
	switched(few, server.No, 0)
	s.Exec("ALTER INSTANCE RELOAD TLS")
	switched(all, server.No, 1)
	switched(few, server.Unseen, 1)
	s.Exec("SET GLOBAL log_error_verbosity = 1")
	switched(all, server.Unseen, 1)
	s.Exec("SET GLOBAL log_error_verbosity = 3", "SET GLOBAL log_error_suppression_list = 'MY-010001,MY-013601'")
	switched(all, server.Unseen, 1)
	s.Exec("SET GLOBAL log_error_suppression_list = 'MY-013601,MY-014088'", "ALTER INSTANCE DISABLE INNODB REDO_LOG")
	switched(few, server.Yes, 2)
	s.Exec("ALTER INSTANCE ENABLE INNODB REDO_LOG")
	switched(all, server.Unseen, 3)
	s.Exec("SET GLOBAL log_error_suppression_list = ''", "ALTER INSTANCE DISABLE INNODB REDO_LOG", "ALTER INSTANCE ENABLE INNODB REDO_LOG")
	switched(all, server.Yes, 5)
}

// proveLocked: connection id holds the lock, conn of this test does not.
func proveLocked(t *testing.T, s *mysqldtest.Server, all, few *server.Server, id uint64) {
	t.Helper()
	ours := all.First()
	mdl := "UPDATE performance_schema.setup_instruments SET ENABLED = '%s' WHERE NAME = 'wait/lock/metadata/sql/mdl'"
	for _, c := range []struct {
		name   string
		who    *server.Server
		holder server.Holder
		want   string // in the error; "": none
		hint   string
	}{
		{"seen", all, server.Holder{Connection: id}, "", ""},
		{"seen, and named", all, server.Holder{Connection: id, UUID: ours.UUID, Started: ours.Started}, "", ""},
		{"seen that it is not", all, server.Holder{Connection: id + 1, UUID: ours.UUID, Started: ours.Started}, "says that it does not", ""},
		{"another server", all, server.Holder{Connection: id, UUID: "b", Started: ours.Started}, "locked server b", "one server"},
		{"another life", all, server.Holder{Connection: id, UUID: ours.UUID, Started: ours.Started - 1}, "locked server " + ours.UUID, "one server"},
		{"unseen, but named", few, server.Holder{Connection: id, UUID: ours.UUID, Started: ours.Started}, "", ""},
		{"unseen, no such session", few, server.Holder{Connection: 1 << 30, UUID: ours.UUID, Started: ours.Started}, "no such connection", ""},
		{"unseen and not named", few, server.Holder{Connection: id}, "cannot be seen", "GRANT SELECT ON performance_schema.metadata_locks TO 'few'@'localhost';"},
		{"nothing said", all, server.Holder{}, "cannot be seen", "let the lock plugin say"},
	} {
		err := c.who.ProveLocked(t.Context(), c.holder)
		if c.want == "" {
			if err != nil {
				t.Errorf("%s: got %v", c.name, err)
			}
			continue
		}
		if code.Of(err) != code.Lock || !strings.Contains(err.Error(), c.want) || !strings.Contains(code.HintOf(err), c.hint) {
			t.Errorf("%s: got %v (code %d, hint %q), want %q and %q", c.name, err, code.Of(err), code.HintOf(err), c.want, c.hint)
		}
	}
	s.Exec(fmt.Sprintf(mdl, "NO"))
	if err := all.ProveLocked(t.Context(), server.Holder{Connection: id + 1}); !strings.Contains(code.HintOf(err), "setup_instruments") {
		t.Errorf("the instrument is off: got %v (hint %q)", err, code.HintOf(err))
	}
	s.Exec(fmt.Sprintf(mdl, "YES"))
}
