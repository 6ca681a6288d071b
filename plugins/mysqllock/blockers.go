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

// inTheWay are sessions that would make a lock wait; the condition follows.
const inTheWay = `SELECT DISTINCT t.processlist_id, COALESCE(CONCAT(t.processlist_user, '@', t.processlist_host), ''),
	COALESCE(t.processlist_time, 0), COALESCE(t.processlist_info, t.processlist_command, '')
FROM performance_schema.metadata_locks h JOIN performance_schema.threads t ON t.thread_id = h.owner_thread_id
WHERE t.processlist_id IS NOT NULL AND t.processlist_id <> CONNECTION_ID() AND `

const (
	// long is what has lasted for so long that it may last longer: nobody is made to wait
	// behind it because of us. The server tells it in whole seconds.
	long = 2 * time.Second
	// chance is for how long a moment is looked for in which the lock is granted at once
	// although statements that are short come one after the other. If there is none, the
	// request waits for some of them.
	chance = 500 * time.Millisecond
)

// clear waits until the lock can be asked for without keeping others waiting: until nobody
// is in its way, or nobody who has been for long. If that is not so by the end, it returns
// those who are. Where it cannot be seen, it has to be asked.
func (s *session) clear(ctx context.Context, words statements, end time.Time) ([]plug.Blocker, error) {
	begun := time.Now()
	for pause := 20 * time.Millisecond; ; pause = min(2*pause, 200*time.Millisecond) {
		once, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
		all := ask(once, s.conn, inTheWay+words.inWay+" ORDER BY 3 DESC LIMIT 5")
		cancel()
		if len(all) == 0 || all[0].Since < long && time.Since(begun) >= chance {
			return nil, nil
		}
		if time.Now().Add(pause).After(end) {
			return all, nil
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// blockers names who stands in the way of the session, as far as it may be known: the
// account may not be allowed to see that, and that is no reason to fail.
func (s *session) blockers(ctx context.Context) []plug.Blocker {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	conn, err := s.beside(ctx)
	if err != nil {
		return nil
	}
	defer conn.Close()
	return ask(ctx, conn, holders, s.id)
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
