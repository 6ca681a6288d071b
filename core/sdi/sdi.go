// Package sdi reads the descriptions that MySQL keeps beside the files of tables of other engines than InnoDB.
//
// Each such table, also one that has no other file (MEMORY, BLACKHOLE), has a file TABLE_ID.sdi in the directory of
// its schema: serialized dictionary information, JSON in UTF-8 (sql/dd/impl/sdi_file.cc, sql/dd/impl/types/table_impl.cc,
// Table_impl::serialize). So the files tell which engines a server's tables have, whatever an account may see by SQL.
// NDB keeps its descriptions elsewhere.
package sdi

import (
	"encoding/json"
	"errors"
	"fmt"
)

// MaxSize is the largest description that is read, in bytes. A table with 4,096 columns needs about 4 MiB.
const MaxSize = 64 << 20

// Table is what a description says of its table: the names as SQL has them.
type Table struct {
	Schema, Name, Engine string
}

// ErrNotTable means that the description is sound, and one of something else, such as a schema.
var ErrNotTable = errors.New("not the description of a table")

// Parse reads a description. What is no JSON, or lacks a name or the engine, is an error.
func Parse(b []byte) (Table, error) {
	if len(b) > MaxSize {
		return Table{}, fmt.Errorf("parse the description of a table: %d bytes are more than %d", len(b), MaxSize)
	}
	var d struct {
		Type   string `json:"dd_object_type"`
		Object struct {
			Name   string `json:"name"`
			Schema string `json:"schema_ref"`
			Engine string `json:"engine"`
		} `json:"dd_object"`
	}
	if err := json.Unmarshal(b, &d); err != nil {
		return Table{}, fmt.Errorf("parse the description of a table: %w", err)
	}
	if d.Type != "" && d.Type != "Table" {
		return Table{}, fmt.Errorf("parse the description of a %q: %w", d.Type, ErrNotTable)
	}
	t := Table{Schema: d.Object.Schema, Name: d.Object.Name, Engine: d.Object.Engine}
	if d.Type == "" || t.Schema == "" || t.Name == "" || t.Engine == "" {
		return Table{}, fmt.Errorf("parse the description of a table: no type, name, schema or engine in it (%q, %+v)", d.Type, t)
	}
	return t, nil
}
