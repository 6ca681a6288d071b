package adopt

import (
	"context"
	"fmt"
	"strings"

	"github.com/remora-backup/remora/core/code"
	"github.com/remora-backup/remora/core/inert"
)

// OpenEmptied opens the MEMORY tables of a server that was compared with r and is still quiet.
// Whoever opens one first after a start makes the server write TRUNCATE TABLE to its own binary
// log, even where it takes no writes and the session logs nothing: a transaction that exists
// nowhere else. Nothing but these is in that log, so it is begun anew, with the GTIDs of r.
func OpenEmptied(ctx context.Context, s Server, r inert.Record, tell func(statement string)) error {
	do := func(statement string) error {
		tell(statement)
		if err := s.Do(ctx, statement); err != nil {
			return code.Hint(code.Of(err), "as an administrator: RESET BINARY LOGS AND GTIDS; SET GLOBAL gtid_purged = '"+oneLine(r.GTIDExecuted)+"'; then remora adopt again",
				"open the MEMORY tables: %w", err)
		}
		return nil
	}
	if len(r.Emptied) > 0 { // what the log is begun anew with must be allowed before anything is in it
		if err := s.Do(ctx, "FLUSH NO_WRITE_TO_BINLOG ENGINE LOGS"); err != nil {
			return fmt.Errorf("open the MEMORY tables, for which RELOAD is needed: %w", err)
		}
	}
	for _, table := range r.Emptied {
		if err := do("SELECT 1 FROM " + table + " LIMIT 0"); err != nil {
			return err
		}
	}
	if len(r.Emptied) == 0 {
		return nil
	}
	e, err := s.Executed(ctx, r.GTIDExecuted)
	if err != nil || e.More == "" && e.Missing == "" {
		return err
	}
	who, err := s.Identity(ctx)
	if err != nil {
		return err
	}
	for part := range strings.SplitSeq(oneLine(e.More), ",") {
		if !strings.HasPrefix(strings.TrimSpace(part), who.UUID+":") {
			return code.New(code.Target, "open the MEMORY tables: meanwhile the server got %s, which is not its own", part)
		}
	}
	if err := do("RESET BINARY LOGS AND GTIDS"); err != nil {
		if do("RESET MASTER") != nil { // its name before 8.2
			return err
		}
	}
	if err := do("SET GLOBAL gtid_purged = '" + oneLine(r.GTIDExecuted) + "'"); err != nil {
		return err
	}
	if e, err = s.Executed(ctx, r.GTIDExecuted); err != nil {
		return err
	}
	if e.More != "" || e.Missing != "" {
		return code.New(code.Target, "open the MEMORY tables: gtid_executed is %s afterwards, not that of the backup", oneLine(e.Has))
	}
	return nil
}
