package server

import (
	"context"
	"slices"
)

// systemSchemas are those of the server itself.
func systemSchemas() []string {
	return []string{"mysql", "sys", "performance_schema", "information_schema"}
}

// Databases returns the user's schemas in order, as far as the account is shown them (SHOW DATABASES shows all). It
// is for people: what is copied does not depend on it.
func (s *Server) Databases(ctx context.Context) ([]string, error) {
	var names []string
	err := s.list(ctx, list{
		what: "the databases", columns: []string{"SCHEMA_NAME"}, from: "FROM information_schema.SCHEMATA", some: true,
	}, func(v []string) error {
		if !slices.Contains(systemSchemas(), v[0]) {
			names = append(names, v[0])
		}
		return nil
	})
	slices.Sort(names)
	return names, err
}

// Tablespace is what InnoDB's dictionary says of one tablespace. The system tablespace (id 0) is not listed.
type Tablespace struct {
	ID        uint32
	Name      string // "schema/table", or the name of a general tablespace, in InnoDB's file name encoding
	Type      string // Single, General, System, Undo
	State     string // normal, discarded, corrupted; of undo: active, inactive, empty
	Encrypted bool
}

// HasFile reports whether a file must exist that belongs to a backup: not for temporary tables, nor for a
// table whose tablespace was discarded.
func (t Tablespace) HasFile() bool {
	return t.Name != "innodb_temporary" && t.State != "discarded"
}

// Tablespaces lists the tablespaces, proven whole. It needs PROCESS. The server looks at each file: about 20 ms for
// 1,000. It is made in another way than TablespacePaths (from the dictionary's tables by InnoDB itself, not by a
// view), so it also answers whether a file that TablespacePaths does not name belongs to the dictionary: its
// space id must not be here.
func (s *Server) Tablespaces(ctx context.Context) ([]Tablespace, error) {
	var spaces []Tablespace
	err := s.list(ctx, list{
		what: "the tablespaces", columns: []string{"SPACE", "NAME", "SPACE_TYPE", "STATE", "ENCRYPTION"},
		from: "FROM information_schema.INNODB_TABLESPACES", some: true,
	}, func(v []string) error {
		id, err := spaceID(v[0])
		spaces = append(spaces, Tablespace{ID: id, Name: v[1], Type: v[2], State: v[3], Encrypted: v[4] == "Y"})
		return err
	})
	return spaces, err
}
