// Package inert keeps a restored server quiet until somebody says what it is to be.
//
// A server that is started from a restored directory as it is runs no event, starts no
// replication, joins no group and takes no writes: persisted variables in mysqld-auto.cnf
// say so (Settings). Beside them lies a Record of what was restored. Whoever has started the
// server compares it with the record, and lifts what keeps it quiet (Lift).
package inert

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/remora-backup/remora/core/repo"
)

// As is what a restored server is to be.
type As string

const (
	Inert   As = "inert"   // quiet: to be looked at, then adopted
	Primary As = "primary" // takes writes; replication and its passwords are forgotten
	Replica As = "replica" // ready to follow a source; read only, no events
)

// ParseAs returns what text says; "" is Inert.
func ParseAs(text string) (As, error) {
	as := As(text)
	if text == "" {
		as = Inert
	}
	if !slices.Contains([]As{Inert, Primary, Replica}, as) {
		return "", fmt.Errorf("%q is not inert, primary or replica", text)
	}
	return as, nil
}

// Setting is a variable that is persisted for a quiet server.
type Setting struct {
	Name  string `json:"name"`
	Value string `json:"value,omitempty"` // "" is persisted no more
	// Static: it counts from the next start on only (SET PERSIST_ONLY).
	Static bool `json:"static,omitempty"`
	// Was is what was persisted before; nil is nothing.
	Was *string `json:"was,omitempty"`
	// Plugin: the server knows it only while a plugin is loaded, "group_replication" say.
	Plugin string `json:"plugin,omitempty"`
}

// Of is what is persisted for a server that is to be as it says; channels are those of the
// source, by name.
func (as As) Of(channels []string) []Setting {
	group := slices.ContainsFunc(channels, func(name string) bool { return strings.HasPrefix(name, "group_replication") })
	var all []Setting
	if as == Primary {
		all = append(all, Setting{Name: "read_only"}, Setting{Name: "super_read_only"})
		if group {
			all = append(all, groupOff)
		}
		return all
	}
	if len(channels) > 0 {
		// A backup has no relay logs: a channel that is started goes on from what it has applied.
		all = append(all, Setting{Name: "relay_log_recovery", Value: "ON", Static: true})
	}
	return append(all, Settings()...)
}

// Statements are SQL for the server that recovers the data and begins nothing by itself. A
// primary has forgotten from where it replicated, and the passwords with it; that writes no
// transaction.
func (as As) Statements() []string {
	if as == Primary {
		return []string{"RESET REPLICA ALL;"}
	}
	return nil
}

// groupOff counts from the plugin's next start on.
var groupOff = Setting{Name: "group_replication_start_on_boot", Value: "OFF", Static: true, Plugin: "group_replication"}

// Settings are what keeps a server quiet. super_read_only comes last: statements that are
// carried out in this order can all be.
func Settings() []Setting {
	return []Setting{
		{Name: "skip_replica_start", Value: "ON", Static: true},
		groupOff,
		{Name: "event_scheduler", Value: "OFF"},
		{Name: "read_only", Value: "ON"},
		{Name: "super_read_only", Value: "ON"},
	}
}

// Name is the file of the record in the data directory.
const Name = "remora-restore.json"

const format = 1

// Record says what was restored into a directory, and what keeps its server quiet.
type Record struct {
	Format   int           `json:"format"`
	Restored time.Time     `json:"restored"`
	As       As            `json:"as"`
	Manifest repo.Manifest `json:"manifest"`
	// ServerUUID is what auto.cnf says; "" if the server draws a new one when it starts.
	ServerUUID  string       `json:"server_uuid,omitempty"`
	Settings    []Setting    `json:"settings,omitempty"` // persisted
	Tablespaces []Tablespace `json:"tablespaces"`        // of the recovered server, without temporary ones
}

// Tablespace is one that INNODB_TABLESPACES lists.
type Tablespace struct {
	ID   uint32 `json:"id"`
	Name string `json:"name"` // as the server says it: db/table, mysql, innodb_undo_001
}

// Encode returns the text of the file, and sets the format.
func (r Record) Encode() ([]byte, error) {
	r.Format = format
	var text bytes.Buffer
	enc := json.NewEncoder(&text)
	enc.SetIndent("", " ")
	err := enc.Encode(r)
	return text.Bytes(), err
}

// Read reads the record of the directory. The error wraps fs.ErrNotExist if it has none.
func Read(dir string) (Record, error) {
	var r Record
	b, err := os.ReadFile(filepath.Join(dir, Name))
	if err != nil {
		return r, err
	}
	if err := json.Unmarshal(b, &r); err != nil {
		return r, fmt.Errorf("decode %s: %w", Name, err)
	}
	if r.Format != format {
		return r, fmt.Errorf("decode %s: format %d is not known here", Name, r.Format)
	}
	return r, nil
}

// Lift returns the statements, in order, that make the quiet server of r what as says, now and
// from its next start on. Inert is none. What my.cnf says of these variables counts again
// from the next start on.
func (r Record) Lift(as As) []string {
	if as == Inert {
		return nil
	}
	var all []string
	for _, s := range slices.Backward(r.Settings) {
		if as == Replica && s.staysWithReplica() {
			continue
		}
		all = append(all, s.lift()...)
	}
	return all
}

// lift takes the setting back: what was persisted before comes back.
func (s Setting) lift() []string {
	switch {
	case s.Was != nil && s.Static:
		return []string{fmt.Sprintf("SET PERSIST_ONLY %s = '%s'", s.Name, quote.Replace(*s.Was))}
	case s.Was != nil:
		return []string{fmt.Sprintf("SET PERSIST %s = '%s'", s.Name, quote.Replace(*s.Was))}
	case s.Static || s.Plugin != "":
		return []string{"RESET PERSIST IF EXISTS " + s.Name}
	}
	return []string{fmt.Sprintf("SET GLOBAL %s = %s", s.Name, lifted(s)), "RESET PERSIST IF EXISTS " + s.Name}
}

var quote = strings.NewReplacer(`\`, `\\`, `'`, `''`)

// staysWithReplica: nobody but its source writes to a replica, and its source's events, which
// came with the data, are none of its own.
func (s Setting) staysWithReplica() bool {
	return s.Name == "event_scheduler" || strings.HasSuffix(s.Name, "read_only")
}

// lifted is the value of s that is not quiet.
func lifted(s Setting) string {
	if s.Value == "ON" {
		return "OFF"
	}
	return "ON"
}
