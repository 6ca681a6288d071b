// Package mysqllock takes MySQL's own locks for a backup.
//
// Each lock has a session of its own, pinned, because a lock belongs to a session and a
// pool would replace one that broke without a word. The session has a lease: it asks the
// server something every second, and the server ends it (wait_timeout) if that stops, so
// a plugin that is stopped or cut off does not keep the server locked.
package mysqllock

import (
	"cmp"
	"context"
	"crypto/tls"
	"database/sql"
	"database/sql/driver"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/go-sql-driver/mysql"

	"github.com/remora-backup/remora/core/plug"
	"github.com/remora-backup/remora/core/server"
	"github.com/remora-backup/remora/plugins/sdk"
)

// Config is the plugin's part of the configuration.
type Config struct {
	Lease string `json:"lease"` // how long a silent session keeps its lock; default "10s"
}

// heartbeat is how often a session that holds a lock says so.
const heartbeat = time.Second

// patience bounds every statement that should be answered at once.
const patience = 5 * time.Second

// Serve is the plugin's main function.
func Serve() {
	sdk.ServeLock(func(config, facts json.RawMessage) (plug.Lock, error) {
		c := Config{Lease: "10s"}
		if err := sdk.Decode(config, &c); err != nil {
			return nil, err
		}
		var s sdk.Server
		if err := sdk.Decode(facts, &s); err != nil {
			return nil, fmt.Errorf("how to reach MySQL: %w", err)
		}
		return Open(c, s)
	})
}

// Lock takes locks on one server.
type Lock struct {
	db    *sql.DB
	lease time.Duration
}

// Open checks the settings; the server is asked when a lock is. Drain ends it.
func Open(c Config, s sdk.Server) (*Lock, error) {
	lease, err := time.ParseDuration(c.Lease)
	if err != nil || lease < 3*heartbeat {
		return nil, fmt.Errorf("lease %q is not a duration of at least %v: %w", c.Lease, 3*heartbeat, plug.ErrInvalid)
	}
	settings := server.Config{Socket: s.Socket, Host: s.Host, Port: s.Port, User: s.User, Password: s.Password, Program: server.LockProgram}
	switch s.TLS {
	case "", "off":
	case "skip-verify":
		settings.TLS = &tls.Config{InsecureSkipVerify: true} //nolint:gosec // asked for by name
	case "verify":
		settings.TLS = &tls.Config{ServerName: s.Host}
	default:
		return nil, fmt.Errorf("tls %q is none of off, skip-verify, verify: %w", s.TLS, plug.ErrInvalid)
	}
	db, _, err := server.Open(settings)
	if err != nil {
		return nil, err
	}
	return &Lock{db: db, lease: lease}, nil
}

// Drain ends what is left of the sessions, and with them their locks.
func (l *Lock) Drain(context.Context) error { return l.db.Close() }

// Acquire is plug.Lock's. No statement runs under ctx: the driver would drop the
// connection, and the server would find out later.
func (l *Lock) Acquire(ctx context.Context, ask plug.Ask) (plug.Held, error) {
	if err := context.Cause(ctx); err != nil {
		return nil, err
	}
	own, cancel := context.WithTimeout(context.WithoutCancel(ctx), ask.Wait+2*patience)
	defer cancel()
	s, err := l.session(own, ask.Most())
	if err != nil {
		return nil, known(err)
	}
	words, err := s.statements(own, ask)
	if err != nil {
		s.end()
		return nil, known(err)
	}
	late := &plug.LockTimeout{Scope: ask.Scope, Wait: ask.Wait}
	end := time.Now().Add(ask.Wait)
	if late.Blockers, err = s.clear(ctx, words, end); err != nil || len(late.Blockers) > 0 {
		s.end()
		return nil, cmp.Or(err, error(late))
	}
	for left := false; ; left = true {
		begun := time.Now()
		why, err := s.try(ctx, own, words.lock, min(ask.Most(), max(time.Millisecond, time.Until(end))))
		late.Pending += time.Since(begun)
		if err == nil {
			return hold(s, words.unlock, late.Pending), nil
		}
		if unopenable(err) && !left && len(words.tables) > 0 {
			if err = s.leaveOut(own, &words); err == nil {
				continue
			}
		}
		cancel() // a statement that is still under way would keep the connection
		s.end()
		if why.late || number(err) == errLockWaitTimeout {
			late.Blockers = why.blockers
			return nil, late
		}
		return nil, known(fmt.Errorf("take the %s lock: %w", ask.Scope, err))
	}
}

// try runs the statements that take a lock.
func (s *session) try(ctx, own context.Context, lock []string, wait time.Duration) (waiting, error) {
	result := make(chan error, 1)
	go func() { result <- s.exec(own, lock) }()
	return s.await(ctx, wait, result)
}

// waiting is what was seen while the lock was waited for.
type waiting struct {
	late     bool // the wait ended it, not the server
	blockers []plug.Blocker
}

// await waits for the lock statement, and looks at who is in its way: afterwards, it
// could not be known.
func (s *session) await(ctx context.Context, wait time.Duration, result <-chan error) (waiting, error) {
	var w waiting
	// The server counts in seconds, and only part of a statement's waits.
	limit := time.NewTimer(wait + 100*time.Millisecond)
	defer limit.Stop()
	look := time.NewTimer(min(wait/2, 200*time.Millisecond))
	defer look.Stop()
	for {
		select {
		case err := <-result:
			return w, err
		case <-look.C:
			if b := s.blockers(ctx); len(b) > 0 {
				w.blockers = b
			}
			look.Reset(time.Second)
		case <-limit.C:
			w.late = true
			s.kill(ctx, "KILL QUERY")
		case <-ctx.Done():
			s.kill(ctx, "KILL")
			return w, context.Cause(ctx)
		}
	}
}

// kill ends a statement or a session from another connection. It is a help, not a need:
// the session also ends by itself.
func (s *session) kill(ctx context.Context, how string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer cancel()
	conn, err := s.beside(ctx)
	if err != nil {
		return
	}
	defer conn.Close()
	_, _ = conn.ExecContext(ctx, fmt.Sprintf("%s %d", how, s.id))
}

// session is one connection with a lease.
type session struct {
	l    *Lock
	conn *sql.Conn
	id   uint64
	on   server.Identity // the server it leads to
}

func (l *Lock) session(ctx context.Context, wait time.Duration) (*session, error) {
	conn, err := l.db.Conn(ctx)
	if err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	s := &session{l: l, conn: conn}
	err = server.Adjust(ctx, conn, server.Setting{Name: "lock_wait_timeout", Value: seconds(wait)}, server.Setting{Name: "wait_timeout", Value: seconds(l.lease)})
	if err == nil {
		err = conn.QueryRowContext(ctx, "SELECT CONNECTION_ID()").Scan(&s.id)
	}
	if err == nil {
		s.on, err = server.IdentityOf(ctx, conn)
	}
	if err != nil {
		s.end()
		return nil, fmt.Errorf("prepare the session: %w", err)
	}
	return s, nil
}

// beside returns another connection to the same server, to look at the session or to kill it. Not every connection
// leads there: a session of that number on another server is somebody else's.
func (s *session) beside(ctx context.Context) (*sql.Conn, error) {
	for range 4 {
		conn, err := s.l.db.Conn(ctx)
		if err != nil {
			return nil, err
		}
		on, err := server.IdentityOf(ctx, conn)
		if err == nil && on == s.on {
			return conn, nil
		}
		drop(conn)
	}
	return nil, fmt.Errorf("no other connection leads to server %v", s.on)
}

// seconds is d for a server's timeout, which may be a year at most.
func seconds(d time.Duration) string {
	return fmt.Sprint(min(365*24*3600, max(1, int(math.Ceil(d.Seconds())))))
}

func (s *session) exec(ctx context.Context, all []string) error {
	for _, q := range all {
		if _, err := s.conn.ExecContext(ctx, q); err != nil {
			return fmt.Errorf("%s: %w", q, err)
		}
	}
	return nil
}

// end closes the connection, so that the pool does not give its settings to another.
func (s *session) end() { drop(s.conn) }

func drop(conn *sql.Conn) {
	_ = conn.Raw(func(any) error { return driver.ErrBadConn }) // it is what closes it
	_ = conn.Close()
}

// The server's error numbers, see mysqld_error.h.
const (
	errAccessDenied     = 1045
	errDBAccessDenied   = 1044
	errSpecificAccess   = 1227
	errLockWaitTimeout  = 1205
	errFileNotFound     = 1017
	errNotAKeyFile      = 1034
	errOldKeyFile       = 1035
	errNoSuchTable      = 1146
	errWrongMergeTable  = 1168
	errCrashed          = 1194
	errCrashedRepair    = 1195
	errUnknownEngine    = 1286
	errQueryInterrupted = 1317
)

func number(err error) uint16 {
	var e *mysql.MySQLError
	if errors.As(err, &e) {
		return e.Number
	}
	return 0
}

// known gives the server's errors the identity that callers look for.
func known(err error) error {
	switch number(err) {
	case errAccessDenied, errDBAccessDenied, errSpecificAccess:
		return fmt.Errorf("%w: %w", plug.ErrPermission, err)
	}
	return err
}
