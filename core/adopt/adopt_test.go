package adopt

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/remora-backup/remora/core/code"
	"github.com/remora-backup/remora/core/inert"
	"github.com/remora-backup/remora/core/server"
)

// fake is a server that answers what it is told to.
type fake struct {
	uuid     string
	executed server.Executed
	spaces   []server.Tablespace
	paths    []server.TablespacePath
	quiet    server.Quiet
	did      []string
	refuses  string // a statement
}

func (f *fake) Identity(context.Context) (server.Identity, error) {
	return server.Identity{UUID: f.uuid}, nil
}
func (f *fake) Executed(context.Context, string) (server.Executed, error)        { return f.executed, nil }
func (f *fake) Tablespaces(context.Context) ([]server.Tablespace, error)         { return f.spaces, nil }
func (f *fake) TablespacePaths(context.Context) ([]server.TablespacePath, error) { return f.paths, nil }
func (f *fake) Quiet(context.Context) (server.Quiet, error)                      { return f.quiet, nil }
func (f *fake) Do(_ context.Context, statement string) error {
	if statement == f.refuses {
		return errors.New("refused")
	}
	f.did = append(f.did, statement)
	return nil
}

// restored is a record, and a server that is exactly that.
func restored() (inert.Record, *fake) {
	r := inert.Record{
		As: inert.Inert, SourceUUID: "source", GTIDExecuted: "u:1-8",
		Tablespaces: []inert.Tablespace{{Space: 0, Path: "ibdata1"}, {Space: 4294967294, Path: "mysql.ibd"}, {Space: 7, Path: "db/t.ibd"}, {Space: 4294967279, Path: "undo_001"}},
		Set: []inert.Setting{{Name: "super_read_only", Value: "ON"}, {Name: "read_only", Value: "ON"}, {Name: "event_scheduler", Value: "OFF"},
			{Name: "skip_replica_start", Value: "ON"}, {Name: "relay_log_recovery", Value: "ON"}},
	}
	return r, &fake{
		uuid: "own", executed: server.Executed{Has: "u:1-8"},
		spaces: []server.Tablespace{
			{ID: 4294967294, Name: "mysql", Type: "General", State: "normal"}, {ID: 7, Name: "db/t", Type: "Single", State: "normal"},
			{ID: 4294967151, Name: "innodb_undo_001", Type: "Undo", State: "active"}, // truncated since
			{ID: 4294967293, Name: "innodb_temporary", Type: "System", State: "normal"}, {ID: 9, Name: "db/gone", Type: "Single", State: "discarded"},
		},
		paths: []server.TablespacePath{{ID: 7, Name: "db/t", Path: "./db/t.ibd"}, {ID: 4294967151, Name: "innodb_undo_001", Path: "./undo_001"}},
	}
}

func TestCompare(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*inert.Record, *fake)
		want   []string // the beginnings
		code   code.Code
	}{
		{"the same", func(*inert.Record, *fake) {}, nil, code.Done},
		{"transactions of another life", func(_ *inert.Record, f *fake) { f.executed.More = "u:9-11" }, []string{"gtid_executed: the server has u:9-11"}, code.Target},
		{"transactions missing", func(_ *inert.Record, f *fake) { f.executed.Missing = "u:8,\nv:1" }, []string{"gtid_executed: the backup has u:8,v:1, the server has not"}, code.Integrity},
		{"the source itself", func(_ *inert.Record, f *fake) { f.uuid = "source" }, []string{"server_uuid: source is that of"}, code.Target},
		{"a table missing", func(_ *inert.Record, f *fake) { f.spaces = slices.Delete(f.spaces, 1, 2) }, []string{"tablespace db/t.ibd (7): the server does not have it"}, code.Integrity},
		{"a table corrupt", func(_ *inert.Record, f *fake) { f.spaces[1].State = "corrupted" }, []string{"tablespace db/t.ibd (7): the server calls it corrupted"}, code.Integrity},
		{"another file", func(_ *inert.Record, f *fake) { f.paths[0].Path = "/old/t.ibd" }, []string{"tablespace db/t.ibd (7): the server has it at /old/t.ibd"}, code.Integrity},
		{"a table more, and one missing", func(_ *inert.Record, f *fake) { f.spaces[1].ID = 8 },
			[]string{"tablespace db/t.ibd (7): the server does not", "tablespace db/t (8): the backup has none such"}, code.Integrity},
		{"an undo tablespace missing", func(_ *inert.Record, f *fake) { f.spaces = slices.Delete(f.spaces, 2, 3) }, []string{"tablespace undo_001 (4294967279)"}, code.Integrity},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, f := restored()
			c.change(&r, f)
			got, err := Compare(t.Context(), f, r)
			if err != nil {
				t.Fatal(err)
			}
			ok := len(got) == len(c.want)
			for i := range min(len(got), len(c.want)) {
				ok = ok && strings.HasPrefix(got[i].Text, c.want[i])
			}
			if answer := Answer(got); !ok || code.Of(answer) != c.code {
				t.Errorf("got %v and %v, want %q and code %d", got, answer, c.want, c.code)
			}
		})
	}
}

func TestLift(t *testing.T) {
	for as, want := range map[inert.Role][]string{
		inert.Inert: nil,
		inert.Primary: {
			"STOP REPLICA", "RESET REPLICA ALL", "SET GLOBAL super_read_only = OFF", "SET GLOBAL read_only = OFF",
			"RESET PERSIST IF EXISTS super_read_only", "RESET PERSIST IF EXISTS read_only", "RESET PERSIST IF EXISTS event_scheduler",
			"RESET PERSIST IF EXISTS skip_replica_start", "RESET PERSIST IF EXISTS relay_log_recovery",
		},
		inert.Replica: {"RESET PERSIST IF EXISTS skip_replica_start"},
	} {
		r, f := restored()
		var told []string
		if err := Lift(t.Context(), f, r, as, func(s string) { told = append(told, s) }); err != nil {
			t.Errorf("%s: %v", as, err)
		}
		if !slices.Equal(f.did, want) || !slices.Equal(told, want) {
			t.Errorf("%s: did %q, told %q, want %q", as, f.did, told, want)
		}
	}
}

// What was carried out is done when the server says so.
func TestLiftLooksWhatCameOfIt(t *testing.T) {
	for name, q := range map[string]server.Quiet{
		"read only": {ReadOnly: true},
		"persisted": {Persisted: map[string]string{"skip_replica_start": "ON"}},
	} {
		r, f := restored()
		f.quiet = q
		if err := Lift(t.Context(), f, r, inert.Primary, func(string) {}); err == nil {
			t.Errorf("%s: it was taken for done", name)
		}
	}
	r, f := restored()
	f.refuses = "SET GLOBAL read_only = OFF"
	err := Lift(t.Context(), f, r, inert.Primary, func(string) {})
	if err == nil || !strings.Contains(code.HintOf(err), "SET GLOBAL read_only = OFF; RESET PERSIST") || len(f.did) != 3 {
		t.Errorf("got %v (%s) after %q, want the rest as a hint", err, code.HintOf(err), f.did)
	}
}

func TestListening(t *testing.T) {
	for line, want := range map[string][2]string{
		"Num       RefCount Protocol Flags    Type St Inode Path":                    {},
		"ffff8881: 00000002 00000000 00010000 0001 01 12345 /run/mysqld/mysqld.sock": {"12345", "/run/mysqld/mysqld.sock"},
		"ffff8881: 00000002 00000000 00010000 0001 01 12345 /a dir/s.sock":           {"12345", "/a dir/s.sock"},
		"ffff8881: 00000003 00000000 00000000 0001 03 12346 /run/mysqld/mysqld.sock": {},
		"ffff8881: 00000002 00000000 00010000 0001 01 12347 @abstract":               {},
		"ffff8881: 00000002 00000000 00000000 0002 01 12348":                         {},
	} {
		inode, path := listening(line)
		if got := [2]string{inode, path}; got != want {
			t.Errorf("%q: got %q, want %q", line, got, want)
		}
	}
}
