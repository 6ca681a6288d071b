package server

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"

	"github.com/go-sql-driver/mysql"

	"github.com/remora-backup/remora/core/code"
)

// ErrNotAllowed is in the chain of every error that says that the account lacks a privilege.
var ErrNotAllowed = errors.New("privilege missing")

// notAllowed keeps the server's words and is ErrNotAllowed.
type notAllowed struct{ error }

func (e notAllowed) Unwrap() error        { return e.error }
func (e notAllowed) Is(target error) bool { return target == ErrNotAllowed }

// Server error numbers, from MySQL's share/messages_to_clients.txt.
const (
	errAccessDenied = 1045 // user or password
	errNoSuchThread = 1094
	errNoFunction   = 1305
)

// patience bounds every single question to the server.
const patience = time.Minute

// errSilent is what is wrong with a server that lets patience run out: it hangs, or the network to it carries
// nothing any more.
var errSilent = fmt.Errorf("the server has not answered for %v", patience)

func patiently(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(ctx, patience, errSilent)
}

// classify gives an error of the driver its exit code. nil stays nil. ctx is that of the question.
func classify(ctx context.Context, err error) error {
	var sqlError *mysql.MySQLError
	switch {
	case err == nil:
		return nil
	case errors.Is(err, context.DeadlineExceeded) && context.Cause(ctx) == errSilent:
		return code.New(code.ServerGone, "%w", errSilent)
	case errors.As(err, &sqlError):
		return classifyNumber(sqlError.Number, err)
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return err // the caller knows why
	case gone(err):
		return code.New(code.ServerGone, "%w", err)
	}
	return err
}

// numberOf is the server's number of an error; 0 if it has none.
func numberOf(err error) uint16 {
	var sqlError *mysql.MySQLError
	if errors.As(err, &sqlError) {
		return sqlError.Number
	}
	return 0
}

func classifyNumber(number uint16, err error) error {
	switch number {
	case errAccessDenied, 1698: // no such account, or another password
		return code.Hint(code.Privilege, "check [mysql] user and password_file, and that the account exists for this host", "%w", err)
	case 1044, 1130, 1862, 3118, 3955: // database, host, expired, locked
		return code.New(code.Privilege, "%w", err)
	case 1142, 1143, 1227, 1370: // on a table, a column, globally, a routine
		return code.New(code.Privilege, "%w", notAllowed{err})
	case 1053, 1077, 1079, 1152, 1184, 3169: // shutting down; connection killed or lost
		return code.New(code.ServerGone, "%w", err)
	}
	return err
}

// gone reports whether the connection could not be made or broke.
func gone(err error) bool {
	var network *net.OpError
	return errors.As(err, &network) || errors.Is(err, driver.ErrBadConn) || errors.Is(err, mysql.ErrInvalidConn) ||
		errors.Is(err, sql.ErrConnDone) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, os.ErrNotExist)
}
