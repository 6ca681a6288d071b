package server

import (
	"context"
	"strings"
	"testing"

	"github.com/remora-backup/remora/core/code"
	"github.com/remora-backup/remora/core/mysqld/mysqldtest"
	"github.com/remora-backup/remora/core/needs"
)

// A list is whole or an error, whatever cuts it.
func TestListIsWhole(t *testing.T) {
	needs.Server(t)
	m := mysqldtest.Start(t)
	m.Exec("CREATE DATABASE a", "CREATE TABLE a.t (i INT)", "CREATE TABLE a.u (i INT)")
	s, err := Connect(t.Context(), Config{Socket: m.Socket, User: "root"})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	s.db.SetMaxOpenConns(1) // what is set holds for what is asked
	lists := map[string]func(context.Context) (int, error){
		"databases":   func(ctx context.Context) (int, error) { l, err := s.Databases(ctx); return len(l), err },
		"paths":       func(ctx context.Context) (int, error) { l, err := s.TablespacePaths(ctx); return len(l), err },
		"tablespaces": func(ctx context.Context) (int, error) { l, err := s.Tablespaces(ctx); return len(l), err },
		"tables":      func(ctx context.Context) (int, error) { o, err := s.OtherTables(ctx); return len(o.Tables), err },
	}
	for _, limit := range []string{"DEFAULT", "0", "1"} {
		if _, err := s.db.ExecContext(t.Context(), "SET SESSION sql_select_limit = "+limit); err != nil {
			t.Fatal(err)
		}
		for name, ask := range lists {
			n, err := ask(t.Context())
			if limit == "DEFAULT" && (err != nil || n == 0 && name != "tables") {
				t.Errorf("%s: got %d, %v", name, n, err)
			}
			if limit != "DEFAULT" && (code.Of(err) != code.Version || !strings.Contains(err.Error(), "relied on")) {
				t.Errorf("%s, cut to %s: got %d, %v (code %d), want an error", name, limit, n, err, code.Of(err))
			}
		}
	}
	if _, err := s.db.ExecContext(t.Context(), "SET SESSION sql_select_limit = DEFAULT"); err != nil {
		t.Fatal(err)
	}
	s.first = &pin{first: Identity{UUID: "another"}}
	for name, ask := range lists {
		if n, err := ask(t.Context()); code.Of(err) != code.ServerGone || !strings.Contains(err.Error(), "another") {
			t.Errorf("%s, of another server: got %d, %v", name, n, err)
		}
	}
	if _, err := s.LogStatus(t.Context()); code.Of(err) != code.ServerGone || !strings.Contains(err.Error(), "another") {
		t.Errorf("log status of another server: got %v", err)
	}
}
