package server

import (
	"reflect"
	"slices"
	"testing"
	"time"
)

func TestParseLogStatus(t *testing.T) {
	const innodb = `{"InnoDB": {"LSN": 20, "LSN_checkpoint": 10}}`
	base := LogStatus{LSN: 20, Checkpoint: 10}
	for _, c := range []struct {
		name, local, replication, engines string
		want                              LogStatus
		bad                               bool
	}{
		{name: "no binary log", local: `{}`, replication: `{"channels": []}`, engines: innodb, want: base},
		{name: "GTIDs over lines", local: `{"gtid_executed": "a:1-2,\nb:3", "binary_log_file": "b.000001", "binary_log_position": 158}`,
			replication: `{}`, engines: innodb,
			want: LogStatus{LSN: 20, Checkpoint: 10, BinlogFile: "b.000001", BinlogPosition: 158, GTIDExecuted: "a:1-2,b:3"}},
		{name: "Percona Server's channel", local: `{}`, engines: innodb, replication: `{"channels": [{"channel_name": "",
			"relay_log_file": "r.000002", "relay_log_position": 7, "relay_master_log_file": "m.000003", "exec_master_log_position": 9}]}`,
			want: LogStatus{LSN: 20, Checkpoint: 10, Channels: []Channel{{RelayLogFile: "r.000002", RelayLogPos: 7, SourceLogFile: "m.000003", SourceLogPos: 9}}}},
		{name: "the same in new words", local: `{}`, engines: innodb, replication: `{"channels": [{"channel_name": "x",
			"relay_source_log_file": "m.000003", "exec_source_log_position": 9}]}`,
			want: LogStatus{LSN: 20, Checkpoint: 10, Channels: []Channel{{Name: "x", SourceLogFile: "m.000003", SourceLogPos: 9}}}},
		{name: "another engine", local: `{}`, replication: `{}`, engines: `{"RocksDB": {"wal_files": []}, "InnoDB": {"LSN": 20, "LSN_checkpoint": 10}, "X": 1}`,
			want: LogStatus{LSN: 20, Checkpoint: 10, OtherEngines: []string{"RocksDB", "X"}}},
		{name: "no InnoDB", local: `{}`, replication: `{}`, engines: `{"RocksDB": {}}`, bad: true},
		{name: "LSN 0", local: `{}`, replication: `{}`, engines: `{"InnoDB": {}}`, bad: true},
		{name: "no JSON", local: ``, replication: `{}`, engines: innodb, bad: true},
	} {
		var got LogStatus
		err := got.parse([]byte(c.local), []byte(c.replication), []byte(c.engines))
		if (err != nil) != c.bad || !c.bad && !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: got %+v, %v, want %+v", c.name, got, err, c.want)
		}
	}
}

func TestChannelColumns(t *testing.T) {
	want := Channel{Name: "c", RelayLogFile: "r.1", RelayLogPos: 4, SourceLogFile: "b.2", SourceLogPos: 5, SourceHost: "h", SourcePort: 3307,
		SourceUUID: "u", AutoPosition: true, Received: "u:1-5", Executed: "u:1-4,v:1", Delay: time.Minute, Lag: 7 * time.Second, LagKnown: true,
		Receiver: Thread{State: "Connecting", Errno: 2003, Error: "no way"}, Applier: Thread{State: "Yes"}, ApplierRunning: true}
	values := []string{"c", "r.1", "4", "b.2", "5", "h", "3307", "u", "1", "u:1-5", "u:1-4,\nv:1", "60", "7", "Connecting", "2003", "no way", "Yes", "0", ""}
	same := []string{"Channel_Name", "Relay_Log_File", "Relay_Log_Pos"}
	for name, columns := range map[string][]string{
		"new": append(slices.Clip(same), "Relay_Source_Log_File", "Exec_Source_Log_Pos", "Source_Host", "Source_Port", "Source_UUID", "Auto_Position", "Retrieved_Gtid_Set", "Executed_Gtid_Set",
			"SQL_Delay", "Seconds_Behind_Source", "Replica_IO_Running", "Last_IO_Errno", "Last_IO_Error", "Replica_SQL_Running", "Last_SQL_Errno", "Last_SQL_Error"),
		"old": append(slices.Clip(same), "Relay_Master_Log_File", "Exec_Master_Log_Pos", "Master_Host", "Master_Port", "Master_UUID", "Auto_Position", "Retrieved_Gtid_Set", "Executed_Gtid_Set",
			"SQL_Delay", "Seconds_Behind_Master", "Slave_IO_Running", "Last_IO_Errno", "Last_IO_Error", "Slave_SQL_Running", "Last_SQL_Errno", "Last_SQL_Error"),
	} {
		if got, err := channel(columns, values); err != nil || got != want {
			t.Errorf("%s names: got %+v, %v, want %+v", name, got, err, want)
		}
		for i := range columns {
			if _, err := channel(slices.Delete(slices.Clone(columns), i, i+1), slices.Delete(slices.Clone(values), i, i+1)); err == nil {
				t.Errorf("%s names without %s: got no error", name, columns[i])
			}
		}
		values := slices.Clone(values)
		values[12] = "" // NULL
		if got, err := channel(columns, values); err != nil || got.LagKnown {
			t.Errorf("no lag: got %+v, %v", got, err)
		}
	}
}

func TestQuoteAccount(t *testing.T) {
	for in, want := range map[string]string{
		"remora@localhost": `'remora'@'localhost'`, "a@b@%": `'a@b'@'%'`, `o'n\e@h`: `'o''n\\e'@'h'`, "@localhost": `''@'localhost'`,
	} {
		if got := quoteAccount(in); got != want {
			t.Errorf("quoteAccount(%q): got %s, want %s", in, got, want)
		}
	}
}
