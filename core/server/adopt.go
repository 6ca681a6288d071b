package server

import (
	"context"
	"fmt"
	"path/filepath"
)

// DataDir is the server's data directory, absolute.
func (s *Server) DataDir(ctx context.Context) (string, error) {
	var dir string
	if err := s.row(ctx, "SELECT @@GLOBAL.datadir", &dir); err != nil {
		return "", fmt.Errorf("read the data directory: %w", err)
	}
	return filepath.Clean(dir), nil
}

// Executed is what a server says it has executed, beside what it should have.
type Executed struct {
	Has     string // gtid_executed
	More    string // what it has and should not
	Missing string // what it should have and has not
}

// Executed compares gtid_executed with what it should be; the server does the arithmetic.
func (s *Server) Executed(ctx context.Context, should string) (Executed, error) {
	var e Executed
	const query = "SELECT g.has, GTID_SUBTRACT(g.has, g.should), GTID_SUBTRACT(g.should, g.has) FROM (SELECT @@GLOBAL.gtid_executed AS has, ? AS should) AS g"
	err := s.rows(ctx, query, func(scan func(...any) error) error { return scan(&e.Has, &e.More, &e.Missing) }, should)
	if err != nil {
		return e, fmt.Errorf("compare the executed transactions: %w", err)
	}
	return e, nil
}

// Do carries out a statement that returns no rows.
func (s *Server) Do(ctx context.Context, statement string) error {
	ctx, cancel := patiently(ctx)
	defer cancel()
	if _, err := s.db.ExecContext(ctx, statement); err != nil {
		return fmt.Errorf("%s: %w", statement, classify(ctx, err))
	}
	return nil
}

// Quiet is what keeps a server from writing.
type Quiet struct {
	ReadOnly  bool              // read_only or super_read_only
	Persisted map[string]string // the variables of mysqld-auto.cnf
}

// Quiet asks for it. It needs SELECT on performance_schema.persisted_variables.
func (s *Server) Quiet(ctx context.Context) (Quiet, error) {
	q := Quiet{Persisted: map[string]string{}}
	if err := s.row(ctx, "SELECT @@GLOBAL.read_only OR @@GLOBAL.super_read_only", &q.ReadOnly); err != nil {
		return q, fmt.Errorf("read whether the server takes writes: %w", err)
	}
	err := s.rows(ctx, "SELECT VARIABLE_NAME, VARIABLE_VALUE FROM performance_schema.persisted_variables", func(scan func(...any) error) error {
		var name, value string
		if err := scan(&name, &value); err != nil {
			return err
		}
		q.Persisted[name] = value
		return nil
	})
	if err != nil {
		return q, fmt.Errorf("read the persisted variables: %w", err)
	}
	return q, nil
}
