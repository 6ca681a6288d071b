package server

import (
	"reflect"
	"testing"
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
	want := Channel{Name: "c", RelayLogFile: "r.1", RelayLogPos: 4, SourceLogFile: "b.2", SourceLogPos: 5,
		SourceHost: "h", SourceUUID: "u", AutoPosition: true, ApplierRunning: true}
	values := []string{"c", "r.1", "4", "b.2", "5", "h", "u", "1", "Yes"}
	for name, columns := range map[string][]string{
		"new": {"Channel_Name", "Relay_Log_File", "Relay_Log_Pos", "Relay_Source_Log_File", "Exec_Source_Log_Pos", "Source_Host", "Source_UUID", "Auto_Position", "Replica_SQL_Running"},
		"old": {"Channel_Name", "Relay_Log_File", "Relay_Log_Pos", "Relay_Master_Log_File", "Exec_Master_Log_Pos", "Master_Host", "Master_UUID", "Auto_Position", "Slave_SQL_Running"},
	} {
		if got, err := channel(columns, values); err != nil || got != want {
			t.Errorf("%s names: got %+v, %v, want %+v", name, got, err, want)
		}
		if _, err := channel(columns[1:], values[1:]); err == nil {
			t.Errorf("%s names without the channel's: got no error", name)
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
