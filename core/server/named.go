package server

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// TablespacesNamed returns the tablespaces that the dictionary has with one of these ids or names (as
// Tablespace.Name). It asks for them alone: what TablespacePaths did not list is looked for here once more.
func (s *Server) TablespacesNamed(ctx context.Context, ids []uint32, names []string) ([]TablespacePath, error) {
	terms := []string{"FALSE"}
	if len(ids) > 0 {
		var list []string
		for _, id := range ids {
			list = append(list, strconv.FormatUint(uint64(id), 10))
		}
		terms = append(terms, "SPACE IN ("+strings.Join(list, ", ")+")")
	}
	if len(names) > 0 {
		var list []string
		for _, name := range names {
			list = append(list, quoteString(name))
		}
		terms = append(terms, "NAME IN ("+strings.Join(list, ", ")+")")
	}
	var spaces []TablespacePath
	err := s.rows(ctx, "SELECT SPACE, NAME, PATH FROM information_schema.INNODB_TABLESPACES_BRIEF WHERE "+strings.Join(terms, " OR "),
		func(scan func(...any) error) error {
			var t TablespacePath
			if err := scan(&t.ID, &t.Name, &t.Path); err != nil {
				return err
			}
			if slices.Contains(ids, t.ID) || slices.Contains(names, t.Name) { // the server compares names without case
				spaces = append(spaces, t)
			}
			return nil
		})
	if err != nil {
		return nil, fmt.Errorf("look for %d tablespaces in the dictionary: %w", len(ids)+len(names), err)
	}
	return spaces, nil
}
