package server

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/remora-backup/remora/core/code"
	"github.com/remora-backup/remora/core/version"
)

// Setting is a session variable and the value that it must have.
type Setting struct {
	Name  string // as the server names it
	Value string // as the server shows it
}

// sessionSettings are the variables that could change an answer, keep one from coming, or make a question change
// the server, and their values. What they would be otherwise is anybody's guess: the global value, what
// init_connect made of it, or what the last user of a proxy's session left. Left alone are those that change how
// an answer is found but not what it says (the optimizer's, buffers), those of writes, of which there are none,
// and sql_log_bin: nothing of ours would be logged.
func sessionSettings() []Setting {
	const unlimited = "18446744073709551615"
	return []Setting{
		{"autocommit", "1"},             // else every question after the first is answered from an old snapshot
		{"completion_type", "NO_CHAIN"}, // else the end of a transaction begins another, or ends the session
		{"transaction_isolation", "READ-COMMITTED"},
		{"transaction_read_only", "0"},
		{"sql_select_limit", unlimited}, // else lists are cut without a word
		{"max_execution_time", "0"},
		{"max_join_size", unlimited},
		{"sql_big_selects", "1"}, // after max_join_size, which sets it
		{"sql_mode", "STRICT_ALL_TABLES"},
		{"sql_auto_is_null", "0"},
		{"sql_buffer_result", "0"},
		{"max_sort_length", "1024"}, // what is ordered or grouped is compared that far
		{"group_concat_max_len", "1048576"},
		{"character_set_client", "utf8mb4"},
		{"character_set_results", "utf8mb4"},
		{"collation_connection", "utf8mb4_general_ci"},
		{"time_zone", "+00:00"},
		{"information_schema_stats_expiry", "0"}, // else asking writes statistics into the server's tables
		{"lock_wait_timeout", "30"},
		{"innodb_lock_wait_timeout", "30"},
		{"net_read_timeout", "60"},
		{"net_write_timeout", "60"},
		{"wait_timeout", "600"}, // longer than the pool keeps a connection that is not used
	}
}

// connectLimit bounds all that the making of a connection takes.
const connectLimit = 10 * time.Second

var errSlowConnect = fmt.Errorf("no session within %v", connectLimit)

// connector makes sessions whose settings are known, all of them to one life of one server.
type connector struct {
	driver.Connector
	first *pin // nil: to whatever server answers
}

// Connect makes a session. Whatever the server did with it at its beginning (init_connect) is undone or set right.
func (c connector) Connect(ctx context.Context) (driver.Conn, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, connectLimit, errSlowConnect)
	defer cancel()
	conn, err := c.Connector.Connect(ctx)
	if err == nil {
		if err = c.settle(ctx, conn); err == nil {
			return conn, nil
		}
		_ = conn.Close() // nothing was begun
	}
	if errors.Is(err, context.DeadlineExceeded) && context.Cause(ctx) == errSlowConnect {
		err = code.New(code.ServerGone, "%w", errSlowConnect)
	}
	return nil, err
}

func (c connector) settle(ctx context.Context, conn driver.Conn) error {
	s := session{conn}
	// First an end to what init_connect may have begun, even if completion_type is odd.
	for _, q := range []string{"ROLLBACK AND NO CHAIN NO RELEASE", "UNLOCK TABLES"} {
		if err := s.exec(ctx, q); err != nil {
			return fmt.Errorf("begin a session: %w", err)
		}
	}
	all := sessionSettings()
	if err := s.exec(ctx, "SET @@SESSION.timestamp = DEFAULT, "+assignments(all)); err != nil {
		return s.unsettable(ctx, all, err)
	}
	values, err := s.row(ctx, "SELECT "+names(all)+", "+identityColumns+identityFrom)
	if err != nil {
		return fmt.Errorf("read the session's settings: %w", err)
	}
	if len(values) != len(all)+identityCount {
		return fmt.Errorf("read the session's settings: %d values, want %d", len(values), len(all)+identityCount)
	}
	if err := compare(all, values); err != nil {
		return err
	}
	if c.first == nil {
		return nil
	}
	life, err := parseIdentity(values[len(all):])
	if err != nil {
		return err
	}
	return c.first.same(life)
}

func assignments(all []Setting) string {
	var sets []string
	for _, v := range all {
		value := v.Value
		if strings.Trim(value, "0123456789") != "" {
			value = "'" + value + "'"
		}
		sets = append(sets, "@@SESSION."+v.Name+" = "+value)
	}
	return strings.Join(sets, ", ")
}

func names(all []Setting) string {
	var columns []string
	for _, v := range all {
		columns = append(columns, "@@SESSION."+v.Name)
	}
	return strings.Join(columns, ", ")
}

// notTaken is the remedy where a setting of a session does not hold.
const notTaken = "connect to the server itself, not through a proxy that shares its sessions or divides statements among servers"

// compare tells which setting is not what it was set to.
func compare(want []Setting, got []string) error {
	for i, v := range want {
		if got[i] != v.Value {
			return code.Hint(code.Version, notTaken, "the session variable %s was set to %s, the server says that it is %q: no answer could be relied on", v.Name, v.Value, got[i])
		}
	}
	return nil
}

// unsettable finds out why the settings could not be made: a server that is not supported may not know them, or
// one of them is refused.
func (s session) unsettable(ctx context.Context, all []Setting, why error) error {
	if v, err := s.row(ctx, "SELECT @@version, @@version_comment"); err == nil && len(v) == 2 {
		v, err := version.Parse(v[0], v[1])
		if err == nil {
			err = v.Supported()
		}
		if err != nil {
			return code.New(code.Version, "%w", err)
		}
	}
	for _, one := range all {
		if err := s.exec(ctx, "SET "+assignments([]Setting{one})); numberOf(err) != 0 {
			return code.Hint(code.Version, notTaken, "the session variable %s cannot be set to %s: %w", one.Name, one.Value, err)
		}
	}
	return fmt.Errorf("set the session's variables: %w", why)
}

// Adjust sets variables of one session, such as its timeouts, and makes sure that they took. It is for connections
// that are not given back to the pool: the next user would not know.
func Adjust(ctx context.Context, conn *sql.Conn, want ...Setting) error {
	if _, err := conn.ExecContext(ctx, "SET "+assignments(want)); err != nil {
		return classify(ctx, err)
	}
	got := make([]string, len(want))
	if err := conn.QueryRowContext(ctx, "SELECT "+names(want)).Scan(nullStrings(got)...); err != nil {
		return classify(ctx, err)
	}
	return compare(want, got)
}

// session asks on a connection that no pool has yet.
type session struct{ conn driver.Conn }

func (s session) exec(ctx context.Context, query string) error {
	e, ok := s.conn.(driver.ExecerContext)
	if !ok {
		return errors.New("the driver cannot run statements")
	}
	_, err := e.ExecContext(ctx, query, nil)
	return err
}

// row returns the only row of a query as the server shows it.
func (s session) row(ctx context.Context, query string) (_ []string, err error) {
	q, ok := s.conn.(driver.QueryerContext)
	if !ok {
		return nil, errors.New("the driver cannot run queries")
	}
	rows, err := q.QueryContext(ctx, query, nil)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	values := make([]driver.Value, len(rows.Columns()))
	if err := rows.Next(values); errors.Is(err, io.EOF) {
		return nil, errors.New("no answer")
	} else if err != nil {
		return nil, err
	}
	text := make([]string, len(values))
	for i, v := range values {
		if err := (nullString{&text[i]}).Scan(v); err != nil {
			return nil, err
		}
	}
	return text, nil
}
