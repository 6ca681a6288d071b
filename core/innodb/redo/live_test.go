package redo_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/remora-backup/remora/core/innodb/redo"
	"github.com/remora-backup/remora/core/mysqld/mysqldtest"
	"github.com/remora-backup/remora/core/needs"
)

// TestLive loads real servers with all kinds of statements and parses what they wrote, to the last byte.
func TestLive(t *testing.T) {
	needs.Server(t)
	tests := []struct {
		name       string
		page       int
		pageSize   string
		sums       redo.Checksums
		args       []string
		compressed []string // KEY_BLOCK_SIZEs
	}{
		{"16k", 16 << 10, "16384", redo.RequireCRC, nil, []string{"8", "4", "2", "1"}},
		{"4k without checksums", 4 << 10, "4096", redo.AllowNone, []string{"--innodb-log-checksums=OFF"}, []string{"4", "1"}},
		{"64k", 64 << 10, "65536", redo.RequireCRC, nil, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			args := append([]string{"--innodb-redo-log-capacity=512M", "--skip-log-bin", "--innodb-flush-method=nosync", "--innodb-flush-log-at-trx-commit=0"}, tt.args...)
			s := mysqldtest.Start(t, mysqldtest.PageSize(tt.pageSize), mysqldtest.Args(args...))
			keepLog(t, s)
			s.Exec("SET GLOBAL innodb_change_buffering = 'all'")
			s.Exec(load(t, "400", tt.compressed)...)
			l, end := atRest(t, s)
			for _, from := range []redo.LSN{l.start(), l.checkpoint} {
				parseAll(t, l, from, end, tt.page, tt.sums)
			}
			samePaths(t, s, parseAll(t, l, l.start(), end, tt.page, tt.sums))
		})
	}
}

// parseAll parses everything from one position to the log's end, which must be at end, and returns what was reported.
func parseAll(t *testing.T, l redoLog, from, end redo.LSN, page int, sums redo.Checksums) []redo.Event {
	t.Helper()
	var events []redo.Event
	p := redo.NewParser(from, page, func(e redo.Event) { events = append(events, e) })
	state := l.each(from, sums, func(b redo.Block) {
		if err := p.Feed(b); err != nil {
			t.Fatal(err)
		}
	})
	if state != redo.NotYetWritten {
		t.Errorf("the log ends with a block that is %v", state)
	}
	if got := p.ParsedLSN(); got != end {
		t.Errorf("parsed to LSN %d, the server is at %d", got, end)
	}
	return events
}

// keepLog makes the server keep all redo files from now on.
func keepLog(t *testing.T, s *mysqldtest.Server) {
	t.Helper()
	conn, err := s.DB().Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	var busy bool
	if err := conn.QueryRowContext(t.Context(), "SELECT innodb_redo_log_consumer_register()").Scan(&busy); err != nil || busy {
		t.Fatalf("register a consumer: busy %v, %v", busy, err)
	}
}

// samePaths compares the files the log speaks of with those the server has.
func samePaths(t *testing.T, s *mysqldtest.Server, events []redo.Event) {
	t.Helper()
	have := map[uint32]string{}
	for _, e := range events {
		switch e.Type {
		case redo.FileCreate:
			have[e.Space] = e.Path
		case redo.FileRename:
			if have[e.Space] != e.Path {
				t.Errorf("LSN %d: space %d is renamed from %q, was %q", e.Start, e.Space, e.Path, have[e.Space])
			}
			have[e.Space] = e.To
		case redo.FileDelete:
			if strings.HasSuffix(e.Path, ".ibu") {
				continue // truncated: the file lives on with another space id, of which the log says nothing
			}
			if have[e.Space] != e.Path {
				t.Errorf("LSN %d: space %d is deleted as %q, was %q", e.Start, e.Space, e.Path, have[e.Space])
			}
			delete(have, e.Space)
		}
	}
	rows, err := s.DB().QueryContext(t.Context(), "SELECT SPACE, PATH FROM information_schema.INNODB_DATAFILES WHERE PATH LIKE './r/%'")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	n := 0
	for rows.Next() {
		var space uint32
		var want string
		if err := rows.Scan(&space, &want); err != nil {
			t.Fatal(err)
		}
		// The log has the server's own spelling of odd names, information_schema the user's.
		if got := have[space]; !strings.EqualFold(got, want) {
			t.Errorf("space %d is %q in the log, %q on the server", space, got, want)
		}
		delete(have, space)
		n++
	}
	if err := rows.Err(); err != nil || n < 10 {
		t.Errorf("the server has %d tablespaces, %v", n, err)
	}
	for space, path := range have {
		if strings.HasPrefix(path, "./r/") {
			t.Errorf("space %d, %q, is in the log but not on the server", space, path)
		}
	}
}

// load returns statements that make a server write redo records of nearly all types.
func load(t *testing.T, rows string, compressed []string) []string {
	t.Helper()
	all := statements(t, "load.sql", "$ROWS", rows)
	for _, k := range compressed {
		all = append(all, statements(t, "compressed.sql", "$K", k, "$P", map[bool]string{true: "ON", false: "OFF"}[k == "4"])...)
	}
	return all
}

func statements(t *testing.T, file string, replace ...string) []string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", file))
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for line := range strings.Lines(strings.NewReplacer(replace...).Replace(string(b))) {
		if !strings.HasPrefix(line, "--") {
			all = append(all, strings.TrimSuffix(strings.TrimSpace(line), ";"))
		}
	}
	return all
}

// atRest reads the log at a moment when nothing is written, and returns where it ends. The server writes what it has by itself
// within a second or two, and purge comes to an end; FLUSH ENGINE LOGS would write anew each time: it takes a transaction id.
func atRest(t *testing.T, s *mysqldtest.Server) (redoLog, redo.LSN) {
	t.Helper()
	for range 600 {
		end := lsn(t, s)
		l := readLog(t, filepath.Join(s.Dir, redo.Dir))
		if lsn(t, s) == end && l.end() == end {
			return l, end
		}
		time.Sleep(100 * time.Millisecond)
	}
	t.Fatal("the server does not come to rest")
	return redoLog{}, 0
}

func lsn(t *testing.T, s *mysqldtest.Server) redo.LSN {
	t.Helper()
	var status struct{ InnoDB struct{ LSN redo.LSN } }
	if err := json.Unmarshal([]byte(s.QueryString("SELECT storage_engines FROM performance_schema.log_status")), &status); err != nil {
		t.Fatal(err)
	}
	return status.InnoDB.LSN
}
