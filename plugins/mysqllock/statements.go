package mysqllock

import (
	"context"
	"fmt"
	"strings"

	"github.com/remora-backup/remora/core/plug"
)

// statements are those of one lock on one kind of server.
type statements struct {
	lock   []string // the last one takes the lock
	unlock string
	inWay  string   // a condition on metadata_locks h: it would make the lock wait
	tables []string // those that lock names, each with how it is locked
	// readOnly: the server lets nobody lock a table for writing, and to flush named tables with a
	// read lock waits for the backup lock. What is to be closed is closed with all the others.
	readOnly bool
}

// ddl is what every statement that changes files of the server holds. A request of ours that
// waits for it makes all new DDL wait, too.
const ddl = "h.object_type = 'BACKUP LOCK' AND h.lock_type = 'INTENTION_EXCLUSIVE' AND h.lock_status = 'GRANTED'"

func (s *session) statements(ctx context.Context, ask plug.Ask) (statements, error) {
	switch ask.Scope {
	case plug.ScopeTables:
		return s.lockTables(ctx, ask.Tables)
	case plug.ScopeBackup:
	default:
		return statements{}, fmt.Errorf("scope %q: %w", ask.Scope, plug.ErrInvalid)
	}
	var comment string
	if err := s.conn.QueryRowContext(ctx, "SELECT @@version_comment").Scan(&comment); err != nil {
		return statements{}, fmt.Errorf("ask for the kind of server: %w", err)
	}
	if strings.Contains(comment, "Percona") {
		return statements{lock: []string{"LOCK TABLES FOR BACKUP"}, unlock: "UNLOCK TABLES", inWay: ddl}, nil
	}
	return statements{lock: []string{"LOCK INSTANCE FOR BACKUP"}, unlock: "UNLOCK INSTANCE", inWay: ddl}, nil
}

// lockTables locks tables of other engines than InnoDB against writes. It is granted beside
// readers, however long they read, and waits for nothing but writers of these very tables:
// unlike FLUSH TABLES WITH READ LOCK neither for long statements nor for DDL that waits for
// our own backup lock. A table that keeps in memory what was written until it is closed is
// locked against readers, too, and closed: nothing else makes its files whole.
func (s *session) lockTables(ctx context.Context, tables []plug.Table) (statements, error) {
	if len(tables) == 0 {
		return statements{}, fmt.Errorf("no table is named: %w", plug.ErrInvalid)
	}
	lazy, err := s.lazy(ctx)
	if err != nil {
		return statements{}, fmt.Errorf("ask which tables keep back what was written: %w", err)
	}
	var locked []string
	var readers, writers strings.Builder
	for _, t := range tables {
		quoted, key := name(t.Schema)+"."+name(t.Name), ",("+text(t.Schema)+","+text(t.Name)+")"
		if lazy(t) {
			locked = append(locked, quoted+write)
			writers.WriteString(key)
		} else {
			locked = append(locked, quoted+read)
			readers.WriteString(key)
		}
	}
	const none = "(NULL,NULL)"
	words := statements{
		unlock: "UNLOCK TABLES",
		tables: locked,
		inWay: "h.object_type = 'TABLE' AND (h.lock_type NOT IN ('SHARED', 'SHARED_HIGH_PRIO', 'SHARED_READ', 'SHARED_READ_ONLY')" +
			" AND (h.object_schema, h.object_name) IN (" + none + readers.String() + ")" +
			" OR (h.object_schema, h.object_name) IN (" + none + writers.String() + "))",
	}
	if writers.Len() > 0 {
		if err := s.conn.QueryRowContext(ctx, "SELECT @@GLOBAL.read_only").Scan(&words.readOnly); err != nil {
			return statements{}, fmt.Errorf("ask whether the server is read-only: %w", err)
		}
	}
	words.lock = words.locking(locked)
	return words, nil
}

// unopenable reports whether a table cannot be opened by anybody. That the server lacks file
// descriptors for the moment (1016) is nothing of the kind.
func unopenable(err error) bool {
	switch number(err) {
	case errNoSuchTable, errWrongMergeTable, errCrashed, errCrashedRepair, errNotAKeyFile, errOldKeyFile, errFileNotFound, errUnknownEngine:
		return true
	}
	return false
}

// How a table is locked: one that is to be closed against readers, too.
const read, write = " READ", " WRITE"

// locking are the statements that lock the tables, each with how.
func (w *statements) locking(tables []string) []string {
	if len(tables) == 0 {
		return []string{"DO 0"}
	}
	if w.readOnly {
		return []string{"FLUSH TABLES WITH READ LOCK"}
	}
	all := []string{"LOCK TABLES " + strings.Join(tables, ", ")}
	var closed []string
	for _, t := range tables {
		if table, ok := strings.CutSuffix(t, write); ok {
			closed = append(closed, table)
		}
	}
	if len(closed) > 0 {
		all = append(all, "FLUSH NO_WRITE_TO_BINLOG TABLES "+strings.Join(closed, ", "))
	}
	return all
}

// leaveOut leaves out of the lock what nobody can open, and therefore nobody writes: a MERGE
// table whose parts are gone, a table that is damaged, the description of one that is no more.
// An empty SELECT opens a table as LOCK TABLES does, and waits for nobody who only reads or
// writes.
func (s *session) leaveOut(ctx context.Context, words *statements) error {
	var open []string
	for _, t := range words.tables {
		table := strings.TrimSuffix(strings.TrimSuffix(t, write), read)
		_, err := s.conn.ExecContext(ctx, "DO (SELECT COUNT(*) FROM (SELECT 1 FROM "+table+" LIMIT 0) t)")
		if unopenable(err) {
			continue
		}
		if err != nil {
			return fmt.Errorf("open %s: %w", table, err)
		}
		open = append(open, t)
	}
	words.lock = words.locking(open)
	return nil
}

// lazy tells which tables may have something that is not in their files yet: ARCHIVE's, whose
// compressor keeps rows back, CSV's, whose state is written when they are closed (they are
// taken for crashed until then), and MyISAM's with delay_key_write. It lists the others: a table
// that the account is not shown, or by another name, is taken for one of these.
func (s *session) lazy(ctx context.Context) (func(plug.Table) bool, error) {
	var mode string
	if err := s.conn.QueryRowContext(ctx, "SELECT @@GLOBAL.delay_key_write").Scan(&mode); err != nil {
		return nil, err
	}
	if mode == "ALL" {
		return func(plug.Table) bool { return true }, nil
	}
	// The option counts though the setting is OFF: it may have been ON when the table was opened.
	rows, err := s.conn.QueryContext(ctx, "SELECT TABLE_SCHEMA, TABLE_NAME FROM information_schema.TABLES WHERE ENGINE IN ('MyISAM', 'MRG_MYISAM') AND CREATE_OPTIONS NOT LIKE '%delay_key_write=1%'")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	eager := map[plug.Table]bool{}
	for rows.Next() {
		var t plug.Table
		if err := rows.Scan(&t.Schema, &t.Name); err != nil {
			return nil, err
		}
		eager[t] = true
	}
	return func(t plug.Table) bool { return !eager[t] }, rows.Err()
}

func name(s string) string { return "`" + strings.ReplaceAll(s, "`", "``") + "`" }

// text is a string of SQL whatever the session's sql_mode says of backslashes.
func text(s string) string { return fmt.Sprintf("_utf8mb4 x'%x'", s) }
