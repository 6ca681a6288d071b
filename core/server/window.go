package server

import (
	"context"
	"errors"
	"fmt"

	"github.com/remora-backup/remora/core/code"
)

// TablespacePath is where the dictionary says that a tablespace lies.
type TablespacePath struct {
	ID   uint32
	Name string // as Tablespace.Name
	Path string // as the server names the file: absolute, or relative to the data directory
}

// TablespacePaths lists the tablespaces with a file of their own, as far as DDL has been committed: tables,
// partitions, general and undo tablespaces. Not listed are the system tablespace and the dictionary itself
// (mysql.ibd). It is the quickest list that the server has, 2 ms for 1,000; it needs PROCESS. It is proven whole
// against a count of the same statement; the second source is Tablespaces.
func (s *Server) TablespacePaths(ctx context.Context) ([]TablespacePath, error) {
	var spaces []TablespacePath
	err := s.list(ctx, list{
		what: "the tablespaces' paths", columns: []string{"SPACE", "NAME", "PATH"},
		from: "FROM information_schema.INNODB_TABLESPACES_BRIEF WHERE SPACE <> 0", some: true,
	}, func(v []string) error {
		id, err := spaceID(v[0])
		spaces = append(spaces, TablespacePath{ID: id, Name: v[1], Path: v[2]})
		return err
	})
	return spaces, err
}

// Sight is whether something can be seen.
type Sight int

// What HoldsBackupLock can see.
const (
	Unseen Sight = iota // the server does not let us look
	Yes
	No
)

// HoldsBackupLock looks whether the connection with that id holds the backup lock. It needs SELECT on
// performance_schema.metadata_locks, and the instrument that fills it; our own locks show whether that is on.
func (s *Server) HoldsBackupLock(ctx context.Context, connection uint64) (Sight, error) {
	var held, own int
	err := s.row(ctx, fmt.Sprintf(`SELECT
		COUNT(CASE WHEN OBJECT_TYPE LIKE 'BACKUP%%' AND LOCK_STATUS = 'GRANTED' AND OWNER_THREAD_ID = PS_THREAD_ID(%d) THEN 1 END),
		COUNT(CASE WHEN OWNER_THREAD_ID = PS_CURRENT_THREAD_ID() THEN 1 END)
		FROM performance_schema.metadata_locks`, connection), &held, &own)
	switch {
	case errors.Is(err, ErrNotAllowed):
		return Unseen, nil
	case err != nil:
		return Unseen, fmt.Errorf("look for the backup lock: %w", err)
	case held > 0:
		return Yes, nil
	case own > 0:
		return No, nil
	}
	return Unseen, nil
}

// Holder is what a lock plugin says of the session that holds the backup lock.
type Holder struct {
	Connection uint64 // its id; 0 if it is not known
	UUID       string // server_uuid of the server that is locked; "" if it is not known
	Started    int64  // start of that server, Unix seconds
}

// ProveLocked makes sure that this very server is locked by the session that the plugin names. Ask it under the
// lock, and once before with the zero Holder, so that nothing has to be opened then: the answer does not matter.
//
// The plugin's word that the server is ours must hold if it gives one; an error with code 14 names both servers.
// Then the lock is looked at in performance_schema.metadata_locks. Where that cannot be seen, it is enough that
// the plugin named this life of this server and that the session is there: the plugin got its lock from nobody
// else. With neither, nothing is proven, and the error (code 14) names the grant or the setting that is missing.
func (s *Server) ProveLocked(ctx context.Context, h Holder) error {
	ours := s.First()
	if h.UUID != "" && (h.UUID != ours.UUID || h.Started != ours.Started) {
		other := Identity{UUID: h.UUID, Started: h.Started}
		return code.Hint(code.Lock, oneServer, "the lock plugin locked server %s (%s), the backup is one of server %v", other.UUID, other.started(), ours)
	}
	seen, err := s.HoldsBackupLock(ctx, h.Connection)
	switch {
	case err != nil:
		return err
	case seen == Yes:
		return nil
	case seen == No && h.Connection != 0:
		return code.New(code.Lock, "the lock plugin says that connection %d holds the backup lock, server %v says that it does not", h.Connection, ours)
	case h.UUID == "" || h.Connection == 0:
		return s.unproven(ctx)
	}
	var there int
	if err := s.row(ctx, fmt.Sprintf("SELECT COUNT(*) FROM performance_schema.processlist WHERE ID = %d", h.Connection), &there); err != nil {
		return fmt.Errorf("look for the session that holds the backup lock: %w", err)
	}
	if there == 0 {
		return code.New(code.Lock, "the lock plugin says that connection %d holds the backup lock, server %v has no such connection", h.Connection, ours)
	}
	return nil
}

// unproven says what keeps the lock from being seen.
func (s *Server) unproven(ctx context.Context) error {
	hint := "let the lock plugin say which server and connection hold the lock, and UPDATE performance_schema.setup_instruments SET ENABLED = 'YES' WHERE NAME = 'wait/lock/metadata/sql/mdl'"
	err := s.row(ctx, "SELECT COUNT(*) FROM performance_schema.metadata_locks WHERE FALSE", new(int))
	if errors.Is(err, ErrNotAllowed) {
		var account string
		if err := s.row(ctx, "SELECT CURRENT_USER()", &account); err != nil {
			return fmt.Errorf("look for the backup lock: %w", err)
		}
		hint = "GRANT SELECT ON performance_schema.metadata_locks TO " + quoteAccount(account) + ";"
	}
	return code.Hint(code.Lock, hint, "the lock plugin does not say which server it locked, and whether the backup lock is held cannot be seen")
}

// Altered is how often the instance was altered, and when that was asked.
type Altered struct {
	Count uint64 // ALTER INSTANCE statements since the server started
	At    string // by the server's clock, as its error log shows it
}

// Altered counts the ALTER INSTANCE statements: two counts that are the same prove that neither the redo log was
// switched off nor the master key rotated in between.
func (s *Server) Altered(ctx context.Context) (Altered, error) {
	var a Altered
	var name string
	err := s.row(ctx, "SELECT CAST(NOW(6) AS CHAR)", &a.At)
	if err == nil {
		err = s.row(ctx, "SHOW GLOBAL STATUS LIKE 'Com_alter_instance'", &name, &a.Count)
	}
	if err != nil {
		return Altered{}, fmt.Errorf("count ALTER INSTANCE statements: %w", err)
	}
	return a, nil
}

// RedoSwitched says whether redo logging was switched off or on between two moments, of which the later has just
// been asked for: No only if that is certain from the server's side.
//
// It is certain if no ALTER INSTANCE was used. If one was, the error log must tell what it was, and must have been
// able to: its warnings are written and none of these suppressed or filtered, now as ever since the earlier moment,
// which it must reach back to; that needs SELECT on performance_schema.error_log. Otherwise the answer is Unseen.
// An error log that was silenced for a moment only cannot be told from an honest one: then redo.Switched looks for
// the same in the log itself.
func (s *Server) RedoSwitched(ctx context.Context, since, now Altered) (Sight, error) {
	if now.Count < since.Count {
		return Unseen, nil
	}
	var enabled string
	if err := s.row(ctx, "SELECT VARIABLE_VALUE FROM performance_schema.global_status WHERE VARIABLE_NAME = 'Innodb_redo_log_enabled'", &enabled); err != nil {
		return Unseen, fmt.Errorf("ask whether redo is logged: %w", err)
	}
	if enabled != "ON" {
		return Yes, nil
	}
	if now.Count == since.Count {
		return No, nil
	}
	var switched, reaches, honest int
	err := s.row(ctx, fmt.Sprintf(`SELECT
		COUNT(CASE WHEN ERROR_CODE IN ('MY-013600', 'MY-013601', 'MY-014088') AND LOGGED >= '%[1]s' THEN 1 END),
		COUNT(CASE WHEN LOGGED < '%[1]s' THEN 1 END),
		@@GLOBAL.log_error_verbosity >= 2 AND @@GLOBAL.log_error_services NOT LIKE '%%dragnet%%'
			AND @@GLOBAL.log_error_suppression_list NOT REGEXP '13600|13601|14088|REDO'
		FROM performance_schema.error_log`, since.At), &switched, &reaches, &honest)
	switch {
	case errors.Is(err, ErrNotAllowed):
		return Unseen, nil
	case err != nil:
		return Unseen, fmt.Errorf("look into the error log: %w", err)
	case switched > 0:
		return Yes, nil
	case honest != 1 || reaches == 0:
		return Unseen, nil
	}
	return No, nil
}
