package server_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/remora-backup/remora/core/mysqld/mysqldtest"
	"github.com/remora-backup/remora/core/needs"
	"github.com/remora-backup/remora/core/server"
)

// How old a replica's data are is known from what it has applied, also when it has stopped, and is not made up
// when the server has forgotten it.
func TestDataAge(t *testing.T) {
	needs.Server(t)
	source, replica := mysqldtest.Start(t, mysqldtest.TCP()), mysqldtest.Start(t)
	replica.Exec("CREATE USER few@localhost", "GRANT REPLICATION CLIENT ON *.* TO few@localhost")
	replica.Exec(fmt.Sprintf("CHANGE REPLICATION SOURCE TO SOURCE_HOST='127.0.0.1', SOURCE_PORT=%d, SOURCE_USER='root', SOURCE_SSL=1, SOURCE_AUTO_POSITION=1, SOURCE_DELAY=0 FOR CHANNEL 'c'", source.Port),
		"SET GLOBAL replica_parallel_workers = 3", "START REPLICA FOR CHANNEL 'c'")
	all := connect(t, server.Config{Socket: replica.Socket, User: "root"})
	status := func(who *server.Server) server.Channel {
		t.Helper()
		channels, err := who.ReplicaStatus(t.Context())
		if err != nil || len(channels) != 1 {
			t.Fatalf("channels: got %+v, %v, want one", channels, err)
		}
		return channels[0]
	}
	caughtUp := func() {
		t.Helper()
		set := source.QueryString("SELECT @@gtid_executed")
		if missed := replica.QueryString("SELECT WAIT_FOR_EXECUTED_GTID_SET(?, 100)", set); missed != "0" {
			t.Fatalf("the replica does not catch up: %+v", status(all))
		}
	}
	before, err := time.Parse(time.DateTime, source.QueryString("SELECT CAST(UTC_TIMESTAMP() AS CHAR)"))
	if err != nil {
		t.Fatal(err)
	}
	source.Exec("CREATE DATABASE d", "CREATE TABLE d.t (i INT PRIMARY KEY)", "INSERT INTO d.t VALUES (1)")
	caughtUp()
	c := status(all)
	for range 500 { // the worker's table follows a moment after the commit
		if c = status(all); c.Age.Applied.After(before) {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if c.Name != "c" || c.SourcePort != uint16(source.Port) || c.SourceUUID != source.QueryString("SELECT @@server_uuid") || !strings.HasPrefix(c.Received, c.SourceUUID) ||
		!strings.Contains(c.Executed, c.SourceUUID) || c.Receiver.State != "Yes" || c.Applier.State != "Yes" || !c.LagKnown || c.Delay != 0 {
		t.Errorf("running: got %+v", c)
	}
	if c.Age.Sight != server.Yes || c.Age.Applied.Before(before) || time.Since(c.Age.Applied) > time.Hour {
		t.Errorf("newest commit applied: got %+v, want it after %v", c.Age, before)
	}
	if few := status(connect(t, server.Config{Socket: replica.Socket, User: "few"})); few.Age.Sight != server.Unseen || few.Applier.State != "Yes" {
		t.Errorf("without SELECT on the workers: got %+v", few)
	}

	replica.Exec("STOP REPLICA SQL_THREAD FOR CHANNEL 'c'", "CHANGE REPLICATION SOURCE TO SOURCE_DELAY=3600 FOR CHANNEL 'c'")
	source.Exec("INSERT INTO d.t VALUES (2)")
	if s := status(all); s.Applier.State != "No" || s.ApplierRunning || s.LagKnown || s.Delay != time.Hour || s.Age.Sight != server.Yes && s.Age.Sight != server.No {
		t.Errorf("applier stopped: got %+v", s)
	}
	replica.Exec("CHANGE REPLICATION SOURCE TO SOURCE_DELAY=0 FOR CHANNEL 'c'", "START REPLICA SQL_THREAD FOR CHANNEL 'c'")
	caughtUp()
	replica.Exec("SET sql_log_bin = 0", "DELETE FROM d.t WHERE i = 2")
	source.Exec("DELETE FROM d.t WHERE i = 2")
	for range 1000 {
		if c = status(all); c.Applier.Errno != 0 {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if c.Applier.State != "No" || c.Applier.Errno == 0 || !strings.Contains(c.Applier.Error, "failed executing") {
		t.Errorf("applier broken: got %+v", c)
	}

	replica.Stop()
	replica.Restart()
	all = connect(t, server.Config{Socket: replica.Socket, User: "root"})
	replica.Exec("STOP REPLICA FOR CHANNEL 'c'")
	if s := status(all); s.Age.Sight != server.No || !s.Age.Applied.IsZero() {
		t.Errorf("after a restart: got %+v, want an age that is not known", s)
	}
}
