package server

import (
	"context"
	"fmt"
)

// KillOrphans ends the sessions that the lock plugin of a dead backup left behind, and returns
// their ids: those of this account, of LockProgram, and of the process pid on host. Both are
// known before the plugin is asked for a lock, so a session is found whenever the backup died.
// Killing one's own needs no privilege.
func (s *Server) KillOrphans(ctx context.Context, host string, pid int) (killed []uint64, err error) {
	// This table shows the sessions of the asking account only, and to everybody.
	const find = "SELECT processlist_id FROM performance_schema.session_account_connect_attrs" +
		" WHERE attr_name = 'program_name' AND attr_value = '" + LockProgram + "'" +
		" OR attr_name = '_pid' AND attr_value = ? OR attr_name = '" + hostAttribute + "' AND attr_value = ?" +
		" GROUP BY processlist_id HAVING COUNT(*) = 3"
	var found []uint64
	err = s.rows(ctx, find, func(scan func(...any) error) error {
		var id uint64
		err := scan(&id)
		found = append(found, id)
		return err
	}, fmt.Sprint(pid), host)
	if err != nil {
		return nil, fmt.Errorf("look for lock sessions of a dead backup: %w", err)
	}
	ctx, cancel := patiently(ctx)
	defer cancel()
	for _, id := range found {
		_, err := s.db.ExecContext(ctx, fmt.Sprintf("KILL %d", id))
		switch {
		case err == nil:
			killed = append(killed, id)
		case numberOf(err) != errNoSuchThread: // it has not just ended by itself
			return killed, fmt.Errorf("kill the lock session %d of a dead backup: %w", id, classify(ctx, err))
		}
	}
	return killed, nil
}
