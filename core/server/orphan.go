package server

import (
	"context"
	"fmt"
)

// LockProgram is the program_name with which the MySQL lock plugin connects.
const LockProgram = "remora-lock"

// KillOrphan ends a session that a dead backup left behind: connection is its id and pid
// the process that had it. Nothing happens, and killed is false, unless that session is there,
// of this account, of LockProgram and of that process; killing one's own needs no privilege.
func (s *Server) KillOrphan(ctx context.Context, connection uint64, pid int) (killed bool, err error) {
	// This table shows the sessions of the asking account only, and to everybody.
	const find = "SELECT COUNT(*) FROM performance_schema.session_account_connect_attrs WHERE processlist_id = %d" +
		" AND (attr_name = 'program_name' AND attr_value = '" + LockProgram + "' OR attr_name = '_pid' AND attr_value = '%d')"
	var n int
	if err := s.row(ctx, fmt.Sprintf(find, connection, pid), &n); err != nil {
		return false, fmt.Errorf("look for the lock session %d of a dead backup: %w", connection, err)
	}
	if n != 2 {
		return false, nil
	}
	ctx, cancel := patiently(ctx)
	defer cancel()
	if _, err := s.db.ExecContext(ctx, fmt.Sprintf("KILL %d", connection)); err != nil {
		return false, fmt.Errorf("kill the lock session %d of a dead backup: %w", connection, classify(ctx, err))
	}
	return true, nil
}
