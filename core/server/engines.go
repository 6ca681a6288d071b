package server

import (
	"context"
	"slices"
	"strings"
)

// Table is a table, by the names that SQL has for it.
type Table struct {
	Schema, Name, Engine string
}

func (t Table) String() string { return t.Schema + "." + t.Name + " (" + t.Engine + ")" }

// EngineKind is what becomes of an engine's tables in a backup.
type EngineKind int

// What becomes of tables. MySQL's own engines are known by name; of any other nothing is known, so that is Foreign.
const (
	EngineInnoDB  EngineKind = iota
	EngineFiles              // in files of the data directory, copied under the lock: MyISAM, CSV, ARCHIVE, MERGE
	EngineNoData             // holds none of its own: BLACKHOLE, FEDERATED, PERFORMANCE_SCHEMA
	EngineMemory             // MEMORY: the rows are gone with the server
	EngineForeign            // its data lie where only it knows, and are not copied: MyRocks, NDB
)

// KindOfEngine tells what becomes of the tables of an engine. Case does not matter.
func KindOfEngine(name string) EngineKind {
	switch strings.ToLower(name) {
	case "innodb":
		return EngineInnoDB
	case "myisam", "csv", "archive", "mrg_myisam":
		return EngineFiles
	case "blackhole", "federated", "performance_schema", "example":
		return EngineNoData
	case "memory":
		return EngineMemory
	}
	return EngineForeign
}

// ServersOwn reports whether a table of another engine than InnoDB is the server's own rather than a user's: of all
// versions since 8.0 only the logs that log_output=TABLE writes are (and performance_schema, which is no data).
// Everything else of the dictionary and the grants is InnoDB's. What else lies in mysql or sys somebody put there.
func (t Table) ServersOwn() bool {
	return t.Schema == "performance_schema" || t.Schema == "mysql" && (t.Name == "general_log" || t.Name == "slow_log")
}

// OtherTables are the tables that are not InnoDB's nor the server's own.
type OtherTables struct {
	Tables []Table // in order
	// Whole is whether the account is shown every table. MySQL shows it only those on which it has some privilege,
	// with the least privileges of a backup none; SHOW VIEW on *.* is enough. If not, only the files tell: each
	// table that is not InnoDB's has a description beside it (*.sdi), which names its engine.
	Whole bool
	// Foreign are the engines that the server has loaded and of which we know nothing. That needs no privilege.
	// NDB is one that has no descriptions in files.
	Foreign []string
}

// OtherTables lists the tables of other engines, as far as the account is shown them, and the engines.
func (s *Server) OtherTables(ctx context.Context) (OtherTables, error) {
	var o OtherTables
	err := s.list(ctx, list{
		what: "the tables of other engines", columns: []string{"TABLE_SCHEMA", "TABLE_NAME", "ENGINE"},
		from: "FROM information_schema.TABLES WHERE TABLE_TYPE = 'BASE TABLE' AND ENGINE IS NOT NULL AND ENGINE <> 'InnoDB' AND TABLE_SCHEMA <> 'performance_schema'",
	}, func(v []string) error {
		t := Table{Schema: v[0], Name: v[1], Engine: v[2]}
		if t.Schema == "mysql" && t.Name == "general_log" {
			o.Whole = true // nobody has a privilege on just this one
		}
		if !t.ServersOwn() {
			o.Tables = append(o.Tables, t)
		}
		return nil
	})
	if err != nil {
		return OtherTables{}, err
	}
	slices.SortFunc(o.Tables, func(a, b Table) int { return strings.Compare(a.Schema+"\x00"+a.Name, b.Schema+"\x00"+b.Name) })
	err = s.list(ctx, list{
		what: "the engines", columns: []string{"ENGINE"}, some: true,
		from: "FROM information_schema.ENGINES WHERE SUPPORT IN ('YES', 'DEFAULT')",
	}, func(v []string) error {
		if KindOfEngine(v[0]) == EngineForeign {
			o.Foreign = append(o.Foreign, v[0])
		}
		return nil
	})
	slices.Sort(o.Foreign)
	return o, err
}
