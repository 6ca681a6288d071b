// Package mysqldtest gives tests real MySQL servers.
//
// It is core/mysqld/lab for tests: what cannot be had fails the test, and what was started is stopped with it.
// There is no skipping but with -short, by needs.Server at the top of the test: a machine without MySQL gets one
// unpacked, see examples/mysql/get.
package mysqldtest

import (
	"context"
	"database/sql"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/remora-backup/remora/core/mysqld/lab"
)

// Server is lab.Server with failures reported to the test.
type Server struct {
	*lab.Server
	t testing.TB
}

// Option changes how a server is started.
type Option func(*lab.Options)

// TCP makes the server listen on 127.0.0.1 as well, which CatchUp needs of its source.
func TCP() Option { return func(o *lab.Options) { o.TCP = true } }

// Args are put after the usual arguments, so they win.
func Args(args ...string) Option {
	return func(o *lab.Options) { o.Args = append(o.Args, args...) }
}

// InitArgs go to the making of the data directory, and to the server.
func InitArgs(args ...string) Option {
	return func(o *lab.Options) { o.InitArgs = append(o.InitArgs, args...) }
}

// PageSize is innodb_page_size in bytes.
func PageSize(n string) Option { return InitArgs("--innodb-page-size=" + n) }

var binary = sync.OnceValues(func() (string, error) { return lab.MySQL(context.Background()) })

// Binary returns the path of a mysqld.
func Binary(t testing.TB) string {
	t.Helper()
	if testing.Short() {
		t.Fatal("a test that starts a server must begin with needs.Server(t)")
	}
	bin, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	return bin
}

// Start starts an empty server that is stopped and removed at the end of the test.
func Start(t testing.TB, opts ...Option) *Server {
	t.Helper()
	return StartDir(t, "", opts...)
}

// StartDir starts a server on existing data, which are left in place.
func StartDir(t testing.TB, datadir string, opts ...Option) *Server {
	t.Helper()
	// What a killed server wrote the kernel keeps, so tests need no waiting for the disk.
	o := lab.Options{Bin: Binary(t), DataDir: datadir, Args: []string{"--innodb-flush-method=nosync", "--sync-binlog=0"}}
	for _, opt := range opts {
		opt(&o)
	}
	s, err := lab.Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			if b, err := os.ReadFile(s.Log); err == nil {
				t.Logf("end of the server's log:\n%s", b[max(0, len(b)-4000):])
			}
		}
		if err := s.Remove(); err != nil {
			t.Error(err)
		}
	})
	return &Server{Server: s, t: t}
}

// Exec runs statements as root, in order, on one connection.
func (s *Server) Exec(statements ...string) {
	s.t.Helper()
	if err := s.Server.Exec(s.t.Context(), statements...); err != nil {
		s.t.Fatal(err)
	}
}

// QueryString returns the only value of a query as text.
func (s *Server) QueryString(query string, args ...any) string {
	s.t.Helper()
	var v sql.NullString
	if err := s.DB().QueryRowContext(s.t.Context(), query, args...).Scan(&v); err != nil {
		s.t.Fatalf("run %s: %v", query, err)
	}
	return v.String
}

// Open returns a pool for an account; it is closed at the end of the test.
func (s *Server) Open(user, password, schema string) *sql.DB {
	s.t.Helper()
	db, err := s.Server.Open(user, password, schema)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { db.Close() })
	return db
}

// Stop shuts the server down.
func (s *Server) Stop() {
	s.t.Helper()
	if err := s.Server.Stop(); err != nil {
		s.t.Fatal(err)
	}
}

// Restart starts the server again; DB is a new pool then.
func (s *Server) Restart() {
	s.t.Helper()
	if err := s.Server.Restart(s.t.Context()); err != nil {
		s.t.Fatal(err)
	}
}

// Position returns where the server's binary log ends now.
func (s *Server) Position() (file string, pos uint64) {
	s.t.Helper()
	file, pos, err := s.Server.Position(s.t.Context())
	if err != nil {
		s.t.Fatal(err)
	}
	return file, pos
}

// Checksums returns CHECKSUM TABLE of all user tables.
func Checksums(db *sql.DB) (map[string]string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	return lab.Checksums(ctx, db)
}

// CatchUp replays the source's binary log from a position on to replica; see lab.CatchUp. Two minutes at most.
func CatchUp(t testing.TB, source, replica *Server, file string, pos uint64) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	if err := lab.CatchUp(ctx, source.Server, replica.Server, file, pos); err != nil {
		t.Fatal(err)
	}
}

// ReplicateUntil makes an empty server what source was at a position of its binary log; see lab.ReplicateUntil. Two
// minutes at most.
func ReplicateUntil(t testing.TB, source, replica *Server, file string, pos uint64) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	if err := lab.ReplicateUntil(ctx, source.Server, replica.Server, file, pos); err != nil {
		t.Fatal(err)
	}
}
