package lab

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
)

// Checksums returns CHECKSUM TABLE of every table of the user's schemas, keyed by `schema`.`table`. Nothing
// should write meanwhile.
func Checksums(ctx context.Context, db *sql.DB) (map[string]string, error) {
	rows, err := db.QueryContext(ctx, `SELECT table_schema, table_name FROM information_schema.tables
		WHERE table_type = 'BASE TABLE' AND table_schema NOT IN ('mysql', 'sys', 'performance_schema', 'information_schema')`)
	if err != nil {
		return nil, fmt.Errorf("list the tables: %w", err)
	}
	defer rows.Close()
	var names []string
	for rows.Next() {
		var schema, table string
		if err := rows.Scan(&schema, &table); err != nil {
			return nil, fmt.Errorf("list the tables: %w", err)
		}
		names = append(names, Quote(schema)+"."+Quote(table))
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("list the tables: %w", err)
	}
	sums := make(map[string]string)
	for _, name := range names {
		var reported string
		var sum sql.NullString // NULL when the table cannot be read
		if err := db.QueryRowContext(ctx, "CHECKSUM TABLE "+name).Scan(&reported, &sum); err != nil {
			return nil, fmt.Errorf("checksum %s: %w", name, err)
		}
		if !sum.Valid {
			return nil, fmt.Errorf("checksum %s: the server cannot read the table", name)
		}
		sums[name] = sum.String
	}
	return sums, nil
}

// Quote returns an identifier in backquotes.
func Quote(name string) string { return "`" + strings.ReplaceAll(name, "`", "``") + "`" }

// CatchUp makes replica a replica of source, from a position in the source's binary log on, waits until it has
// applied everything the source had written when CatchUp was called, and stops replicating. Any replication
// error is returned. source must listen on TCP; ctx bounds the wait.
func CatchUp(ctx context.Context, source, replica *Server, file string, pos uint64) error {
	endFile, endPos, err := source.Position(ctx)
	if err != nil {
		return err
	}
	if file > endFile || file == endFile && pos > endPos {
		return fmt.Errorf("replicate: %s:%d lies behind the end of the source's binary log, %s:%d", file, pos, endFile, endPos)
	}
	if err := replica.follow(ctx, source, file, pos, ""); err != nil {
		return err
	}
	for {
		var waited sql.NullInt64 // NULL: the applier does not run; -1: not yet there
		err := replica.db.QueryRowContext(ctx, "SELECT SOURCE_POS_WAIT(?, ?, 1)", endFile, endPos).Scan(&waited)
		if err != nil {
			return fmt.Errorf("replicate up to %s:%d: %w", endFile, endPos, err)
		}
		if err := replica.replicationError(ctx); err != nil {
			return fmt.Errorf("replicate from %s:%d up to %s:%d: %w", file, pos, endFile, endPos, err)
		}
		if waited.Valid && waited.Int64 >= 0 {
			return replica.Exec(ctx, "STOP REPLICA")
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("replicate up to %s:%d: %w", endFile, endPos, ctx.Err())
		case <-time.After(20 * time.Millisecond): // after NULL, which comes at once
		}
	}
}

// ReplicateUntil makes an empty server what source was at a position of its binary log, by replaying that from its
// first event on. ctx bounds the wait.
func ReplicateUntil(ctx context.Context, source, replica *Server, file string, pos uint64) error {
	until := fmt.Sprintf(" UNTIL SOURCE_LOG_FILE='%s', SOURCE_LOG_POS=%d", file, pos)
	if err := replica.follow(ctx, source, "", 4, until); err != nil {
		return err
	}
	for {
		var applying string
		err := replica.db.QueryRowContext(ctx, "SELECT SERVICE_STATE FROM performance_schema.replication_applier_status").Scan(&applying)
		if err == nil {
			err = replica.replicationError(ctx)
		}
		if err != nil {
			return fmt.Errorf("replicate until %s:%d: %w", file, pos, err)
		}
		if applying == "OFF" {
			return replica.Exec(ctx, "STOP REPLICA")
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("replicate until %s:%d: %w", file, pos, ctx.Err())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// follow starts replication from a position of the source's binary log on; the file "" is the first.
func (s *Server) follow(ctx context.Context, source *Server, file string, pos uint64, until string) error {
	if source.Port == 0 {
		return errors.New("replicate: the source does not listen on TCP")
	}
	err := s.Exec(ctx, "STOP REPLICA", "RESET REPLICA ALL", fmt.Sprintf(
		`CHANGE REPLICATION SOURCE TO SOURCE_HOST='127.0.0.1', SOURCE_PORT=%d, SOURCE_USER='root', GET_SOURCE_PUBLIC_KEY=1,
		SOURCE_LOG_FILE='%s', SOURCE_LOG_POS=%d, SOURCE_AUTO_POSITION=0, SOURCE_CONNECT_RETRY=1,
		SOURCE_HEARTBEAT_PERIOD=0.2`, // the source's thread notices soon that we are gone
		source.Port, file, pos), "START REPLICA"+until)
	if err != nil {
		return fmt.Errorf("replicate: %w", err)
	}
	return nil
}

// replicationError returns what stopped one of the replica's threads.
func (s *Server) replicationError(ctx context.Context) error {
	for _, table := range []string{"replication_connection_status", "replication_applier_status_by_coordinator", "replication_applier_status_by_worker"} {
		var number int
		var text string
		err := s.db.QueryRowContext(ctx, "SELECT LAST_ERROR_NUMBER, LAST_ERROR_MESSAGE FROM performance_schema."+table+
			" WHERE LAST_ERROR_NUMBER <> 0 LIMIT 1").Scan(&number, &text)
		if err == nil {
			return fmt.Errorf("error %d: %s", number, text)
		}
		if !errors.Is(err, sql.ErrNoRows) {
			return fmt.Errorf("read %s: %w", table, err)
		}
	}
	return nil
}

// Position returns where the server's binary log ends now.
func (s *Server) Position(ctx context.Context) (file string, pos uint64, err error) {
	var local string
	if err := s.db.QueryRowContext(ctx, "SELECT local FROM performance_schema.log_status").Scan(&local); err != nil {
		return "", 0, fmt.Errorf("read the binary log position: %w", err)
	}
	var status struct {
		File     string `json:"binary_log_file"`
		Position uint64 `json:"binary_log_position"`
	}
	if err := json.Unmarshal([]byte(local), &status); err != nil {
		return "", 0, fmt.Errorf("read the binary log position: %w", err)
	}
	return status.File, status.Position, nil
}
