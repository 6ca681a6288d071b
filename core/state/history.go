package state

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/remora-backup/remora/core/code"
)

// History returns the operations, newest first.
func (s *Store) History(ctx context.Context) ([]Operation, error) {
	all, err := query(ctx, s.db, "ORDER BY started DESC, rowid DESC")
	if err != nil {
		return nil, fmt.Errorf("read history: %w", err)
	}
	return all, nil
}

// Recent returns at most limit operations that were begun before the one called before, or the
// newest if that is empty, newest first. The error carries code.Usage if there is none of that
// name.
func (s *Store) Recent(ctx context.Context, limit int, before string) ([]Operation, error) {
	where, args := "ORDER BY started DESC, rowid DESC LIMIT ?", []any{limit}
	if before != "" {
		o, _, err := s.Show(ctx, before)
		if err != nil {
			return nil, err
		}
		where = "WHERE (started, rowid) < (SELECT started, rowid FROM backup_history WHERE id = ?) " + where
		args = []any{o.ID, limit}
	}
	all, err := query(ctx, s.db, where, args...)
	if err != nil {
		return nil, fmt.Errorf("read history: %w", err)
	}
	return all, nil
}

// Requested returns the operation that was asked for with that key, nil if none was.
func (s *Store) Requested(ctx context.Context, key string) (*Operation, error) {
	found, err := query(ctx, s.db, "WHERE request_key = ? ORDER BY started DESC, rowid DESC LIMIT 1", key)
	if err != nil || len(found) == 0 {
		return nil, err
	}
	return &found[0], nil
}

// Show returns the operation with that id, or the one that took the backup with that
// id, and its progress in order. The error carries code.Usage if there is none.
func (s *Store) Show(ctx context.Context, id string) (Operation, []Progress, error) {
	found, err := query(ctx, s.db, "WHERE id = ? OR (operation = 'backup' AND backup_id = ?) ORDER BY id = ? DESC LIMIT 1", id, id, id)
	if err != nil {
		return Operation{}, nil, fmt.Errorf("read operation %s: %w", id, err)
	}
	if len(found) == 0 {
		return Operation{}, nil, code.Hint(code.Usage, "remora history lists them", "no operation %s in the history", id)
	}
	rows, err := s.db.QueryContext(ctx, "SELECT "+names(new(Progress).columns())+" FROM backup_progress WHERE id = ? ORDER BY seq", found[0].ID)
	if err != nil {
		return Operation{}, nil, fmt.Errorf("read progress of %s: %w", id, err)
	}
	steps, err := scan(rows, func(p *Progress) []any { return values(p.columns()) })
	if err != nil {
		return Operation{}, nil, fmt.Errorf("read progress of %s: %w", id, err)
	}
	return found[0], steps, nil
}

type queryer interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

func query(ctx context.Context, q queryer, where string, args ...any) ([]Operation, error) {
	rows, err := q.QueryContext(ctx, "SELECT "+names(new(Operation).columns())+" FROM backup_history "+where, args...)
	if err != nil {
		return nil, err
	}
	return scan(rows, func(o *Operation) []any { return values(o.columns()) })
}

// scan reads all rows and closes them.
func scan[T any](rows *sql.Rows, into func(*T) []any) ([]T, error) {
	defer rows.Close()
	var all []T
	for rows.Next() {
		var one T
		if err := rows.Scan(into(&one)...); err != nil {
			return nil, err
		}
		all = append(all, one)
	}
	return all, rows.Err()
}
