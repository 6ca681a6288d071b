// Package adopt ends a restore: it compares the started server with what was restored, and
// lifts what keeps it quiet.
package adopt

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/remora-backup/remora/core/code"
	"github.com/remora-backup/remora/core/inert"
	"github.com/remora-backup/remora/core/server"
)

// Server is the started server, as core/server asks it.
type Server interface {
	Identity(ctx context.Context) (server.Identity, error)
	Executed(ctx context.Context, should string) (server.Executed, error)
	Tablespaces(ctx context.Context) ([]server.Tablespace, error)
	TablespacePaths(ctx context.Context) ([]server.TablespacePath, error)
	Do(ctx context.Context, statement string) error
	Quiet(ctx context.Context) (server.Quiet, error)
}

// Difference is one thing in which the server is not what was restored.
type Difference struct {
	// Code is code.Integrity if something of the backup is missing or damaged, and code.Target
	// if there is more than was restored: of another life, or written since.
	Code code.Code
	Text string
}

// Compare returns in what the server is not what was restored. No difference is a server that
// has exactly the transactions and the tablespaces of the record, each of them usable.
func Compare(ctx context.Context, s Server, r inert.Record) ([]Difference, error) {
	who, err := s.Identity(ctx)
	if err != nil {
		return nil, err
	}
	executed, err := s.Executed(ctx, r.GTIDExecuted)
	if err != nil {
		return nil, err
	}
	all := transactions(executed)
	if who.UUID == r.SourceUUID {
		all = append(all, Difference{code.Target, fmt.Sprintf("server_uuid: %s is that of the server that was backed up, and a restored one has its own: "+
			"is this the source, or an auto.cnf of it? (mv auto.cnf away and start again)", who.UUID)})
	}
	spaces, err := tablespaces(ctx, s, r.Tablespaces)
	return append(all, spaces...), err
}

func transactions(e server.Executed) (all []Difference) {
	if e.Missing != "" {
		all = append(all, Difference{code.Integrity, "gtid_executed: the backup has " + oneLine(e.Missing) + ", the server has not"})
	}
	if e.More != "" {
		all = append(all, Difference{code.Target, "gtid_executed: the server has " + oneLine(e.More) + ", the backup has not: " +
			"something was written here, or binary logs of an earlier life lie where log_bin points"})
	}
	return all
}

func oneLine(set string) string { return strings.ReplaceAll(set, "\n", "") }

// tablespaces compares what InnoDB's dictionary lists with what was restored. An undo
// tablespace gets a new id whenever it is truncated: it is known by its path.
func tablespaces(ctx context.Context, s Server, restored []inert.Tablespace) (all []Difference, err error) {
	listed, err := s.Tablespaces(ctx)
	if err != nil {
		return nil, err
	}
	paths, err := s.TablespacePaths(ctx)
	if err != nil {
		return nil, err
	}
	path := map[uint32]string{}
	for _, p := range paths {
		path[p.ID] = filepath.Clean(p.Path)
	}
	byID, undo := map[uint32]server.Tablespace{}, map[string]bool{}
	for _, t := range listed {
		byID[t.ID] = t
		if t.Type == "Undo" {
			undo[path[t.ID]] = true
		}
	}
	known := map[uint32]bool{}
	for _, want := range restored {
		known[want.Space] = true
		if undo[filepath.Clean(want.Path)] || want.Space == 0 { // the system tablespace is in no list
			continue
		}
		if d := usable(want, byID, path); d != "" {
			all = append(all, Difference{code.Integrity, d})
		}
	}
	for _, t := range listed {
		if !known[t.ID] && t.Type != "Undo" && t.HasFile() {
			all = append(all, Difference{code.Target, fmt.Sprintf("tablespace %s (%d): the backup has none such", t.Name, t.ID)})
		}
	}
	return all, nil
}

// usable says what is wrong with a tablespace that was restored; "" is nothing.
func usable(want inert.Tablespace, listed map[uint32]server.Tablespace, path map[uint32]string) string {
	t, ok := listed[want.Space]
	switch at, named := path[want.Space]; {
	case !ok:
		return fmt.Sprintf("tablespace %s (%d): the server does not have it", want.Path, want.Space)
	case t.State != "" && t.State != "normal":
		return fmt.Sprintf("tablespace %s (%d): the server calls it %s", want.Path, want.Space, t.State)
	case named && at != filepath.Clean(want.Path):
		return fmt.Sprintf("tablespace %s (%d): the server has it at %s", want.Path, want.Space, at)
	}
	return ""
}

// Answer makes the differences one error, nil if there are none. What is missing outranks
// what is too much.
func Answer(all []Difference) error {
	if len(all) == 0 {
		return nil
	}
	c, more := code.Target, ""
	for _, d := range all {
		if d.Code == code.Integrity {
			c = code.Integrity
		}
	}
	if n := len(all) - 1; n > 0 {
		more = fmt.Sprintf(", and %d more", n)
	}
	return code.Hint(c, "restore again, into an empty directory, with log_bin and the like pointing into it; nothing was lifted",
		"the server is not what was restored: %s%s", all[0].Text, more)
}
