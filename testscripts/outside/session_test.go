package outside

import (
	"context"
	"database/sql"
	"fmt"
)

// known are the settings of a session, whatever the global ones are.
var known = []string{
	"SET NAMES utf8mb4",
	"SET autocommit = 1, completion_type = 0, transaction_isolation = 'REPEATABLE-READ', transaction_read_only = 0",
	"SET sql_select_limit = 18446744073709551615, max_join_size = 18446744073709551615, sql_big_selects = 1, max_execution_time = 0",
	"SET lock_wait_timeout = 60, innodb_lock_wait_timeout = 30, wait_timeout = 3000, group_concat_max_len = 1000000",
	"SET sql_mode = 'STRICT_TRANS_TABLES', time_zone = '+00:00', lc_messages = en_US, default_storage_engine = InnoDB, big_tables = 0",
	"SET sql_safe_updates = 0, foreign_key_checks = 1, sql_quote_show_create = 1, show_create_table_verbosity = 0, information_schema_stats_expiry = 0",
}

// session gives do a session whose settings are known.
func session(ctx context.Context, db *sql.DB, do func(*sql.Conn) error) error {
	c, err := db.Conn(ctx)
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	defer c.Close()
	for _, q := range known {
		if _, err := c.ExecContext(ctx, q); err != nil {
			return fmt.Errorf("%s: %w", q, err)
		}
	}
	return do(c)
}

// conn gives do a session of root's at the source.
func (w *world) conn(ctx context.Context, do func(*sql.Conn) error) error {
	return session(ctx, w.source.DB(), do)
}

// sql runs statements in one session at the source.
func (w *world) sql(ctx context.Context, list ...string) error {
	return w.conn(ctx, func(c *sql.Conn) error {
		for _, q := range list {
			if _, err := c.ExecContext(ctx, q); err != nil {
				return fmt.Errorf("%.300s: %w", q, err)
			}
		}
		return nil
	})
}

// rows gives do each row of a query as texts.
func rows(ctx context.Context, c *sql.Conn, query string, do func([]string)) error {
	list, err := c.QueryContext(ctx, query)
	if err != nil {
		return fmt.Errorf("%.200s: %w", query, err)
	}
	defer list.Close()
	columns, err := list.Columns()
	if err != nil {
		return err
	}
	for list.Next() {
		values, into := make([]sql.NullString, len(columns)), make([]any, len(columns))
		for i := range values {
			into[i] = &values[i]
		}
		if err := list.Scan(into...); err != nil {
			return err
		}
		texts := make([]string, len(columns))
		for i, v := range values {
			texts[i] = v.String
		}
		do(texts)
	}
	return list.Err()
}

// value is the last column of a query's only row.
func value(ctx context.Context, c *sql.Conn, query string) (v string, err error) {
	err = rows(ctx, c, query, func(r []string) { v = r[len(r)-1] })
	return v, err
}
