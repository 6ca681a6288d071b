package server

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Channel is one replication channel of a replica. log_status has its positions of the moment; all else is
// ReplicaStatus's.
type Channel struct {
	Name          string // "" is the default channel
	RelayLogFile  string
	RelayLogPos   uint64
	SourceLogFile string // position in the source's binary log; log_status has these two on Percona Server only
	SourceLogPos  uint64

	SourceHost   string
	SourcePort   uint16
	SourceUUID   string // "" if it has never been connected
	AutoPosition bool
	Received     string // GTID sets: what has come into the relay log,
	Executed     string // and all that this server has executed

	Receiver, Applier Thread
	ApplierRunning    bool          // Applier.State is Yes
	Delay             time.Duration // configured
	Lag               time.Duration // what the server says of it, to the second; it is 0 too while nothing is received
	LagKnown          bool          // the server says none while a thread is stopped

	Age Age
}

// Thread is one side of a channel.
type Thread struct {
	State string // Yes, No, Connecting
	Errno int    // of the last error; 0: none
	Error string
}

// Age is how new the newest transaction is that a channel has applied.
type Age struct {
	// Applied is when it was committed at its origin, not at a server in between; zero if the server does not know:
	// it forgets when it, or the applier, is started anew. Then its binary log may tell
	// (original_commit_timestamp of the last transaction before the sync point), if log_replica_updates is on.
	Applied time.Time
	// Sight is Yes if Applied is known, No if the server does not know, Unseen without SELECT on
	// performance_schema.replication_applier_status_by_worker.
	Sight Sight
}

// ReplicaStatus returns the replication channels, none on a server that is no replica. It needs REPLICATION
// CLIENT. SHOW can be counted against nothing in itself; SameChannels holds it against log_status.
func (s *Server) ReplicaStatus(ctx context.Context) ([]Channel, error) {
	channels, err := s.showReplica(ctx)
	if err != nil {
		return nil, fmt.Errorf("read the replica's status: %w", err)
	}
	if len(channels) == 0 {
		return nil, nil
	}
	ages, err := s.ages(ctx)
	if err != nil {
		return nil, fmt.Errorf("read how far the replica has applied: %w", err)
	}
	for i, c := range channels {
		age, ok := ages[c.Name]
		switch {
		case ages == nil:
			age.Sight = Unseen
		case !ok, age.Applied.IsZero():
			age.Sight = No
		default:
			age.Sight = Yes
		}
		channels[i].Age = age
	}
	return channels, nil
}

func (s *Server) showReplica(ctx context.Context) ([]Channel, error) {
	ctx, cancel := patiently(ctx)
	defer cancel()
	rows, err := s.db.QueryContext(ctx, "SHOW REPLICA STATUS")
	if err != nil {
		return nil, classify(ctx, err)
	}
	defer rows.Close()
	columns, err := rows.Columns()
	if err != nil {
		return nil, classify(ctx, err)
	}
	var channels []Channel
	for rows.Next() {
		values := make([]string, len(columns))
		if err := rows.Scan(nullStrings(values)...); err != nil {
			return nil, classify(ctx, err)
		}
		c, err := channel(columns, values)
		if err != nil {
			return nil, err
		}
		channels = append(channels, c)
	}
	return channels, classify(ctx, rows.Err())
}

// ages returns the age of what each channel has applied, the newest of all its workers; nil if that may not be seen.
// Workers keep what they know when the applier is stopped.
func (s *Server) ages(ctx context.Context) (map[string]Age, error) {
	ages := make(map[string]Age)
	err := s.list(ctx, list{
		what: "the workers of the replication channels", columns: []string{"CHANNEL_NAME", "CAST(LAST_APPLIED_TRANSACTION_ORIGINAL_COMMIT_TIMESTAMP AS CHAR)"},
		from: "FROM performance_schema.replication_applier_status_by_worker",
	}, func(v []string) error {
		at, err := original(v[1])
		if old := ages[v[0]]; err == nil && !at.Before(old.Applied) {
			ages[v[0]] = Age{Applied: at}
		}
		return err
	})
	if errors.Is(err, ErrNotAllowed) {
		return nil, nil
	}
	return ages, err
}

// original reads a timestamp of the performance schema; our sessions are in UTC. What is not known is all zeros.
func original(s string) (time.Time, error) {
	if s == "" || strings.HasPrefix(s, "0000-00-00") {
		return time.Time{}, nil
	}
	return time.Parse("2006-01-02 15:04:05.999999", s)
}

// SameChannels makes sure that log_status and SHOW REPLICA STATUS, asked at about the same time, tell of the same
// channels: of one that either of them left out no position would be known. Those of group replication are shown
// by log_status only.
func SameChannels(positions, status []Channel) error {
	names := func(channels []Channel) map[string]bool {
		m := make(map[string]bool)
		for _, c := range channels {
			if !strings.HasPrefix(c.Name, "group_replication_") {
				m[c.Name] = true
			}
		}
		return m
	}
	a, b := names(positions), names(status)
	for name := range a {
		if !b[name] {
			return fmt.Errorf("the replication channel %q is in log_status, not in SHOW REPLICA STATUS", name)
		}
	}
	for name := range b {
		if !a[name] {
			return fmt.Errorf("the replication channel %q is in SHOW REPLICA STATUS, not in log_status", name)
		}
	}
	return nil
}

// channel reads a row of SHOW REPLICA STATUS. Columns exist under a new name, with "Source" and "Replica",
// and under an old one, with "Master" and "Slave"; a server has one of them.
func channel(columns, values []string) (Channel, error) {
	row := make(map[string]string, len(columns))
	for i, name := range columns {
		row[name] = values[i]
	}
	var bad error
	text := func(names ...string) string {
		for _, name := range names {
			if v, ok := row[name]; ok {
				return v
			}
		}
		bad = fmt.Errorf("no column %s", names[0])
		return ""
	}
	number := func(names ...string) uint64 {
		n, err := strconv.ParseUint(text(names...), 10, 64)
		if err != nil {
			bad = fmt.Errorf("%s: %w", names[0], err)
		}
		return n
	}
	c := Channel{
		Name:          text("Channel_Name"),
		RelayLogFile:  text("Relay_Log_File"),
		RelayLogPos:   number("Relay_Log_Pos"),
		SourceLogFile: text("Relay_Source_Log_File", "Relay_Master_Log_File"),
		SourceLogPos:  number("Exec_Source_Log_Pos", "Exec_Master_Log_Pos"),
		SourceHost:    text("Source_Host", "Master_Host"),
		SourcePort:    uint16(number("Source_Port", "Master_Port")),
		Received:      gtids(text("Retrieved_Gtid_Set")),
		Executed:      gtids(text("Executed_Gtid_Set")),
		Receiver:      Thread{text("Replica_IO_Running", "Slave_IO_Running"), int(number("Last_IO_Errno")), text("Last_IO_Error")},
		Applier:       Thread{text("Replica_SQL_Running", "Slave_SQL_Running"), int(number("Last_SQL_Errno")), text("Last_SQL_Error")},
		Delay:         time.Duration(number("SQL_Delay")) * time.Second,
		SourceUUID:    text("Source_UUID", "Master_UUID"),
		AutoPosition:  text("Auto_Position") == "1",
	}
	c.ApplierRunning = c.Applier.State == "Yes"
	if text("Seconds_Behind_Source", "Seconds_Behind_Master") != "" { // NULL otherwise
		c.Lag, c.LagKnown = time.Duration(number("Seconds_Behind_Source", "Seconds_Behind_Master"))*time.Second, true
	}
	return c, bad
}

// gtids makes one line of a set.
func gtids(set string) string { return strings.ReplaceAll(set, "\n", "") }
