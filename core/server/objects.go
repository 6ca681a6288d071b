package server

import (
	"context"
	"fmt"
	"slices"
)

// systemSchemas are those of the server itself.
func systemSchemas() []string {
	return []string{"mysql", "sys", "performance_schema", "information_schema"}
}

// Databases returns the user's schemas in order, as far as the account may see them.
func (s *Server) Databases(ctx context.Context) ([]string, error) {
	var names []string
	err := s.rows(ctx, "SHOW DATABASES", func(scan func(...any) error) error {
		var name string
		if err := scan(&name); err != nil {
			return err
		}
		if !slices.Contains(systemSchemas(), name) {
			names = append(names, name)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list the databases: %w", err)
	}
	slices.Sort(names)
	return names, nil
}

// Table is a table of the user.
type Table struct {
	Schema, Name, Engine string
}

// NonInnoDBTables returns the user's tables of other engines, in order. MySQL shows an account only tables
// it has some privilege on, so with the least privileges of a backup this finds none: what lies in the data
// directory decides, this is for messages.
func (s *Server) NonInnoDBTables(ctx context.Context) ([]Table, error) {
	var tables []Table
	err := s.rows(ctx, `SELECT TABLE_SCHEMA, TABLE_NAME, ENGINE FROM information_schema.TABLES
		WHERE TABLE_TYPE = 'BASE TABLE' AND ENGINE <> 'InnoDB'
		AND TABLE_SCHEMA NOT IN ('mysql', 'sys', 'performance_schema', 'information_schema')
		ORDER BY TABLE_SCHEMA, TABLE_NAME`, func(scan func(...any) error) error {
		var t Table
		if err := scan(&t.Schema, &t.Name, &t.Engine); err != nil {
			return err
		}
		tables = append(tables, t)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list the tables of other engines: %w", err)
	}
	return tables, nil
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

// Tablespaces lists the tablespaces. It needs PROCESS. The server looks at each file: about 20 ms for 1,000.
func (s *Server) Tablespaces(ctx context.Context) ([]Tablespace, error) {
	var spaces []Tablespace
	err := s.rows(ctx, "SELECT SPACE, NAME, SPACE_TYPE, STATE, ENCRYPTION = 'Y' FROM information_schema.INNODB_TABLESPACES",
		func(scan func(...any) error) error {
			var t Tablespace
			if err := scan(&t.ID, &t.Name, &t.Type, nullString{&t.State}, &t.Encrypted); err != nil {
				return err
			}
			spaces = append(spaces, t)
			return nil
		})
	if err != nil {
		return nil, fmt.Errorf("list the tablespaces: %w", err)
	}
	return spaces, nil
}

// TablespaceFiles returns the files of each tablespace by id, as the server names them: absolute, or relative
// to the data directory. Temporary ones are left out. It needs PROCESS.
func (s *Server) TablespaceFiles(ctx context.Context) (map[uint32][]string, error) {
	files := make(map[uint32][]string)
	err := s.rows(ctx, `SELECT FILE_ID, FILE_NAME FROM information_schema.FILES
		WHERE ENGINE = 'InnoDB' AND FILE_TYPE <> 'TEMPORARY' ORDER BY FILE_ID, FILE_NAME`, func(scan func(...any) error) error {
		var id uint32
		var name string
		if err := scan(&id, &name); err != nil {
			return err
		}
		files[id] = append(files[id], name)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list the tablespaces' files: %w", err)
	}
	return files, nil
}
