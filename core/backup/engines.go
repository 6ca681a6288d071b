package backup

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/remora-backup/remora/core/code"
	"github.com/remora-backup/remora/core/plug"
	"github.com/remora-backup/remora/core/repo"
	"github.com/remora-backup/remora/core/sdi"
	"github.com/remora-backup/remora/core/server"
)

// engines decides what a server's other engines mean for its backup.
type engines struct {
	exclude []string // left out on purpose
	active  []string // that keep data of their own beside the files of tables
	listed  []server.Table
}

// isEngine compares names as the server does.
func isEngine(name string) func(string) bool {
	return func(other string) bool { return strings.EqualFold(name, other) }
}

// checkExcluded refuses to leave out what is copied anyway.
func checkExcluded(exclude []string) error {
	for _, name := range exclude {
		if server.KindOfEngine(name) != server.EngineForeign {
			return code.New(code.Usage, "[backup] exclude_engines: %s is an engine whose tables are always part of a backup", name)
		}
	}
	return nil
}

// unheld returns the engines whose rows the backup does not hold, with their tables, as the
// manifest has them. described are the tables that have a description in a file. An engine that
// is not left out on purpose is an error, and all are in it.
func (e engines) unheld(described []sdi.Table) ([]repo.Engine, error) {
	byName := map[string]*repo.Engine{}
	add := func(name string) *repo.Engine {
		key := strings.ToLower(name)
		if byName[key] == nil {
			byName[key] = &repo.Engine{Name: name, Excluded: slices.ContainsFunc(e.exclude, isEngine(name))}
		}
		return byName[key]
	}
	for _, name := range e.active {
		add(name)
	}
	for _, t := range e.tables(described) {
		x := add(t.Engine)
		x.Tables = append(x.Tables, repo.Table{Schema: t.Schema, Name: t.Name})
	}
	var all []repo.Engine
	var missed, names []string
	for _, key := range slices.Sorted(maps.Keys(byName)) {
		x := *byName[key]
		all = append(all, x)
		if !x.Excluded && server.KindOfEngine(x.Name) == server.EngineForeign {
			missed, names = append(missed, x.String()), append(names, fmt.Sprintf("%q", x.Name))
		}
	}
	if len(missed) > 0 {
		return nil, code.Hint(code.Version, "take these tables by other means and leave them out on purpose: [backup] exclude_engines = ["+strings.Join(append(names, e.quoted()...), ", ")+"]",
			"the server has data that is not copied: %s", strings.Join(missed, "; "))
	}
	return all, nil
}

// users are the tables that the backup copies as files while they are locked against writes.
func users(described []sdi.Table) (tables []plug.Table) {
	for _, d := range described {
		if t := server.Table(d); server.KindOfEngine(t.Engine) == server.EngineFiles && !t.ServersOwn() {
			tables = append(tables, plug.Table{Schema: t.Schema, Name: t.Name})
		}
	}
	// Two descriptions may be of one table: one that a crash left, one put there for an import.
	slices.SortFunc(tables, func(a, b plug.Table) int { return cmp.Or(cmp.Compare(a.Schema, b.Schema), cmp.Compare(a.Name, b.Name)) })
	return slices.Compact(tables)
}

// quoted are those that are left out already.
func (e engines) quoted() (names []string) {
	for _, name := range e.exclude {
		names = append(names, fmt.Sprintf("%q", name))
	}
	return names
}

// tables are those whose rows the backup does not hold, each once, in order.
func (e engines) tables(described []sdi.Table) (tables []server.Table) {
	for _, d := range described {
		tables = append(tables, server.Table(d))
	}
	for _, t := range e.listed {
		if server.KindOfEngine(t.Engine) == server.EngineForeign { // the files tell of the others, and newer
			tables = append(tables, t)
		}
	}
	tables = slices.DeleteFunc(tables, func(t server.Table) bool {
		kind := server.KindOfEngine(t.Engine)
		return kind != server.EngineForeign && kind != server.EngineMemory
	})
	slices.SortFunc(tables, func(a, b server.Table) int { return cmp.Compare(a.String(), b.String()) })
	return slices.CompactFunc(tables, func(a, b server.Table) bool { return a.Schema == b.Schema && a.Name == b.Name })
}
