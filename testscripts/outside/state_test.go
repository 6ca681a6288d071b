package outside

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/remora-backup/remora/core/mysqld/lab"
)

// state is what a server holds, by a name for each thing.
type state map[string]string

// ours are tables in the server's own schemas that are not its own.
const ours = "(table_schema NOT IN ('mysql', 'sys', 'performance_schema', 'information_schema') OR table_name LIKE 'audit%')"

// directories are left out of definitions: what lay outside lies within, restored.
var directories = regexp.MustCompile(`\s*(/\*!50100 )?(DATA|INDEX) DIRECTORY ?= ?'[^']*'( \*/)?`)

// stateOf reads everything but the noise. An error in one thing is its state.
func stateOf(ctx context.Context, c *sql.Conn) (state, error) {
	st := state{}
	var tables, accounts [][]string
	err := errors.Join(
		rows(ctx, c, "SELECT table_schema, table_name, engine FROM information_schema.tables WHERE table_type = 'BASE TABLE' AND table_schema <> 'outside_noise' AND "+ours, func(r []string) { tables = append(tables, r) }),
		rows(ctx, c, "SELECT table_schema, table_name, view_definition, definer FROM information_schema.views WHERE table_schema <> 'sys'", st.add("view", 2)),
		rows(ctx, c, "SELECT routine_schema, routine_name, routine_type, routine_definition, sql_mode FROM information_schema.routines WHERE routine_schema <> 'sys'", st.add("routine", 2)),
		rows(ctx, c, "SELECT trigger_schema, trigger_name, action_statement FROM information_schema.triggers WHERE trigger_schema <> 'sys'", st.add("trigger", 2)),
		rows(ctx, c, "SELECT event_schema, event_name, event_definition, interval_value FROM information_schema.events", st.add("event", 2)),
		rows(ctx, c, "SELECT schema_name, default_character_set_name FROM information_schema.schemata", st.add("schema", 1)),
		rows(ctx, c, "SELECT user, host, plugin, authentication_string, account_locked FROM mysql.user", func(r []string) { st.add("account", 2)(r); accounts = append(accounts, r[:2]) }),
	)
	if err != nil {
		return nil, err
	}
	for _, a := range accounts {
		name := fmt.Sprintf("'%s'@'%s'", a[0], a[1])
		var all []string
		if err := rows(ctx, c, "SHOW GRANTS FOR "+name, func(r []string) { all = append(all, r[0]) }); err != nil {
			all = append(all, err.Error())
		}
		st["grants "+name] = strings.Join(all, "; ")
	}
	for _, t := range tables {
		st.table(ctx, c, lab.Quote(t[0])+"."+lab.Quote(t[1]), t[2])
	}
	return st, nil
}

// add returns a function that keeps a row under its first n columns.
func (st state) add(kind string, n int) func([]string) {
	return func(r []string) { st[kind+" "+strings.Join(r[:n], ".")] = strings.Join(r[n:], " | ") }
}

// memory reports whether there is a MEMORY table.
func (st state) memory() bool {
	return strings.Contains(strings.Join(slices.Collect(maps.Values(st)), ""), "ENGINE=MEMORY")
}

// table keeps the definition, the checksum and what CHECK TABLE says. The rows of MEMORY tables
// end with the server.
func (st state) table(ctx context.Context, c *sql.Conn, name, engine string) {
	note := func(what string, column int, query string) {
		var value string
		err := rows(ctx, c, query, func(r []string) { value = r[column] }) // the last row decides
		if err != nil {
			value = err.Error()
		}
		st[what+" "+name] = directories.ReplaceAllString(value, "")
	}
	note("definition of", 1, "SHOW CREATE TABLE "+name)
	if engine == "MEMORY" {
		return
	}
	note("rows of", 0, "SELECT COUNT(*) FROM "+name)
	note("checksum of", 1, "CHECKSUM TABLE "+name)
	if engine != "BLACKHOLE" {
		note("check of", 3, "CHECK TABLE "+name)
	}
}
