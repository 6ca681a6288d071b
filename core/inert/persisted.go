package inert

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/remora-backup/remora/core/code"
)

// FileName is the file in a data directory from which a server takes persisted variables.
// Source: sql/persisted_variable.cc, Persisted_variables_cache.
//
//	{"Version": 2,
//	 "mysql_static_variables":              {NAME: {"Value": "ON", "Metadata": {"Host", "User", "Timestamp"}}, ...},
//	 "mysql_dynamic_variables":             {...},
//	 "mysql_dynamic_parse_early_variables": {...}, ...}
//
// Servers before 8.0.29 wrote version 1, which later ones still read:
//
//	{"Version": 1, "mysql_server": {NAME: {...}, ..., "mysql_server_static_options": {NAME: {...}, ...}}}
const FileName = "mysqld-auto.cnf"

// Groups of variables in version 2.
const (
	static  = "mysql_static_variables"
	dynamic = "mysql_dynamic_variables"
)

// Groups of version 1: the second lies within the first.
const (
	server1 = "mysql_server"
	static1 = "mysql_server_static_options"
)

// Setting is a persisted variable that was set, or, with an empty Value, removed.
type Setting struct {
	Name  string  `json:"name"`
	Value string  `json:"value,omitempty"`
	Was   *string `json:"was,omitempty"` // persisted before; nil if it was not
}

// entry is one variable in the file.
type entry struct {
	Value    string   `json:"Value"`
	Metadata metadata `json:"Metadata"`
}

type metadata struct {
	Host string `json:"Host"`
	User string `json:"User"`
	// Timestamp is in microseconds. A server that finds a small number here takes none of the
	// group, and says nothing: its parser has two kinds of integers, and knows this as the one
	// that does not fit into 32 bits.
	Timestamp int64 `json:"Timestamp"`
}

// Quiet writes into the persisted variables of the data directory what the role allows, and
// returns what it changed; all others stay. channels are the names of the source's replication
// channels. now stands beside each variable. The file is not synced. It can be repeated: what
// is as it should be is no change. A file that no server could read is code.Integrity.
func Quiet(root *os.Root, dir string, r Role, channels []string, now time.Time) ([]Setting, error) {
	name := dir + "/" + FileName
	b, err := root.ReadFile(name)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("read the persisted variables: %w", err)
	}
	set, drop := r.variables(channels)
	edited, done, err := edit(b, set, drop, now)
	if err != nil || len(done) == 0 {
		return nil, err
	}
	if err := root.WriteFile(name, edited, 0o640); err != nil {
		return nil, fmt.Errorf("write the persisted variables: %w", err)
	}
	return done, nil
}

// edit returns the file with some variables set and others removed, and what that changed.
func edit(b []byte, set []variable, drop []string, now time.Time) ([]byte, []Setting, error) {
	f, err := parse(b)
	if err != nil {
		return nil, nil, code.New(code.Integrity, "read the persisted variables in %s: %w", FileName, err)
	}
	var done []Setting
	for _, v := range set {
		was, there := f.find(v.name)
		if there && was == v.value {
			continue
		}
		e := entry{v.value, metadata{User: "remora", Timestamp: now.UnixMicro()}}
		f.remove(v.name)
		f.put(v.group, v.name, e)
		if v.alias != "" {
			f.remove(v.alias)
			f.put(v.group, v.alias, e)
		}
		done = append(done, setting(v.name, v.value, was, there))
	}
	for _, name := range drop {
		if was, there := f.find(name); there {
			f.remove(name)
			done = append(done, setting(name, "", was, there))
		}
	}
	out, err := f.encode()
	return out, done, err
}

func setting(name, value, was string, there bool) Setting {
	s := Setting{Name: name, Value: value}
	if there {
		s.Was = &was
	}
	return s
}

// file is the persisted variables: what is not one of a known group is kept as it is.
type file struct {
	version int
	top     map[string]json.RawMessage
	groups  map[string]map[string]json.RawMessage // of version 1: static1 and server1, without static1
}

func parse(b []byte) (*file, error) {
	f := &file{version: 2, top: map[string]json.RawMessage{}, groups: map[string]map[string]json.RawMessage{}}
	if len(bytes.TrimSpace(b)) == 0 {
		f.top["Version"] = json.RawMessage("2")
		return f, nil
	}
	if err := json.Unmarshal(b, &f.top); err != nil {
		return nil, err
	}
	if err := json.Unmarshal(f.top["Version"], &f.version); err != nil || f.version != 1 && f.version != 2 {
		return nil, fmt.Errorf("its version %.20s is not known", f.top["Version"])
	}
	for name, raw := range f.top {
		if name == "Version" || strings.Contains(name, "sensitive") {
			continue // sealed with a key of the keyring
		}
		var group map[string]json.RawMessage
		if err := json.Unmarshal(raw, &group); err != nil {
			return nil, fmt.Errorf("%.60q: %w", name, err)
		}
		f.groups[name] = group
	}
	if raw, ok := f.groups[server1][static1]; ok && f.version == 1 {
		var group map[string]json.RawMessage
		if err := json.Unmarshal(raw, &group); err != nil {
			return nil, fmt.Errorf("%q: %w", static1, err)
		}
		delete(f.groups[server1], static1)
		f.groups[static1] = group
	}
	return f, nil
}

func (f *file) find(name string) (value string, ok bool) {
	for _, group := range f.groups {
		var e entry
		if raw, there := group[name]; there && json.Unmarshal(raw, &e) == nil {
			return e.Value, true
		}
	}
	return "", false
}

func (f *file) remove(name string) {
	for _, group := range f.groups {
		delete(group, name)
	}
}

func (f *file) put(group, name string, e entry) {
	if f.version == 1 {
		group = map[string]string{static: static1, dynamic: server1}[group]
	}
	if f.groups[group] == nil {
		f.groups[group] = map[string]json.RawMessage{}
	}
	raw, _ := json.Marshal(e) // strings and a number: it cannot fail
	f.groups[group][name] = raw
}

func (f *file) encode() ([]byte, error) {
	out := map[string]any{}
	for name, raw := range f.top {
		out[name] = raw
	}
	for name, group := range f.groups {
		if name != static1 {
			out[name] = group
		}
	}
	if group, ok := f.groups[static1]; ok {
		all := map[string]any{static1: group}
		for name, raw := range f.groups[server1] {
			all[name] = raw
		}
		out[server1] = all
	}
	return json.Marshal(out)
}

// escape makes a value a part of a quoted string of SQL, as people copy it.
func escape(v string) string { return strings.NewReplacer(`\`, `\\`, `'`, `''`).Replace(v) }
