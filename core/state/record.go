package state

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/remora-backup/remora/core/run"
)

// Begin records that an operation is about to start, before it takes anything. Its
// State becomes Starting.
func (s *Store) Begin(ctx context.Context, o Operation) error {
	o.State = Starting
	if o.Started.IsZero() {
		o.Started = time.Now()
	}
	err := s.transact(ctx, func(tx *sql.Tx) error {
		if err := insert(ctx, tx, "backup_history", o.columns()); err != nil {
			return err
		}
		first := Progress{ID: o.ID, Time: o.Started, Event: run.KindStart, State: Starting}
		return insert(ctx, tx, "backup_progress", first.columns())
	})
	if err != nil {
		return fmt.Errorf("record the start of %s %s: %w", o.Operation, o.ID, s.explain(err))
	}
	return nil
}

// Describe changes facts about an operation that become known after Begin.
func (s *Store) Describe(ctx context.Context, id string, change func(*Operation)) error {
	err := s.transact(ctx, func(tx *sql.Tx) error { return update(ctx, tx, id, change) })
	if err != nil {
		return fmt.Errorf("record facts of %s: %w", id, err)
	}
	return nil
}

// Event records e; the Store is a run.Reader. A failure to record never disturbs the
// run: Err returns it afterwards.
func (s *Store) Event(ctx context.Context, e run.Event) {
	var odd error // a result that does not fit the columns: recorded as far as it does
	small := e.Kind == run.KindProgress || e.Kind == run.KindNote && !e.Destructive && e.LockConnection == 0
	commit := s.transact
	if small {
		commit = s.jot
	}
	err := commit(ctx, func(tx *sql.Tx) error {
		row := Progress{ID: e.ID, Seq: e.Seq, Time: e.Time, Event: e.Kind, State: stateOf(e), Phase: e.Phase, Percent: e.Percent, Message: e.Message}
		if err := insert(ctx, tx, "backup_progress", row.columns()); err != nil {
			return err
		}
		if small {
			return nil
		}
		return update(ctx, tx, e.ID, func(o *Operation) { odd = apply(o, e) })
	})
	err = cmp.Or(err, odd)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil && s.failed == nil {
		s.failed = fmt.Errorf("record event %d of %s: %w", e.Seq, e.ID, err)
	}
}

// Journal remembers, on disk when it returns nil, that the operation begins to change
// existing data; it is for run.Options.
func (s *Store) Journal(ctx context.Context, e run.Event) error {
	return s.Describe(ctx, e.ID, func(o *Operation) { o.Destructive = o.Destructive || e.Destructive })
}

// Err returns the first failure to record an event, or nil.
func (s *Store) Err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.failed
}

func stateOf(e run.Event) run.State {
	if e.Kind == run.KindEnd {
		return e.State
	}
	return Running
}

// apply changes the row as the event says.
func apply(o *Operation, e run.Event) error {
	working := e.Phase
	if slices.Contains([]string{run.PhaseCompleted, run.PhaseFailed, run.PhaseCancelled}, working) {
		working = o.Phase
	}
	switch e.Kind {
	case run.KindError:
		if len(o.Errors) == 0 {
			o.Error, o.Code = e.Error, e.Code
		}
		o.Errors = append(o.Errors, e.Error)
	case run.KindEnd:
		row := *o
		text, err := json.Marshal(e)
		if err == nil {
			err = json.Unmarshal(text, o)
		}
		o.ID, o.Operation, o.Started = row.ID, row.Operation, row.Started
		o.State, o.Ended, o.Phase = e.State, e.Time, working
		return err
	}
	o.State, o.Phase = Running, working
	o.Destructive = o.Destructive || e.Destructive
	if e.LockConnection != 0 {
		o.LockConnection = e.LockConnection
	}
	if len(e.Databases) > 0 {
		o.Databases = e.Databases
	}
	return nil
}

// MarkCrashed records the end of every operation that has none and returns them, oldest
// first. The end is taken to be the last sign of life. Only who holds the lock file may call it: nobody else can be running then.
func (s *Store) MarkCrashed(ctx context.Context) ([]Operation, error) {
	return s.markCrashed(ctx, func(Operation) bool { return true })
}

// MarkGone does the same for the operations with these ids, whose processes are known to be
// gone. It needs no lock file: an id is never used again, and what got its end meanwhile
// keeps it.
func (s *Store) MarkGone(ctx context.Context, ids []string) error {
	_, err := s.markCrashed(ctx, func(o Operation) bool { return slices.Contains(ids, o.ID) })
	return err
}

func (s *Store) markCrashed(ctx context.Context, which func(Operation) bool) ([]Operation, error) {
	var crashed []Operation
	err := s.transact(ctx, func(tx *sql.Tx) error {
		all, err := query(ctx, tx, "WHERE state IN (?, ?) ORDER BY started, rowid", Starting, Running)
		if err != nil {
			return err
		}
		for _, o := range all {
			if !which(o) {
				continue
			}
			if err := s.crash(ctx, tx, &o); err != nil {
				return err
			}
			crashed = append(crashed, o)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("record crashed operations: %w", err)
	}
	return crashed, nil
}

// Untidied returns the operations whose remains nobody has seen to yet, oldest first: those
// that crashed, and backups that could not remove what they had stored.
func (s *Store) Untidied(ctx context.Context) ([]Operation, error) {
	var all []Operation
	err := s.transact(ctx, func(tx *sql.Tx) (err error) {
		all, err = query(ctx, tx, "WHERE (state = ? OR operation = 'backup' AND leftovers IS NOT NULL) AND NOT tidied ORDER BY started, rowid", run.Crashed)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read crashed operations: %w", err)
	}
	return all, nil
}

func (s *Store) crash(ctx context.Context, tx *sql.Tx, o *Operation) error {
	text := o.Crash()
	row := Progress{ID: o.ID, Time: time.Now(), Event: run.KindEnd, State: run.Crashed, Phase: o.Phase, Message: text}
	last := tx.QueryRowContext(ctx, "SELECT seq + 1, time FROM backup_progress WHERE id = ? ORDER BY seq DESC LIMIT 1", o.ID)
	if err := last.Scan(&row.Seq, moment{&o.Ended}); err != nil { // Begin has written the first
		return err
	}
	if err := insert(ctx, tx, "backup_progress", row.columns()); err != nil {
		return err
	}
	return save(ctx, tx, o)
}

func insert(ctx context.Context, tx *sql.Tx, table string, cols []column) error {
	marks := strings.TrimSuffix(strings.Repeat("?, ", len(cols)), ", ")
	_, err := tx.ExecContext(ctx, fmt.Sprintf("INSERT INTO %s (%s) VALUES (%s)", table, names(cols), marks), values(cols)...)
	return err
}

func update(ctx context.Context, tx *sql.Tx, id string, change func(*Operation)) error {
	rows, err := query(ctx, tx, "WHERE id = ?", id)
	if err != nil {
		return err
	}
	if len(rows) == 0 {
		return fmt.Errorf("no operation %s", id)
	}
	change(&rows[0])
	return save(ctx, tx, &rows[0])
}

func save(ctx context.Context, tx *sql.Tx, o *Operation) error {
	cols := o.columns()
	marks := strings.ReplaceAll(names(cols), ", ", " = ?, ") + " = ?"
	_, err := tx.ExecContext(ctx, "UPDATE backup_history SET "+marks+" WHERE id = ?", append(values(cols), o.ID)...)
	return err
}
