package state

import (
	"context"
	"database/sql"
	"fmt"
	"os"

	"github.com/remora-backup/remora/core/code"
)

// migrations lead from each schema version to the next; their number is the version
// this binary writes, kept in user_version. A line that was released never changes.
//
// Times are UTC text, RFC 3339 with milliseconds; lists are JSON text; what is unknown
// is NULL.
func migrations() []string {
	return []string{`
CREATE TABLE backup_history (
	id              TEXT PRIMARY KEY,
	operation       TEXT NOT NULL,      -- backup or restore
	state           TEXT NOT NULL,      -- starting running complete complete_with_warnings error cancelled crashed
	phase           TEXT,               -- the last one that did work
	databases       TEXT,
	started         TEXT NOT NULL,
	vp_time         TEXT,               -- validity point: the moment the backup shows
	ended           TEXT,
	binlog_file     TEXT,
	binlog_position INTEGER,
	gtid_executed   TEXT,
	lsn             INTEGER,
	bytes           INTEGER,
	lock_ms         REAL,
	lock_wait_ms    REAL,
	code            INTEGER,            -- exit code
	error           TEXT,               -- the first error
	errors          TEXT,               -- all, in order of time
	interrupted_by  TEXT,
	destructive     INTEGER,            -- a restore had begun to change existing data
	leftovers       TEXT,
	target          TEXT,               -- of a restore
	backup_id       TEXT,               -- the backup taken or restored
	lock_connection INTEGER,            -- the session that held the server's lock last
	lock_pid        INTEGER,            -- of the process that had that session
	tidied          INTEGER,            -- what a crash left was removed
	pid             INTEGER,
	host            TEXT,
	remora_version  TEXT,
	server_version  TEXT,
	server_uuid     TEXT,
	plugins         TEXT
);
CREATE INDEX backup_history_started ON backup_history (started);
CREATE TABLE backup_progress (
	id              TEXT NOT NULL REFERENCES backup_history (id) ON DELETE CASCADE,
	seq             INTEGER NOT NULL,
	time            TEXT NOT NULL,
	event           TEXT NOT NULL,      -- start phase progress note warning error stall end
	state           TEXT,
	phase           TEXT,
	percent         INTEGER,            -- NULL outside of a phase's progress
	message         TEXT,
	PRIMARY KEY (id, seq)
);`, `
ALTER TABLE backup_history ADD COLUMN requested_by TEXT; -- NULL is the person at the command line
ALTER TABLE backup_history ADD COLUMN request_key TEXT;  -- the same request said twice has the same
ALTER TABLE backup_history ADD COLUMN request TEXT;      -- as JSON: with it the operation can be begun again`}
}

func (s *Store) migrate(ctx context.Context, migrations []string) error {
	have, err := s.version(ctx)
	if err != nil {
		return err
	}
	switch {
	case have > len(migrations):
		return code.Hint(code.StateNewer, "use the newer remora, or another [state] dir", "written by a newer remora: its schema is version %d, this binary knows %d", have, len(migrations))
	case have == len(migrations):
		return s.check(ctx)
	case have > 0:
		if err := s.keepCopy(ctx, have); err != nil {
			return err
		}
	}
	return s.transact(ctx, func(tx *sql.Tx) error {
		if err := tx.QueryRowContext(ctx, "PRAGMA user_version").Scan(&have); err != nil {
			return err
		}
		for v := have; v < len(migrations); v++ {
			if _, err := tx.ExecContext(ctx, migrations[v]); err != nil {
				return fmt.Errorf("migrate from version %d: %w", v, err)
			}
		}
		_, err := tx.ExecContext(ctx, fmt.Sprintf("PRAGMA user_version = %d", max(have, len(migrations))))
		return err
	})
}

func (s *Store) version(ctx context.Context) (int, error) {
	var v int
	err := s.db.QueryRowContext(ctx, "PRAGMA user_version").Scan(&v)
	return v, err
}

// check reads both tables' definitions and a row, which finds a file that was cut.
func (s *Store) check(ctx context.Context) error {
	var answer string
	if err := s.db.QueryRowContext(ctx, "PRAGMA quick_check(1)").Scan(&answer); err != nil {
		return err
	}
	if answer != "ok" {
		return fmt.Errorf("check: %s", answer)
	}
	return nil
}

// keepCopy writes the database beside itself before its schema changes.
func (s *Store) keepCopy(ctx context.Context, version int) error {
	kept := fmt.Sprintf("%s.v%d", s.path, version)
	if err := os.Remove(kept); err != nil && !os.IsNotExist(err) {
		return fmt.Errorf("keep a copy: %w", err)
	}
	f, err := os.OpenFile(kept, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("keep a copy: %w", err)
	}
	f.Close()
	if _, err := s.db.ExecContext(ctx, "VACUUM INTO ?", kept); err != nil {
		return fmt.Errorf("keep a copy as %s: %w", kept, err)
	}
	return nil
}
