package server

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/remora-backup/remora/core/code"
)

// LogStatus is where the server's logs were at one moment, consistently. Of the GTIDs one should rather
// trust the binary log itself: some servers add them to the set a moment after they have written them there.
type LogStatus struct {
	ServerUUID     string
	LSN            uint64 // end of the redo log, possibly not yet in the files
	Checkpoint     uint64 // LSN
	BinlogFile     string // base name; "" without a binary log
	BinlogPosition uint64 // bytes
	GTIDExecuted   string
	Channels       []Channel
	// OtherEngines are the engines besides InnoDB that have logs of their own, such as RocksDB: their data are in
	// files that no backup of ours holds.
	OtherEngines []string
}

// LogStatus reads performance_schema.log_status. The server stops its logs for the moment. That it is the server
// that Connect found, its own answer shows.
func (s *Server) LogStatus(ctx context.Context) (LogStatus, error) {
	var st LogStatus
	var local, replication, engines []byte
	err := s.row(ctx, "SELECT SERVER_UUID, LOCAL, REPLICATION, STORAGE_ENGINES FROM performance_schema.log_status",
		&st.ServerUUID, &local, &replication, &engines)
	if err == nil {
		err = st.parse(local, replication, engines)
	}
	if first := s.First(); err == nil && st.ServerUUID != first.UUID {
		err = code.Hint(code.ServerGone, oneServer, "connections reach two servers: %v, and %s", first, st.ServerUUID)
	}
	if err != nil {
		return LogStatus{}, fmt.Errorf("read log_status: %w", err)
	}
	return st, nil
}

// parse reads the three JSON columns. Keys are optional but for InnoDB's; Percona Server adds some, and a
// later version may spell them with "source" where they have "master" now.
func (st *LogStatus) parse(local, replication, engines []byte) error {
	var l struct {
		GTIDExecuted   string `json:"gtid_executed"`
		BinlogFile     string `json:"binary_log_file"`
		BinlogPosition uint64 `json:"binary_log_position"`
	}
	var r struct {
		Channels []struct {
			Name          string `json:"channel_name"`
			RelayLogFile  string `json:"relay_log_file"`
			RelayLogPos   uint64 `json:"relay_log_position"`
			MasterLogFile string `json:"relay_master_log_file"`
			MasterLogPos  uint64 `json:"exec_master_log_position"`
			SourceLogFile string `json:"relay_source_log_file"`
			SourceLogPos  uint64 `json:"exec_source_log_position"`
		} `json:"channels"`
	}
	var e struct {
		InnoDB *struct {
			LSN        uint64 `json:"LSN"`
			Checkpoint uint64 `json:"LSN_checkpoint"`
		} `json:"InnoDB"`
	}
	var all map[string]json.RawMessage
	for _, column := range []struct {
		name string
		json []byte
		into any
	}{{"LOCAL", local, &l}, {"REPLICATION", replication, &r}, {"STORAGE_ENGINES", engines, &e}, {"STORAGE_ENGINES", engines, &all}} {
		if err := json.Unmarshal(column.json, column.into); err != nil {
			return fmt.Errorf("parse %s: %w", column.name, err)
		}
	}
	if e.InnoDB == nil || e.InnoDB.LSN == 0 {
		return fmt.Errorf("parse STORAGE_ENGINES: no LSN of InnoDB in %s", engines)
	}
	for name := range all {
		if name != "InnoDB" {
			st.OtherEngines = append(st.OtherEngines, name)
		}
	}
	slices.Sort(st.OtherEngines)
	st.LSN, st.Checkpoint = e.InnoDB.LSN, e.InnoDB.Checkpoint
	st.BinlogFile, st.BinlogPosition = l.BinlogFile, l.BinlogPosition
	st.GTIDExecuted = strings.ReplaceAll(l.GTIDExecuted, "\n", "")
	for _, c := range r.Channels {
		st.Channels = append(st.Channels, Channel{
			Name: c.Name, RelayLogFile: c.RelayLogFile, RelayLogPos: c.RelayLogPos,
			SourceLogFile: c.SourceLogFile + c.MasterLogFile, // one of them is empty
			SourceLogPos:  c.SourceLogPos + c.MasterLogPos,
		})
	}
	return nil
}

// RedoNow is about where the redo log ends now, without stopping anything, and how much of it the server wants to
// keep at most. The server refreshes the LSN every now and then, so it may lag behind that of LogStatus; the capacity
// can be set at any moment.
func (s *Server) RedoNow(ctx context.Context) (lsn, capacity uint64, err error) {
	err = s.row(ctx, `SELECT CAST(VARIABLE_VALUE AS UNSIGNED), @@GLOBAL.innodb_redo_log_capacity FROM performance_schema.global_status
		WHERE VARIABLE_NAME = 'Innodb_redo_log_current_lsn'`, &lsn, &capacity)
	if err != nil {
		return 0, 0, fmt.Errorf("read the current LSN: %w", err)
	}
	return lsn, capacity, nil
}

// GTIDPurged is the set of what was executed and is in no binary log of the server any more.
func (s *Server) GTIDPurged(ctx context.Context) (string, error) {
	var set string
	if err := s.row(ctx, "SELECT @@GLOBAL.gtid_purged", &set); err != nil {
		return "", fmt.Errorf("read gtid_purged: %w", err)
	}
	return gtids(set), nil
}

// FlushEngineLogs makes the server write all its redo to the files now. It needs RELOAD: with ErrNotAllowed
// one can wait instead, the server writes it within about a second by itself.
func (s *Server) FlushEngineLogs(ctx context.Context) error {
	ctx, cancel := patiently(ctx)
	defer cancel()
	if _, err := s.db.ExecContext(ctx, "FLUSH NO_WRITE_TO_BINLOG ENGINE LOGS"); err != nil {
		return fmt.Errorf("flush the engine logs: %w", classify(ctx, err))
	}
	return nil
}
