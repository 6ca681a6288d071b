package plug

import (
	"context"
	"fmt"
	"strings"
	"time"
)

// Scope is what a lock keeps from happening on the server.
type Scope string

const (
	// ScopeBackup stops changes to the set of files (DDL) and lets DML go on:
	// LOCK INSTANCE FOR BACKUP, on Percona Server LOCK TABLES FOR BACKUP.
	ScopeBackup Scope = "backup"
	// ScopeTables stops writes to the tables that are named, and to others only where the
	// server has no other way: LOCK TABLES ... READ. Taken only around the copy of tables of other engines than InnoDB, which
	// have no log.
	ScopeTables Scope = "tables"
)

// Ask is what a lock is asked for.
type Ask struct {
	Scope Scope
	// Wait is how long the lock may take to be granted, the looks before it included.
	Wait time.Duration
	// Pending is for how much of Wait the server itself may be asked: others may have to
	// wait while it is. 0 is all of it.
	Pending time.Duration
	// Tables are those of ScopeTables; no two are the same.
	Tables []Table
}

// Most is for how long the server may be asked.
func (a Ask) Most() time.Duration {
	if a.Pending <= 0 {
		return a.Wait
	}
	return min(a.Pending, a.Wait)
}

// Table is a table by its names in SQL.
type Table struct {
	Schema, Name string
}

func (t Table) String() string { return t.Schema + "." + t.Name }

// Lock takes the server's locks for a backup.
type Lock interface {
	// Acquire waits at most Ask.Wait for the lock. While the server is asked for it, others
	// may wait as if it were held already: so the server is asked when the lock will be
	// granted at once, as far as that can be seen, and for at most Ask.Pending. The error is
	// ErrLockTimeout (a *LockTimeout naming who is in the way, where that can be known) if it
	// was not granted. The lock outlives ctx: only Release, its loss, or the end of the
	// plugin ends it.
	Acquire(ctx context.Context, ask Ask) (Held, error)
}

// Held is a lock that was granted.
type Held interface {
	// Owner is the server's connection id that holds the lock, or 0 if it has none; a
	// host uses it to see with its own eyes that the server is locked.
	Owner() uint64
	// Waited is how long the server took to grant the lock, from when it was asked on.
	Waited() time.Duration
	// Check proves that the lock is still held by the session that took it; ErrLockLost
	// otherwise.
	Check(ctx context.Context) error
	// Lost is closed when the lock is found to be gone without a Release.
	Lost() <-chan struct{}
	// Release gives the lock back and returns how long it was held: from the return of
	// the lock statement to the return of the unlock statement. ErrLockLost if it was
	// gone before.
	Release(ctx context.Context) (time.Duration, error)
}

// Locked is one life of one server, as the session that holds a lock on it was told.
type Locked struct {
	UUID    string // server_uuid
	Started int64  // Unix seconds: UNIX_TIMESTAMP() - Uptime, of one statement
}

// HeldOn is what a Held can do that knows which server it locks. A host that reaches the
// server by connections of its own makes sure that it is the same one: names with several
// addresses and proxies lead to more than one.
type HeldOn interface {
	Held
	// Locked returns the server, the zero value if it is not known after all.
	Locked() Locked
}

// Blocker is a session that stands in the way of a lock.
type Blocker struct {
	ProcessID uint64        `json:"process_id"` // the id that KILL and SHOW PROCESSLIST use
	User      string        `json:"user"`
	Since     time.Duration `json:"since"`
	Statement string        `json:"statement"` // cut to a line
}

// LockTimeout is the ErrLockTimeout that names who blocks.
type LockTimeout struct {
	Scope    Scope
	Wait     time.Duration
	Pending  time.Duration // for how long the server was asked
	Blockers []Blocker
}

func (e *LockTimeout) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s lock not granted within %v", e.Scope, e.Wait)
	for i, bl := range e.Blockers {
		sep := ", "
		if i == 0 {
			sep = "; blocked by "
		}
		fmt.Fprintf(&b, "%sprocess %d (%s, %v): %s", sep, bl.ProcessID, bl.User, bl.Since.Round(time.Second), bl.Statement)
	}
	return b.String()
}

func (e *LockTimeout) Unwrap() error { return ErrLockTimeout }
