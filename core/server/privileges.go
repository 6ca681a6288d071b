package server

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"

	"github.com/remora-backup/remora/core/code"
)

// Missing is a privilege that the account lacks.
type Missing struct {
	Privilege string // "BACKUP_ADMIN", "SELECT on performance_schema.log_status"
	Purpose   string // what needs it
	Grant     string // the statement that grants it to this very account
	Optional  bool   // a backup works without it
}

// need is one privilege and a statement that shows whether it is there. Trying answers for roles, for rights on
// a whole schema and for partial revokes alike, which reading SHOW GRANTS does not.
type need struct {
	privilege, on, purpose string
	optional               bool
	try                    func(context.Context, *sql.Conn) error
}

// wanted lists what a backup's account needs. Each trial changes nothing: the consumer is given back at once,
// no table called mysql.remora exists that could be flushed, and LIMIT 0 reads nothing. INNODB_CMP stands for
// the lists of tablespaces: it has asked for PROCESS in every version, INNODB_TABLESPACES_BRIEF on 8.0.30 does not.
func wanted() []need {
	table := func(name string) (string, func(context.Context, *sql.Conn) error) {
		return "performance_schema." + name, query("SELECT 1 FROM performance_schema." + name + " LIMIT 0")
	}
	logStatus, tryLogStatus := table("log_status")
	locks, tryLocks := table("metadata_locks")
	threads, tryThreads := table("threads")
	keyring, tryKeyring := table("keyring_component_status")
	errorLog, tryErrorLog := table("error_log")
	workers, tryWorkers := table("replication_applier_status_by_worker")
	keys, tryKeys := table("keyring_keys")
	return []need{
		{"BACKUP_ADMIN", "*.*", "to lock the instance and read log_status", false, tryConsumer},
		{"SELECT", logStatus, "to read the position of the backup", false, tryLogStatus},
		{"PROCESS", "*.*", "to list the tablespaces", false, query("SELECT 1 FROM information_schema.INNODB_CMP LIMIT 1")},
		{"REPLICATION CLIENT", "*.*", "to read a replica's positions", false, query("SHOW REPLICA STATUS")},
		{"SHOW DATABASES", "*.*", "to name the databases", true, trySchemas},
		{"RELOAD", "*.*", "to flush the engine logs instead of waiting for them", true, query("FLUSH NO_WRITE_TO_BINLOG ENGINE LOGS")},
		{"SELECT", locks, "to prove that the lock is held", true, tryLocks},
		{"SELECT", threads, "to name who blocks the lock", true, tryThreads},
		{"SELECT", keyring, "to see the keyring", true, tryKeyring},
		{"SELECT", errorLog, "to tell a harmless ALTER INSTANCE during a backup from one that switches redo logging off", true, tryErrorLog},
		{"SELECT", workers, "to know how old a replica's data are", true, tryWorkers},
		{"SELECT", keys, "to name the keys that a restore needs", true, tryKeys},
	}
}

func query(q string) func(context.Context, *sql.Conn) error {
	return func(ctx context.Context, conn *sql.Conn) error {
		rows, err := conn.QueryContext(ctx, q)
		if err != nil {
			return err
		}
		for rows.Next() {
			continue
		}
		return errors.Join(rows.Err(), rows.Close())
	}
}

func tryConsumer(ctx context.Context, conn *sql.Conn) error {
	var answer int
	if err := conn.QueryRowContext(ctx, "SELECT innodb_redo_log_consumer_register()").Scan(&answer); err != nil || answer != 0 {
		return err // a non-zero answer: somebody else's consumer is there, and we were allowed to ask
	}
	return conn.QueryRowContext(ctx, "SELECT innodb_redo_log_consumer_unregister()").Scan(&answer)
}

func trySchemas(ctx context.Context, conn *sql.Conn) error {
	var name string
	err := conn.QueryRowContext(ctx, "SHOW DATABASES LIKE 'mysql'").Scan(&name)
	if errors.Is(err, sql.ErrNoRows) {
		return notAllowed{errors.New("the schema mysql is not shown")}
	}
	return err
}

// MayLock makes sure that the account may lock tables of these schemas against writes: a lock
// of a table that does not exist fails for that, or before for the lack of a privilege, and
// waits for nobody. With closed, or if one delays the writing of its keys, some have to be closed,
// too. The error has code 12 and the statements that grant what is missing.
func (s *Server) MayLock(ctx context.Context, schemas []string, closed bool) error {
	ctx, cancel := patiently(ctx)
	defer cancel()
	conn, err := s.db.Conn(ctx)
	if err != nil {
		return fmt.Errorf("check the privileges: %w", classify(ctx, err))
	}
	defer conn.Close()
	var grants []string
	for _, schema := range schemas {
		may, err := mayLock(ctx, conn, schema)
		if err != nil {
			return fmt.Errorf("check the privileges: %w", err)
		}
		if !may {
			grants = append(grants, "SELECT, LOCK TABLES ON "+quoteName(schema)+".*")
		}
	}
	if len(schemas) > 0 && !closed {
		if closed, err = delaysKeys(ctx, conn); err != nil {
			return fmt.Errorf("check the privileges: %w", err)
		}
	}
	if closed {
		err := classify(ctx, query("FLUSH NO_WRITE_TO_BINLOG TABLES mysql.remora")(ctx, conn))
		switch {
		case code.Of(err) == code.Privilege:
			grants = append(grants, "FLUSH_TABLES ON *.*")
		case err != nil:
			return fmt.Errorf("check the privileges: %w", err)
		}
	}
	if len(grants) == 0 {
		return nil
	}
	var account string
	if err := conn.QueryRowContext(ctx, "SELECT CURRENT_USER()").Scan(&account); err != nil {
		return fmt.Errorf("check the privileges: %w", classify(ctx, err))
	}
	for i, on := range grants {
		grants[i] = "GRANT " + on + " TO " + quoteAccount(account) + ";"
	}
	return code.Hint(code.Privilege, strings.Join(grants, " "), "tables of other engines than InnoDB cannot be locked against writes: privileges are missing")
}

// mayLock tries it, and gives back what it has locked if there is a table of that name after all.
func mayLock(ctx context.Context, conn *sql.Conn, schema string) (may bool, err error) {
	_, err = conn.ExecContext(ctx, "LOCK TABLES "+quoteName(schema)+".`#remora: no such table` READ")
	switch number := numberOf(err); {
	case err == nil:
		_, err = conn.ExecContext(ctx, "UNLOCK TABLES")
	case number == 1146 || number == 1049: // no such table, or its whole schema is gone by now
		err = nil
	}
	err = classify(ctx, err)
	if code.Of(err) == code.Privilege { // for the table, or for its whole schema
		return false, nil
	}
	return err == nil, err
}

// delaysKeys reports whether a table that the account is shown has keys that are written when it
// is closed.
func delaysKeys(ctx context.Context, conn *sql.Conn) (delays bool, err error) {
	err = conn.QueryRowContext(ctx, "SELECT @@GLOBAL.delay_key_write = 'ALL' OR EXISTS (SELECT 1 FROM information_schema.TABLES WHERE ENGINE = 'MyISAM' AND CREATE_OPTIONS LIKE '%delay_key_write=1%')").Scan(&delays)
	return delays, classify(ctx, err)
}

func quoteName(name string) string { return "`" + strings.ReplaceAll(name, "`", "``") + "`" }

// CheckPrivileges returns the privileges that the account lacks, in a fixed order.
func (s *Server) CheckPrivileges(ctx context.Context) ([]Missing, error) {
	ctx, cancel := patiently(ctx)
	defer cancel()
	conn, err := s.db.Conn(ctx)
	if err != nil {
		return nil, fmt.Errorf("check the privileges: %w", classify(ctx, err))
	}
	defer conn.Close()
	var account string
	if err := conn.QueryRowContext(ctx, "SELECT CURRENT_USER()").Scan(&account); err != nil {
		return nil, fmt.Errorf("check the privileges: %w", classify(ctx, err))
	}
	var missing []Missing
	for _, n := range wanted() {
		err := classify(ctx, n.try(ctx, conn))
		switch {
		case err == nil:
		case errors.Is(err, ErrNotAllowed):
			missing = append(missing, n.missing(account))
		default:
			return nil, fmt.Errorf("check the privilege %s: %w", n.privilege, err)
		}
	}
	return missing, nil
}

func (n need) missing(account string) Missing {
	m := Missing{
		Privilege: n.privilege, Purpose: n.purpose, Optional: n.optional,
		Grant: fmt.Sprintf("GRANT %s ON %s TO %s", n.privilege, n.on, quoteAccount(account)),
	}
	if n.on != "*.*" {
		m.Privilege += " on " + n.on
	}
	return m
}

// quoteAccount turns user@host, as CURRENT_USER() has it, into 'user'@'host'. The host has no @.
func quoteAccount(account string) string {
	at := strings.LastIndexByte(account, '@')
	if at < 0 {
		return quoteString(account)
	}
	return quoteString(account[:at]) + "@" + quoteString(account[at+1:])
}

func quoteString(s string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, `'`, `''`).Replace(s) + "'"
}

// Refused returns an error with code 12 if a privilege is missing that is not optional; its hint holds the
// statements to run.
func Refused(missing []Missing) error {
	var names, grants []string
	for _, m := range missing {
		if !m.Optional {
			names = append(names, fmt.Sprintf("%s (%s)", m.Privilege, m.Purpose))
			grants = append(grants, m.Grant+";")
		}
	}
	if len(names) == 0 {
		return nil
	}
	return code.Hint(code.Privilege, strings.Join(grants, " "), "the account lacks %s", strings.Join(names, ", "))
}

// Account returns the statements that make an account for backups on the server's own host, with
// all that a backup can use.
func Account(user, password string) []string {
	account := quoteAccount(user + "@localhost")
	all := []string{fmt.Sprintf("CREATE USER %s IDENTIFIED BY %s", account, quoteString(password))}
	for _, n := range wanted() {
		all = append(all, fmt.Sprintf("GRANT %s ON %s TO %s", n.privilege, n.on, account))
	}
	return all
}
