package lab

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"github.com/go-sql-driver/mysql"

	"github.com/remora-backup/remora/core/mysqld"
)

// Options say which server Start starts. The zero value is a small, empty server with a binary log and GTIDs.
type Options struct {
	Bin      string   // mysqld; "" asks MySQL
	DataDir  string   // existing data; "" begins with empty data
	Args     []string // put after ours, so they win
	InitArgs []string // for making empty data, e.g. --innodb-page-size=4096; the server gets them as well
	TCP      bool     // listen on 127.0.0.1 too, at a free port
	NoGTID   bool     // gtid_mode=OFF
	Outlive  bool     // the server runs on when this process ends
	// Persisted lets the server read the variables that are persisted in its data directory, as
	// one with a configuration file does.
	Persisted bool
}

// Server is a running private server. Fields do not change while it runs.
type Server struct {
	Home   string // holds socket and log, and the data if they were made for it; removed by Remove
	Dir    string // data directory
	Socket string
	Port   int    // on 127.0.0.1, 0 without TCP
	Log    string // error log file, with notes

	opts Options
	bin  string
	args []string
	db   *sql.DB
	proc *mysqld.Process
}

// startTimeout bounds a start: a crash recovery on a busy machine takes its time.
const startTimeout = 2 * time.Minute

// stopTimeout bounds a shutdown, which writes all changed pages.
const stopTimeout = time.Minute

var lastServerID atomic.Uint32

// Start starts a server and returns when it answers. ctx bounds the start only. The caller calls Remove, or
// Stop to keep the files.
func Start(ctx context.Context, o Options) (*Server, error) {
	bin := o.Bin
	if bin == "" {
		var err error
		if bin, err = MySQL(ctx); err != nil {
			return nil, err
		}
	}
	home, err := os.MkdirTemp("/tmp", "remora-") // short: a socket's path has at most 107 bytes
	if err != nil {
		return nil, fmt.Errorf("make a directory for a server: %w", err)
	}
	s := &Server{
		Home: home, Dir: o.DataDir, opts: o, bin: bin,
		Socket: filepath.Join(home, "s"), Log: filepath.Join(home, "mysqld.log"),
	}
	if err := s.prepare(ctx); err == nil {
		err = s.run(ctx)
		if err == nil {
			return s, nil
		}
		err = fmt.Errorf("%w\n%s", err, s.tail())
		return nil, errors.Join(err, s.Remove())
	} else {
		return nil, errors.Join(err, os.RemoveAll(home))
	}
}

// prepare makes the data directory, if none was given, and the arguments.
func (s *Server) prepare(ctx context.Context) error {
	if s.Dir == "" {
		// Small redo files make a small template; the server resizes them at its start.
		from, err := template(ctx, s.bin, append([]string{"--innodb-redo-log-capacity=8M"}, s.opts.InitArgs...))
		if err != nil {
			return err
		}
		s.Dir = filepath.Join(s.Home, "data")
		if err := CopyDir(ctx, from, s.Dir); err != nil {
			return err
		}
	}
	defaults := "--no-defaults"
	if s.opts.Persisted {
		empty := filepath.Join(s.Home, "my.cnf")
		if err := os.WriteFile(empty, nil, 0o600); err != nil {
			return fmt.Errorf("make an empty configuration file: %w", err)
		}
		defaults = "--defaults-file=" + empty
	}
	s.args = []string{
		defaults, "--datadir=" + s.Dir, "--socket=" + s.Socket, "--pid-file=" + filepath.Join(s.Home, "pid"),
		"--log-error-verbosity=3",
		fmt.Sprintf("--server-id=%d", uint32(os.Getpid())<<8&0x7fffffff|lastServerID.Add(1)&0xff),
		"--log-bin=binlog", "--loose-mysqlx=OFF",
		"--innodb-buffer-pool-size=64M", "--performance-schema=ON",
	}
	if !s.opts.NoGTID {
		s.args = append(s.args, "--gtid-mode=ON", "--enforce-gtid-consistency=ON")
	}
	if s.opts.TCP {
		port, err := freePort()
		if err != nil {
			return err
		}
		s.Port = port
		s.args = append(s.args, "--bind-address=127.0.0.1", fmt.Sprintf("--port=%d", port))
	} else {
		s.args = append(s.args, "--skip-networking")
	}
	s.args = append(append(append(s.args, asRoot()...), s.opts.InitArgs...), s.opts.Args...)
	return nil
}

// freePort returns a port that was free a moment ago. A server that finds it taken ends with an error.
func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, fmt.Errorf("find a free port: %w", err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}

// run starts the process and waits until it answers.
func (s *Server) run(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	var err error
	s.proc, err = mysqld.Start(context.WithoutCancel(ctx), mysqld.Options{
		Bin: s.bin, Args: s.args, LogFile: s.Log, Outlive: s.opts.Outlive,
	})
	if err != nil {
		return err
	}
	if s.db, err = s.Open("root", "", ""); err != nil {
		return err
	}
	for {
		err := s.db.PingContext(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-s.proc.Done():
			return fmt.Errorf("start a server: it ended: %v", s.proc.Wait())
		case <-ctx.Done():
			return fmt.Errorf("start a server: it does not answer: %w", err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// Open returns a pool of connections for an account and a default schema ("" for none). The caller closes it.
func (s *Server) Open(user, password, schema string) (*sql.DB, error) {
	c := mysql.NewConfig()
	c.User, c.Passwd, c.DBName = user, password, schema
	c.Net, c.Addr = "unix", s.Socket
	c.Logger = &mysql.NopLogger{}
	connector, err := mysql.NewConnector(c)
	if err != nil {
		return nil, fmt.Errorf("connect to a server: %w", err)
	}
	return sql.OpenDB(connector), nil
}

// DB is a pool of root's connections. It is closed by Stop, Kill and Remove.
func (s *Server) DB() *sql.DB { return s.db }

// Exec runs statements as root, in order, on one connection.
func (s *Server) Exec(ctx context.Context, statements ...string) error {
	conn, err := s.db.Conn(ctx)
	if err != nil {
		return fmt.Errorf("connect to a server: %w", err)
	}
	defer conn.Close()
	for _, q := range statements {
		if _, err := conn.ExecContext(ctx, q); err != nil {
			return fmt.Errorf("run %.200q: %w", q, err)
		}
	}
	return nil
}

// Pid is the server's process id.
func (s *Server) Pid() int { return s.proc.Pid() }

// Done is closed when the server has ended.
func (s *Server) Done() <-chan struct{} { return s.proc.Done() }

// Stop shuts the server down; its files stay.
func (s *Server) Stop() error {
	if s.proc == nil {
		return nil
	}
	if s.db != nil {
		s.db.Close()
	}
	ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	return s.proc.Stop(ctx)
}

// Kill ends the server as a crash would; its files stay.
func (s *Server) Kill() {
	s.db.Close()
	s.proc.Kill()
}

// Restart starts the server again after Stop or Kill; a running one is stopped first. DB is a new pool then.
func (s *Server) Restart(ctx context.Context) error {
	if err := s.Stop(); err != nil {
		return err
	}
	if err := s.run(ctx); err != nil {
		return fmt.Errorf("%w\n%s", err, s.tail())
	}
	return nil
}

// Remove stops the server and removes what was made for it, never a data directory that was given.
func (s *Server) Remove() error {
	return errors.Join(s.Stop(), os.RemoveAll(s.Home))
}

// tail is the end of the log, for error texts.
func (s *Server) tail() string {
	b, err := os.ReadFile(s.Log)
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(b)), "\n")
	return strings.Join(lines[max(0, len(lines)-20):], "\n")
}
