package server_test

import (
	"testing"

	"github.com/remora-backup/remora/core/mysqld/mysqldtest"
	"github.com/remora-backup/remora/core/needs"
	"github.com/remora-backup/remora/core/server"
)

// TestRole asks with an account that may see no group: there is none.
func TestRole(t *testing.T) {
	needs.Server(t)
	s := mysqldtest.Start(t)
	s.Exec("CREATE USER few@localhost", "GRANT REPLICATION CLIENT ON *.* TO few@localhost")
	few := connect(t, server.Config{Socket: s.Socket, User: "few"})
	for _, c := range []struct {
		do   string
		want server.Role
	}{
		{"DO 0", server.Role{Primary: true, Text: "primary"}},
		{"CHANGE REPLICATION SOURCE TO SOURCE_HOST='127.0.0.1', SOURCE_PORT=1, SOURCE_USER='root'", server.Role{Primary: true, Text: "primary"}},
		{"SET GLOBAL read_only = ON", server.Role{Replica: true, Text: "replica of 127.0.0.1:1"}},
		{"SET GLOBAL read_only = OFF", server.Role{Primary: true, Text: "primary"}},
		{"START REPLICA SQL_THREAD", server.Role{Replica: true, Text: "replica of 127.0.0.1:1"}},
	} {
		s.Exec(c.do)
		if got, err := few.Role(t.Context()); err != nil || got != c.want {
			t.Errorf("after %s: got %+v, %v, want %+v", c.do, got, err, c.want)
		}
	}
}
