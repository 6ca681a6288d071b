// Package server asks the live MySQL server, by SQL, what a backup must know.
//
// It changes nothing in the server but the redo log consumer, which ends with its connection. Errors carry an
// exit code: 12 for credentials and privileges, with the statement that grants what is missing; 13 for a server
// that is not there or went away; 20 for one that is not supported.
package server

import (
	"cmp"
	"context"
	"crypto/tls"
	"database/sql"
	"fmt"
	"net"
	"os"
	"strconv"
	"time"

	"github.com/go-sql-driver/mysql"

	"github.com/remora-backup/remora/core/code"
	"github.com/remora-backup/remora/core/version"
)

// LockProgram is the program_name with which the MySQL lock plugin connects.
const LockProgram = "remora-lock"

// hostAttribute is the connection attribute in which every session of ours has the name of
// its host: the server itself knows no more of it than an address, or nothing.
const hostAttribute = "remora_host"

// Config says how to reach the server.
type Config struct {
	Socket   string      // path; excludes Host
	Host     string      // name or address
	Port     int         // 0 means 3306
	TLS      *tls.Config // nil means none; only with Host
	User     string
	Password string
	Program  string // what the server is told to be connected to; "" is remora
}

// connections bounds how many connections are open at once, the consumer's included.
const connections = 6

// Server is a connection pool to one server. Its methods may be used by several goroutines at once.
type Server struct {
	db      *sql.DB
	where   string // for messages
	version version.Version
	first   *pin // the life of the server that all connections lead to
}

// Connect connects and makes sure that the server is of a supported version. The settings of every session are
// known, and every session leads to the same life of the same server (First): a connection to another one, or to
// the same after a restart, is an error with code 13 that names both. The caller calls Close.
func Connect(ctx context.Context, c Config) (*Server, error) {
	first := &pin{}
	db, where, err := open(c, first)
	if err != nil {
		return nil, err
	}
	s := &Server{db: db, where: where, first: first}
	var number, comment string
	if err := s.row(ctx, "SELECT @@version, @@version_comment", &number, &comment); err != nil {
		db.Close()
		return nil, fmt.Errorf("connect to %s: %w", where, err)
	}
	s.version, err = version.Parse(number, comment)
	if err == nil {
		err = s.version.Supported()
	}
	if err != nil {
		db.Close()
		return nil, code.New(code.Version, "connect to %s: %w", where, err)
	}
	return s, nil
}

// Open returns a pool for the settings, without connecting yet, and the server's address for messages. Each
// connection is made within ten seconds or fails, and its session's settings are known; which server it leads to
// the caller may ask with IdentityOf.
func Open(c Config) (db *sql.DB, where string, err error) { return open(c, nil) }

func open(c Config, first *pin) (db *sql.DB, where string, err error) {
	m := mysql.NewConfig()
	m.User, m.Passwd = c.User, c.Password
	m.Timeout = connectLimit
	m.Logger = &mysql.NopLogger{} // what it logs is also returned as an error
	m.ConnectionAttributes = "program_name:" + cmp.Or(c.Program, "remora")
	if host, err := os.Hostname(); err == nil {
		m.ConnectionAttributes += "," + hostAttribute + ":" + host
	}
	m.TLS = c.TLS
	switch {
	case c.Socket != "":
		m.Net, m.Addr = "unix", c.Socket
	default:
		port := c.Port
		if port == 0 {
			port = 3306
		}
		m.Net, m.Addr = "tcp", net.JoinHostPort(c.Host, strconv.Itoa(port))
	}
	made, err := mysql.NewConnector(m)
	if err != nil {
		return nil, "", code.New(code.Usage, "connect to %s: %w", m.Addr, err)
	}
	db = sql.OpenDB(connector{made, first})
	db.SetMaxOpenConns(connections)
	db.SetMaxIdleConns(connections) // what is asked under a lock must not wait for a connection
	db.SetConnMaxIdleTime(time.Minute)
	return db, m.Addr, nil
}

// Close closes all connections, which releases what they hold.
func (s *Server) Close() error { return s.db.Close() }

// Version is the server's version.
func (s *Server) Version() version.Version { return s.version }

// Identity asks which life of which server answers now. SameServer also compares it.
func (s *Server) Identity(ctx context.Context) (Identity, error) { return identity(ctx, s.db) }

// SameServer makes sure that the server that answers now is the one that Connect found, and the same life of it;
// the error (code 13) names both. Every new connection is held against that by itself; this also notices a proxy
// that leads an old one to another server.
func (s *Server) SameServer(ctx context.Context) error {
	now, err := s.Identity(ctx)
	if err != nil {
		return err
	}
	return s.first.same(now)
}

// First is the life of the server that Connect found.
func (s *Server) First() Identity { return s.first.get() }

// row reads the only row of a query.
func (s *Server) row(ctx context.Context, query string, dest ...any) error {
	ctx, cancel := patiently(ctx)
	defer cancel()
	return classify(ctx, s.db.QueryRowContext(ctx, query).Scan(dest...))
}

// rows calls f for each row, to scan it.
func (s *Server) rows(ctx context.Context, query string, f func(scan func(...any) error) error, args ...any) error {
	ctx, cancel := patiently(ctx)
	defer cancel()
	rows, err := s.db.QueryContext(ctx, query, args...)
	if err != nil {
		return classify(ctx, err)
	}
	defer rows.Close()
	for rows.Next() {
		if err := f(rows.Scan); err != nil {
			return classify(ctx, err)
		}
	}
	return classify(ctx, rows.Err())
}
