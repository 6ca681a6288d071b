package mysqllock

import (
	"context"
	"database/sql"
	"strings"
	"time"

	"github.com/remora-backup/remora/core/plug"
)

// Holders of a metadata lock that is not of the kind waited for: those of the same kind,
// such as another backup's, stand in nobody's way.
const holders = `SELECT DISTINCT t.processlist_id, COALESCE(CONCAT(t.processlist_user, '@', t.processlist_host), ''),
	COALESCE(t.processlist_time, 0), COALESCE(t.processlist_info, t.processlist_command, '')
FROM performance_schema.threads me
JOIN performance_schema.metadata_locks w ON w.owner_thread_id = me.thread_id AND w.lock_status = 'PENDING'
JOIN performance_schema.metadata_locks h ON h.object_type = w.object_type AND h.object_schema <=> w.object_schema
	AND h.object_name <=> w.object_name AND h.lock_status = 'GRANTED' AND h.lock_type <> w.lock_type
	AND h.owner_thread_id <> w.owner_thread_id
JOIN performance_schema.threads t ON t.thread_id = h.owner_thread_id
WHERE me.processlist_id = ? AND t.processlist_id IS NOT NULL
ORDER BY 3 DESC LIMIT 5`

// A flush waits for tables in use, which are no metadata locks: statements that have run
// for longer than the wait has lasted.
const older = `SELECT processlist_id, COALESCE(CONCAT(processlist_user, '@', processlist_host), ''),
	processlist_time, COALESCE(processlist_info, '')
FROM performance_schema.threads
WHERE type = 'FOREGROUND' AND processlist_command IN ('Query', 'Execute')
	AND processlist_id NOT IN (?, CONNECTION_ID()) AND processlist_time >= ?
	AND EXISTS (SELECT 1 FROM performance_schema.threads WHERE processlist_id = ? AND processlist_state LIKE '%flush%')
ORDER BY 3 DESC LIMIT 5`

// blockers names who stands in the way of the session, as far as it may be known: the
// account may not be allowed to see that, and that is no reason to fail.
func (s *session) blockers(ctx context.Context, waited time.Duration) []plug.Blocker {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	conn, err := s.beside(ctx)
	if err != nil {
		return nil
	}
	defer conn.Close()
	if b := ask(ctx, conn, holders, s.id); len(b) > 0 {
		return b
	}
	return ask(ctx, conn, older, s.id, int(waited.Seconds()), s.id)
}

func ask(ctx context.Context, conn *sql.Conn, query string, args ...any) []plug.Blocker {
	rows, err := conn.QueryContext(ctx, query, args...)
	if err != nil {
		return nil
	}
	defer rows.Close()
	var all []plug.Blocker
	for rows.Next() {
		var b plug.Blocker
		var seconds int64
		if err := rows.Scan(&b.ProcessID, &b.User, &seconds, &b.Statement); err != nil {
			return nil
		}
		b.Since = time.Duration(seconds) * time.Second
		b.Statement = oneLine(b.Statement)
		all = append(all, b)
	}
	if rows.Err() != nil {
		return nil
	}
	return all
}

// oneLine makes a statement fit for a message.
func oneLine(s string) string {
	const longest = 200
	s = strings.Join(strings.Fields(s), " ")
	if len(s) > longest {
		s = strings.ToValidUTF8(s[:longest], "") + "..."
	}
	return s
}
