// Package inert keeps a restored server quiet until somebody says that it may live.
//
// A data directory that was restored starts as its source was: with events that run, channels
// that log in to the source of the source with the stored password, and clients that write.
// Each of that makes transactions which exist nowhere else. Before a restore is published,
// Quiet therefore writes into the file of persisted variables what the role of the restored
// server allows, and Record keeps what was restored and what was set, for people and for what
// ends the restore.
package inert

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/remora-backup/remora/core/code"
)

// Role is what a restored server is to be.
type Role string

const (
	// Inert: it runs no event, replicates nothing, and accepts no writes.
	Inert Role = "inert"
	// Primary: it has forgotten from where it replicated, and is ready for writes.
	Primary Role = "primary"
	// Replica: it accepts no writes and runs no events; its channels are ready to be started.
	Replica Role = "replica"
)

// ParseRole returns the role of that name; an error is code.Usage.
func ParseRole(name string) (Role, error) {
	switch r := Role(name); r {
	case Inert, Primary, Replica:
		return r, nil
	}
	return "", code.New(code.Usage, "a restored server can be %s, %s or %s, not %.40q", Inert, Primary, Replica, name)
}

// variable is one that a role sets; "" leaves it as it was persisted, or removes it with drop.
type variable struct {
	name  string
	alias string // older name, under which a server keeps the value as well
	value string
	group string // where the file has it, see persisted.go
}

// variables returns what is set for the role, and which names are removed. channels are those
// of the source.
func (r Role) variables(channels []string) (set []variable, drop []string) {
	quiet := []variable{
		{name: "super_read_only", value: "ON", group: dynamic},
		{name: "read_only", value: "ON", group: dynamic},
		{name: "event_scheduler", value: "OFF", group: dynamic},
		{name: "skip_replica_start", alias: "skip_slave_start", value: "ON", group: static},
	}
	groupOff := variable{name: "group_replication_start_on_boot", value: "OFF", group: static}
	switch r {
	case Primary:
		if slices.ContainsFunc(channels, func(name string) bool { return strings.HasPrefix(name, "group_replication_") }) {
			set = []variable{groupOff}
		}
		return set, []string{"super_read_only", "read_only"}
	case Inert, Replica:
		set = append(quiet, groupOff)
		if len(channels) > 0 {
			// A backup has no relay logs: channels go on from what they have applied.
			set = append(set, variable{name: "relay_log_recovery", value: "ON", group: static})
		}
	}
	return set, nil
}

// AtRecovery is SQL for the server that recovers the data, which begins nothing by itself. A
// primary has forgotten from where it replicated, and the passwords with it.
func (r Role) AtRecovery() []string {
	if r == Primary {
		return []string{"RESET REPLICA ALL;"} // of all channels; it writes no transaction
	}
	return nil
}

// Statements are those that lift what was set: the values of before come back, and count
// when the server is started the next time.
func Statements(set []Setting) (sql []string) {
	for _, s := range set {
		if s.Was == nil {
			sql = append(sql, fmt.Sprintf("RESET PERSIST IF EXISTS %s;", s.Name))
		} else {
			sql = append(sql, fmt.Sprintf("SET PERSIST_ONLY %s = '%s';", s.Name, escape(*s.Was)))
		}
	}
	return sql
}

// Told is what a person is told of a data directory at path that was made for the role: what
// its server is, what was persisted for that, and how it is lifted.
func Told(r Role, path string, set []Setting) (lines []string) {
	switch r {
	case Primary:
		lines = append(lines, "the restored server is a primary: it has forgotten from where it replicated, and accepts writes unless its configuration forbids them")
	case Replica:
		lines = append(lines, "the restored server is a replica: it runs no events and accepts no writes; START REPLICA goes on where the backup was")
	default:
		lines = append(lines, "the restored server is inert: it runs no events, starts no replication, and accepts no writes")
	}
	var texts []string
	for _, s := range set {
		if s.Value == "" {
			texts = append(texts, s.Name+" no more")
		} else {
			texts = append(texts, s.Name+" = "+s.Value)
		}
	}
	if len(texts) > 0 {
		lines = append(lines, fmt.Sprintf("persisted in %s: %s (a server started with --no-defaults does not read them)", filepath.Join(path, FileName), strings.Join(texts, ", ")))
	}
	if r != Primary && len(set) > 0 {
		lines = append(lines, fmt.Sprintf("when it is started, `remora adopt %s --as primary` or `--as replica` compares it with the backup and lifts that; by hand, before its next start: %s",
			code.Word(path), strings.Join(Statements(set), " ")))
	}
	return lines
}
