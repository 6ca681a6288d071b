package testscripts

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/remora-backup/remora/core/mysqld/lab"
	"github.com/remora-backup/remora/core/needs"
	"github.com/remora-backup/remora/examples/workload"
)

// patience bounds whatever a story waits for.
const patience = 2 * time.Minute

// theLoad is small: what the stories are about does not depend on the size.
var theLoad = workload.Options{Tables: 2, Rows: 4000, Seed: 7}

// server is a running server and those who write to it.
type server struct {
	*lab.Server
	written workload.Written
	stop    func() error // ends the writers; nil without

	accounts sync.Mutex
	remora   bool // that account is there
}

func launch(ctx context.Context, o lab.Options, load bool) (*server, error) {
	if o.TCP = true; o.Bin == "" {
		o.Bin = theWorld.mysqld
	}
	// What a killed server wrote the kernel keeps, so tests need no waiting for the disk.
	o.Args = append([]string{"--innodb-flush-method=nosync", "--sync-binlog=0", "--innodb-flush-log-at-trx-commit=2"}, o.Args...)
	made, err := lab.Start(ctx, o)
	if err != nil {
		return nil, err
	}
	s := &server{Server: made}
	if load {
		if err := workload.Load(ctx, s.DB(), theLoad); err != nil {
			return nil, errors.Join(err, s.Remove())
		}
	}
	return s, nil
}

func startSource(ctx context.Context) (*server, error) { return launch(ctx, lab.Options{}, true) }

func (s *server) export(ts *testscript.TestScript, name string) {
	storyOf(ts).servers[name] = s
	ts.Setenv(strings.ToUpper(name)+"_SOCKET", s.Socket)
	ts.Setenv(strings.ToUpper(name)+"_LOG", s.Log)
}

func source(ts *testscript.TestScript, _ bool, args []string) {
	needs.Server(storyOf(ts).t)
	s, err := theWorld.source()
	ts.Check(err)
	s.export(ts, "source")
}

func startServer(ts *testscript.TestScript, _ bool, args []string) {
	needs.Server(storyOf(ts).t)
	if len(args) == 0 {
		ts.Fatalf("usage: mysqld NAME [-data DIR] [-load] [-persisted] [ARGUMENT...]")
	}
	name, load, o := args[0], false, lab.Options{Bin: storyOf(ts).mysqld}
	args = args[1:]
	for ; len(args) > 0; args = args[1:] {
		if args[0] == "-load" {
			load = true
		} else if args[0] == "-persisted" {
			o.Persisted = true
		} else if args[0] == "-data" && len(args) > 1 {
			args = args[1:]
			o.DataDir = ts.MkAbs(args[0])
		} else {
			break
		}
	}
	o.Args = args
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	s, err := launch(ctx, o, load)
	ts.Check(err)
	ts.Defer(func() {
		if s.stop != nil {
			_ = s.stop() // the story has failed already
		}
		if err := s.Remove(); err != nil {
			ts.Logf("remove server %s: %v", name, err)
		}
	})
	s.export(ts, name)
}

// withKeyring gives the story a mysqld with a keyring of its own.
func withKeyring(ts *testscript.TestScript, _ bool, args []string) {
	needs.Server(storyOf(ts).t)
	want(ts, args)
	file := ts.MkAbs("keyring")
	bin, dir, err := lab.Keyring(context.Background(), theWorld.mysqld, file)
	ts.Check(err)
	ts.Defer(func() { ts.Check(os.RemoveAll(dir)) })
	storyOf(ts).mysqld = bin
	ts.Setenv("MYSQLD", bin)
	ts.Setenv("KEYRING", file)
}

// importTable makes a table as another one is, by its files.
func importTable(ts *testscript.TestScript, _ bool, args []string) {
	want(ts, args, "NAME", "TABLE", "COPY")
	s := serverOf(ts, args[0])
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	conn, err := s.DB().Conn(ctx)
	ts.Check(err)
	defer conn.Close()
	exec := func(statement string) {
		_, err := conn.ExecContext(ctx, statement)
		ts.Check(err)
	}
	exec("CREATE TABLE " + args[2] + " LIKE " + args[1])
	exec("ALTER TABLE " + args[2] + " DISCARD TABLESPACE")
	exec("FLUSH TABLES " + args[1] + " FOR EXPORT")
	file := func(table, ext string) string { return filepath.Join(s.Dir, strings.ReplaceAll(table, ".", "/")+ext) }
	for _, ext := range []string{".ibd", ".cfg", ".cfp"} {
		b, err := os.ReadFile(file(args[1], ext))
		if ext == ".cfp" && errors.Is(err, fs.ErrNotExist) {
			continue // only encrypted tables have one
		}
		ts.Check(err)
		ts.Check(os.WriteFile(file(args[2], ext), b, 0o640))
	}
	exec("UNLOCK TABLES")
	exec("ALTER TABLE " + args[2] + " IMPORT TABLESPACE")
	for _, ext := range []string{".cfg", ".cfp"} { // the server leaves them there
		ts.Check(os.RemoveAll(file(args[2], ext)))
	}
}

func serverOf(ts *testscript.TestScript, name string) *server {
	s := storyOf(ts).servers[name]
	if s == nil {
		ts.Fatalf("no server %s", name)
	}
	return s
}

func stopServer(ts *testscript.TestScript, _ bool, args []string) {
	want(ts, args, "NAME")
	ts.Check(serverOf(ts, args[0]).Stop())
}

func runSQL(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) < 2 {
		ts.Fatalf("usage: sql NAME STATEMENT...")
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	conn, err := serverOf(ts, args[0]).DB().Conn(ctx)
	ts.Check(err)
	defer conn.Close()
	last := len(args) - 1
	for _, q := range args[1:last] {
		_, err := conn.ExecContext(ctx, q)
		ts.Check(err)
	}
	rows, err := conn.QueryContext(ctx, args[last])
	ts.Check(err)
	defer rows.Close()
	ts.Check(printRows(ts, rows))
}

// await bounds its wait as all do.
func await(ts *testscript.TestScript, _ bool, args []string) {
	want(ts, args, "NAME", "VALUE", "STATEMENT")
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for {
		var got sql.NullString
		ts.Check(serverOf(ts, args[0]).DB().QueryRowContext(ctx, args[2]).Scan(&got))
		if got.String == args[1] {
			return
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			ts.Fatalf("the value is %q, not %q", got.String, args[1])
		}
	}
}

func printRows(ts *testscript.TestScript, rows *sql.Rows) error {
	out := ts.Stdout()
	columns, err := rows.Columns()
	if err != nil {
		return err
	}
	values, into := make([]sql.NullString, len(columns)), make([]any, len(columns))
	for i := range values {
		into[i] = &values[i]
	}
	for rows.Next() {
		if err := rows.Scan(into...); err != nil {
			return err
		}
		var words []string
		for _, v := range values {
			words = append(words, v.String)
		}
		fmt.Fprintln(out, strings.Join(words, "\t"))
	}
	return rows.Err()
}

func startWriters(ts *testscript.TestScript, _ bool, args []string) {
	want(ts, args, "NAME", "N")
	s := serverOf(ts, args[0])
	n, err := strconv.Atoi(args[1])
	ts.Check(err)
	ctx, cancel := context.WithCancel(context.Background())
	answer := make(chan error, 1)
	go func() { answer <- workload.Write(ctx, s.DB(), n, theLoad, &s.written) }()
	s.stop = func() error {
		s.stop = nil
		cancel()
		return <-answer
	}
	// The story is about a busy server from its next line on.
	for began := time.Now(); s.written.Transactions.Load() < int64(n); time.Sleep(5 * time.Millisecond) {
		if time.Since(began) > patience {
			ts.Fatalf("the writers wrote nothing")
		}
	}
}

func stopWriters(ts *testscript.TestScript, _ bool, args []string) {
	want(ts, args, "NAME")
	s := serverOf(ts, args[0])
	if s.stop == nil {
		ts.Fatalf("nobody writes to %s", args[0])
	}
	ts.Check(s.stop())
	ts.Logf("%d transactions were committed", s.written.Transactions.Load())
}

// same proves that a restored server is its source at the reported position.
func same(ts *testscript.TestScript, _ bool, args []string) {
	want(ts, args, "SOURCE", "RESTORED")
	from, to := serverOf(ts, args[0]), serverOf(ts, args[1])
	ts.Check(ts.Exec("remora", "list", "--json"))
	var last struct {
		BinlogFile     string `json:"binlog_file"`
		BinlogPosition uint64 `json:"binlog_position"`
	}
	ts.Check(lastObject(ts.ReadFile("stdout"), &last))
	if last.BinlogFile == "" {
		ts.Fatalf("remora list names no position")
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	ts.Check(lab.CatchUp(ctx, from.Server, to.Server, last.BinlogFile, last.BinlogPosition))
	is, err := lab.Checksums(ctx, from.DB())
	ts.Check(err)
	got, err := lab.Checksums(ctx, to.DB())
	ts.Check(err)
	for _, table := range slices.Sorted(maps.Keys(is)) {
		if got[table] != is[table] {
			ts.Fatalf("CHECKSUM TABLE %s: source %s, restored %q", table, is[table], got[table])
		}
	}
	if len(is) < theLoad.Tables || len(got) != len(is) {
		ts.Fatalf("the source has %d tables, the restored server %d", len(is), len(got))
	}
	log, err := os.ReadFile(to.Log)
	ts.Check(err)
	for _, line := range regexp.MustCompile(`(?m)^.*\[ERROR\].*$`).FindAllString(string(log), -1) {
		ts.Fatalf("the restored server logged: %s", line)
	}
}

// want checks the number of arguments.
func want(ts *testscript.TestScript, args []string, names ...string) {
	if len(args) != len(names) {
		ts.Fatalf("want the arguments %s", strings.Join(names, " "))
	}
}
