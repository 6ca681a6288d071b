package server

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/remora-backup/remora/core/code"
)

// Identity is one life of one server: it differs after a restart, and on another server. Two are compared
// with ==.
type Identity struct {
	UUID    string // server_uuid, which a copied data directory shares
	Started int64  // Unix seconds
	Host    string // hostname, as the server knows it
	Port    int    // on which it listens, or would
}

func (i Identity) String() string {
	return fmt.Sprintf("%s (%s:%d, %s)", i.UUID, i.Host, i.Port, i.started())
}

func (i Identity) started() string {
	return "started " + time.Unix(i.Started, 0).UTC().Format(time.RFC3339)
}

// The start time is exact, not a guess: the server computes Uptime as the time of the statement less the start
// time (sql/mysqld.cc, show_starttime), and UNIX_TIMESTAMP() is that same time of the same statement. That the
// clock was set meanwhile changes neither. No privilege is needed.
const (
	identityColumns = "@@server_uuid, CAST(UNIX_TIMESTAMP() AS SIGNED) - CAST(VARIABLE_VALUE AS SIGNED), @@hostname, @@port"
	identityFrom    = " FROM performance_schema.global_status WHERE VARIABLE_NAME = 'Uptime'"
	identityCount   = 4
)

func parseIdentity(v []string) (Identity, error) {
	started, err := strconv.ParseInt(v[1], 10, 64)
	if err != nil {
		return Identity{}, fmt.Errorf("read the server's start time: %w", err)
	}
	port, err := strconv.Atoi(v[3])
	if err != nil {
		return Identity{}, fmt.Errorf("read the server's port: %w", err)
	}
	if v[0] == "" {
		return Identity{}, errors.New("the server has no server_uuid")
	}
	return Identity{UUID: v[0], Started: started, Host: v[2], Port: port}, nil
}

// querier is a pool or one connection.
type querier interface {
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// IdentityOf asks on one connection which life of which server it leads to.
func IdentityOf(ctx context.Context, conn *sql.Conn) (Identity, error) { return identity(ctx, conn) }

func identity(ctx context.Context, q querier) (Identity, error) {
	ctx, cancel := patiently(ctx)
	defer cancel()
	v := make([]string, identityCount)
	err := classify(ctx, q.QueryRowContext(ctx, "SELECT "+identityColumns+identityFrom).Scan(nullStrings(v)...))
	var i Identity
	if err == nil {
		i, err = parseIdentity(v)
	}
	if err != nil {
		return Identity{}, fmt.Errorf("read the server's identity: %w", err)
	}
	return i, nil
}

// pin remembers the first life that was seen.
type pin struct {
	mu    sync.Mutex
	first Identity
}

func (p *pin) get() Identity {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.first
}

func (p *pin) same(now Identity) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.first == Identity{}:
		p.first = now
		return nil
	case p.first == now:
		return nil
	}
	return differ(p.first, now)
}

const oneServer = "let [mysql] name one server: its socket, or an address of its own; no proxy before several, no name of several"

// differ is the error that says that two answers came from two lives.
func differ(first, now Identity) error {
	restarted := now
	restarted.Started = first.Started
	if restarted == first {
		return code.Hint(code.ServerGone, "back up again", "the server was restarted: it was %v, it is %v", first, now)
	}
	return code.Hint(code.ServerGone, oneServer,
		"connections reach two servers: %v, and %v", first, now)
}
