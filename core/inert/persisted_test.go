package inert

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/remora-backup/remora/core/code"
)

var now = time.Date(2026, 11, 20, 22, 15, 0, 0, time.UTC)

// As servers write them, shortened.
const (
	version2 = `{"Version": 2, "mysql_static_variables": {"skip_slave_start": {"Value": "OFF", "Metadata": {"Host": "localhost", "User": "root", "Timestamp": 1795656583577942}}, "skip_replica_start": {"Value": "OFF", "Metadata": {"Host": "localhost", "User": "root", "Timestamp": 1795656583577942}}}, "mysql_dynamic_variables": {"sql_mode": {"Value": "ANSI", "Metadata": {"Host": "localhost", "User": "root", "Timestamp": 1795656583894260}}}, "mysql_dynamic_parse_early_variables": {"max_connections": {"Value": "77", "Metadata": {"Host": "localhost", "User": "root", "Timestamp": 1795656583847396}}}, "mysql_sensitive_dynamic_variables": "sealed"}`
	version1 = `{ "Version" : 1 , "mysql_server" : { "super_read_only" : { "Value" : "ON" , "Metadata" : { "Timestamp" : 1795656583577942 , "User" : "root" , "Host" : "localhost" } }, "mysql_server_static_options" : { "innodb_log_buffer_size" : { "Value" : "33554432" , "Metadata" : { "Timestamp" : 1795656583577942 , "User" : "root" , "Host" : "localhost" } } } } }`
)

// values returns what the file persists, by group and name.
func values(t *testing.T, b []byte) map[string]string {
	t.Helper()
	f, err := parse(b)
	if err != nil {
		t.Fatalf("%s: %v", b, err)
	}
	all := map[string]string{}
	for group, vars := range f.groups {
		for name, raw := range vars {
			var e entry
			if err := json.Unmarshal(raw, &e); err != nil {
				t.Fatal(err)
			}
			all[group+"."+name] = e.Value
		}
	}
	return all
}

func TestQuietMergesAndRepeats(t *testing.T) {
	was := "OFF"
	quiet := []Setting{{Name: "super_read_only", Value: "ON"}, {Name: "read_only", Value: "ON"}, {Name: "event_scheduler", Value: "OFF"}, {Name: "skip_replica_start", Value: "ON", Was: &was}}
	set, _ := Inert.variables(nil)
	got, done, err := edit([]byte(version2), set, nil, now)
	if err != nil {
		t.Fatal(err)
	}
	if len(done) < len(quiet) || !reflect.DeepEqual(done[:len(quiet)], quiet) {
		t.Errorf("changed: got %+v, want %+v", done, quiet)
	}
	for name, want := range map[string]string{
		"mysql_dynamic_variables.super_read_only": "ON", "mysql_dynamic_variables.read_only": "ON", "mysql_dynamic_variables.event_scheduler": "OFF",
		"mysql_static_variables.skip_replica_start": "ON", "mysql_static_variables.skip_slave_start": "ON",
		"mysql_dynamic_variables.sql_mode": "ANSI", "mysql_dynamic_parse_early_variables.max_connections": "77",
	} {
		if v := values(t, got)[name]; v != want {
			t.Errorf("%s: got %q, want %q", name, v, want)
		}
	}
	if !strings.Contains(string(got), `"mysql_sensitive_dynamic_variables":"sealed"`) {
		t.Errorf("what is sealed is gone: %s", got)
	}
	again, done, err := edit(got, set, nil, now.Add(time.Hour))
	if err != nil || len(done) > 0 || string(again) != string(got) {
		t.Errorf("a second time: %+v changed, %v", done, err)
	}
}

func TestQuietVersion1(t *testing.T) {
	set, _ := Inert.variables([]string{""})
	got, _, err := edit([]byte(version1), set, nil, now)
	if err != nil {
		t.Fatal(err)
	}
	all := values(t, got)
	for name, want := range map[string]string{
		"mysql_server.super_read_only": "ON", "mysql_server.read_only": "ON", "mysql_server_static_options.skip_replica_start": "ON",
		"mysql_server_static_options.relay_log_recovery": "ON", "mysql_server_static_options.innodb_log_buffer_size": "33554432",
	} {
		if all[name] != want {
			t.Errorf("%s: got %q, want %q", name, all[name], want)
		}
	}
	if !strings.Contains(string(got), `"mysql_server":{`) || strings.Contains(string(got), dynamic) {
		t.Errorf("it is not of version 1 any more: %s", got)
	}
}

// A primary is ready for writes whatever its source had persisted.
func TestPrimaryDropsReadOnly(t *testing.T) {
	set, drop := Primary.variables([]string{"group_replication_applier"})
	got, done, err := edit([]byte(version1), set, drop, now)
	if err != nil {
		t.Fatal(err)
	}
	if _, there := values(t, got)["mysql_server.super_read_only"]; there {
		t.Errorf("it is still read only: %s", got)
	}
	on := "ON"
	if last := done[len(done)-1]; !reflect.DeepEqual(last, Setting{Name: "super_read_only", Was: &on}) {
		t.Errorf("changed: got %+v", done)
	}
}

func TestStatementsTakeBack(t *testing.T) {
	was := `it's`
	got := strings.Join(Statements([]Setting{{Name: "read_only", Value: "ON"}, {Name: "x", Value: "1", Was: &was}}), " ")
	if want := `RESET PERSIST IF EXISTS read_only; SET PERSIST_ONLY x = 'it''s';`; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestUnreadable(t *testing.T) {
	for _, text := range []string{"{", `{"Version": 3}`, `{"Version": 2, "mysql_static_variables": 7}`, `[]`} {
		if _, _, err := edit([]byte(text), nil, nil, now); code.Of(err) != code.Integrity {
			t.Errorf("%s: got %v, want code 19", text, err)
		}
	}
}
