package mysqldtest_test

import (
	"maps"
	"os"
	"path/filepath"
	"testing"

	"github.com/remora-backup/remora/core/mysqld/lab"
	"github.com/remora-backup/remora/core/mysqld/mysqldtest"
	"github.com/remora-backup/remora/core/needs"
)

func TestReplicaEqualsSource(t *testing.T) {
	needs.Server(t)
	source := mysqldtest.Start(t, mysqldtest.TCP())
	source.Exec("CREATE DATABASE `a b`", "CREATE TABLE `a b`.`t``1` (id INT PRIMARY KEY, v TEXT)")
	file, pos := source.Position()
	source.Stop()

	copied := t.TempDir() + "/data"
	if err := lab.CopyDir(t.Context(), source.Dir, copied); err != nil {
		t.Fatal(err)
	}
	source.Restart()
	source.Exec("INSERT INTO `a b`.`t``1` VALUES (1, 'x'), (2, 'y')", "FLUSH BINARY LOGS", "DELETE FROM `a b`.`t``1` WHERE id = 2")

	if err := os.Remove(filepath.Join(copied, "auto.cnf")); err != nil {
		t.Fatal(err)
	}
	replica := mysqldtest.StartDir(t, copied)
	mysqldtest.CatchUp(t, source, replica, file, pos)
	want, err := mysqldtest.Checksums(source.DB())
	if err != nil {
		t.Fatal(err)
	}
	got, err := mysqldtest.Checksums(replica.DB())
	if err != nil {
		t.Fatal(err)
	}
	if len(want) != 1 || !maps.Equal(got, want) {
		t.Errorf("checksums of the replica: got %v, want %v", got, want)
	}
}

func TestKillAndRestart(t *testing.T) {
	needs.Server(t)
	s := mysqldtest.Start(t)
	s.Exec("CREATE DATABASE d", "CREATE TABLE d.t (id INT PRIMARY KEY)", "INSERT INTO d.t VALUES (7)")
	before := s.Pid()
	s.Kill()
	s.Restart()
	if s.Pid() == before {
		t.Errorf("process id after a restart: got %d again", before)
	}
	if got := s.QueryString("SELECT id FROM d.t"); got != "7" {
		t.Errorf("row after a kill: got %q, want 7", got)
	}
}

func TestCatchUpReportsErrors(t *testing.T) {
	needs.Server(t)
	source := mysqldtest.Start(t, mysqldtest.TCP())
	replica := mysqldtest.Start(t)
	source.Exec("CREATE DATABASE d", "CREATE TABLE d.t (id INT PRIMARY KEY)")
	file, pos := source.Position()
	source.Exec("INSERT INTO d.t VALUES (1)") // the replica has no such table
	if err := lab.CatchUp(t.Context(), source.Server, replica.Server, file, pos); err == nil {
		t.Error("replicating into a missing table: got no error")
	}
	if err := lab.CatchUp(t.Context(), source.Server, replica.Server, "binlog.999999", 4); err == nil {
		t.Error("replicating from behind the source's end: got no error")
	}
	if err := lab.CatchUp(t.Context(), source.Server, replica.Server, "binlog.000000", 4); err == nil {
		t.Error("replicating from a missing binary log: got no error")
	}
}
