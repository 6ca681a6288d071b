package server

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/remora-backup/remora/core/code"
)

// list is a question whose answer must be whole. Nothing of a backup may rest on a list that was cut: by a limit
// that came from outside, by something between us and the server that thins out answers, or because its parts
// came from two servers.
type list struct {
	what    string   // for messages: "the tablespaces"
	columns []string // expressions
	from    string   // FROM and WHERE
	some    bool     // an empty list is impossible
}

// query makes the server count in the same statement, before anything that could cut the result, and say who it
// is in every row. The join leaves a row, with the count 0, of a list that is empty.
func (l list) query() string {
	return "SELECT @@server_uuid, COUNT(l.there) OVER (), l.* FROM (SELECT 1) AS one LEFT JOIN (SELECT 1 AS there, " +
		strings.Join(l.columns, ", ") + " " + l.from + ") AS l ON TRUE"
}

// list calls f with the columns of each row, NULL as "", and returns no error only if the list was whole and all
// of it from the server that Connect found.
func (s *Server) list(ctx context.Context, l list, f func(values []string) error) error {
	const before = 3 // columns of ours
	rows, count := 0, ""
	values := make([]string, before+len(l.columns))
	err := s.rows(ctx, l.query(), func(scan func(...any) error) error {
		if err := scan(nullStrings(values)...); err != nil {
			return err
		}
		if first := s.First(); values[0] != first.UUID {
			return code.Hint(code.ServerGone, oneServer, "connections reach two servers: %v, and %s", first, values[0])
		}
		count = values[1]
		if values[2] == "" {
			return nil
		}
		rows++
		return f(values[before:])
	})
	switch {
	case err != nil:
		return fmt.Errorf("list %s: %w", l.what, err)
	case strconv.Itoa(rows) != count, l.some && rows == 0:
		return code.Hint(code.Version, notTaken, "list %s: the server counted %q and sent %d: the list cannot be relied on", l.what, count, rows)
	}
	return nil
}

// spaceID reads a space id.
func spaceID(s string) (uint32, error) {
	n, err := strconv.ParseUint(s, 10, 32)
	return uint32(n), err
}
