// Package state remembers operations in a directory on this host.
//
//	remora.db     SQLite: backup_history, one row per operation; backup_progress, one
//	              row per thing that happened; anybody allowed to may read it with sqlite3
//	remora.lock   held with flock(2) by the operation that runs; says who
//	remora.serve.lock   the same of the sidecar, as long as it lives
//
// The database is in WAL mode: a person who leaves a sqlite3 session open cannot keep
// the end of a backup from being recorded, and after kill -9 the next open replays what
// was committed. When nobody has it open it is one file again. All but percents and notes
// is synced to disk at once.
package state

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"sync"

	_ "modernc.org/sqlite" // the driver "sqlite", in Go alone: the binary stays static

	"github.com/remora-backup/remora/core/code"
)

// Store is the open database. It is safe for concurrent use.
type Store struct {
	db   *sql.DB
	path string

	mu     sync.Mutex
	failed error // the first event that could not be recorded
}

// Open opens the database in dir, creating both if needed (0700, 0600), and brings an
// older one up to date; a copy of it is kept beside as remora.db.v<N>. Errors carry
// code.StateNewer for one written by a newer remora, code.NoSpace for a full disk, and
// code.Unclassified with a hint for a file that is damaged. The caller closes the store.
func Open(ctx context.Context, dir string) (*Store, error) {
	return openSchema(ctx, dir, migrations())
}

func openSchema(ctx context.Context, dir string, migrations []string) (*Store, error) {
	path := filepath.Join(dir, "remora.db")
	if err := prepare(dir, path); err != nil {
		return nil, fmt.Errorf("open state: %w", err)
	}
	dsn := url.URL{Scheme: "file", Path: path, RawQuery: url.Values{
		"_pragma": {"busy_timeout(5000)", "journal_mode(WAL)", "foreign_keys(1)"},
		"_txlock": {"immediate"},
	}.Encode()}
	db, err := sql.Open("sqlite", dsn.String())
	if err != nil {
		return nil, fmt.Errorf("open state %s: %w", path, err)
	}
	db.SetMaxOpenConns(1) // one writer; pragmas belong to a connection
	s := &Store{db: db, path: path}
	if err := s.migrate(ctx, migrations); err != nil {
		db.Close()
		return nil, fmt.Errorf("open state %s: %w", path, s.explain(err))
	}
	return s, nil
}

// prepare makes the directory and the file private before SQLite sees them; it gives
// its own files the mode of the database.
func prepare(dir, path string) error {
	if err := makeDir(dir); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return refused(dir, err)
	}
	return f.Close()
}

func makeDir(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return refused(dir, err)
	}
	return nil
}

// refused gives the errors of the directory their code and remedy.
func refused(dir string, err error) error {
	if full := code.Full(err); code.Of(full) == code.NoSpace {
		return full
	}
	hint := fmt.Sprintf("make it writable, for example: install -d -m 0700 -o %d %s; or set [state] dir", os.Geteuid(), dir)
	return &code.Error{Code: code.Usage, Hint: hint, Err: err}
}

// explain adds what to do about a database that cannot be used.
func (s *Store) explain(err error) error {
	if code.Of(err) != code.Unclassified {
		return err
	}
	return &code.Error{Code: code.Unclassified, Err: err,
		Hint: fmt.Sprintf("if it is damaged, set it aside: mv %s %s.damaged; only the history is lost, no backup", s.path, s.path)}
}

// Close closes the database.
func (s *Store) Close() error {
	if err := s.db.Close(); err != nil {
		return fmt.Errorf("close state: %w", err)
	}
	return nil
}

// transact runs f within a transaction that is on disk when it returns nil.
func (s *Store) transact(ctx context.Context, f func(*sql.Tx) error) error {
	return s.commit(ctx, "FULL", f)
}

// jot runs f within a transaction that survives the end of this process, and reaches the
// disk with the next transact: nobody waits for a disk that a backup keeps busy because
// of a percent.
func (s *Store) jot(ctx context.Context, f func(*sql.Tx) error) error {
	return s.commit(ctx, "NORMAL", f)
}

func (s *Store) commit(ctx context.Context, synchronous string, f func(*sql.Tx) error) error {
	conn, err := s.db.Conn(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	if _, err := conn.ExecContext(ctx, "PRAGMA synchronous = "+synchronous); err != nil {
		return err
	}
	tx, err := conn.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	if err := f(tx); err != nil {
		return errors.Join(err, tx.Rollback())
	}
	return tx.Commit()
}
