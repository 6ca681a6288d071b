package config

import (
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/remora-backup/remora/core/code"
	"github.com/remora-backup/remora/core/nearest"
)

// keys is the way to a value: table names, keys, and the positions within arrays of
// tables ("notify", "1", "url").
type keys []string

func (k keys) with(s string) keys { return append(slices.Clone(k), s) }

// names leaves out the positions.
func (k keys) names() []string {
	var names []string
	for _, s := range k {
		if _, err := strconv.Atoi(s); err != nil {
			names = append(names, s)
		}
	}
	return names
}

// String is the key as a person looks for it: [mysql] port.
func (k keys) String() string {
	names := k.names()
	if len(names) < 2 {
		return strings.Join(names, ".")
	}
	return fmt.Sprintf("[%s] %s", strings.Join(names[:len(names)-1], "."), names[len(names)-1])
}

// decoder keeps what an error needs to name its place.
type decoder struct {
	path, text string
}

func (d *decoder) errorf(at keys, hint, format string, args ...any) error {
	return code.Hint(code.Usage, hint, "%s: %s", d.place(at), fmt.Sprintf(format, args...))
}

// place is file:line, or the file if what is meant is not in it.
func (d *decoder) place(at keys) string {
	if n := lineOf(d.text, at); n > 0 {
		return fmt.Sprintf("%s:%d", d.path, n)
	}
	return d.path
}

// table fills the struct that into points to. Keys are taken in alphabetical order, so
// that the same file always gets the same answer.
func (d *decoder) table(at keys, tree map[string]any, into any) error {
	fields := fieldsOf(reflect.ValueOf(into).Elem())
	for _, key := range sortedKeys(tree) {
		field, known := fields[key]
		if !known {
			return d.unknown(at.with(key), sortedKeys(fields))
		}
		if err := d.value(at.with(key), tree[key], field); err != nil {
			return err
		}
	}
	return nil
}

func (d *decoder) unknown(at keys, known []string) error {
	key := at[len(at)-1]
	hint := "known here: " + strings.Join(known, ", ")
	if near := nearest.Word(key, known); near != "" {
		return d.errorf(at, hint, "unknown key %v, did you mean %q?", at, near)
	}
	return d.errorf(at, hint, "unknown key %v", at)
}

// value stores v, as the TOML reader made it, in the field of that key.
func (d *decoder) value(at keys, v any, field reflect.Value) error {
	switch p := field.Addr().Interface().(type) {
	case *string:
		return assign(d, at, "a string", v, p)
	case *bool:
		return assign(d, at, "true or false", v, p)
	case *int:
		var n int64
		if err := assign(d, at, "an integer", v, &n); err != nil {
			return err
		}
		if n < 0 || n > math.MaxInt32 {
			return d.errorf(at, "", "%v: %d is out of range", at, n)
		}
		*p = int(n)
		return nil
	case *time.Duration:
		return d.duration(at, v, p)
	case *[]string:
		return d.list(at, v, p)
	case *json.RawMessage:
		return d.raw(at, v, p)
	case *[]Plugin:
		return d.plugins(at, v, p)
	case *[]Token:
		return tables(d, at, v, p)
	case *[]Peer:
		return tables(d, at, v, p)
	case *[]Certificate:
		return tables(d, at, v, p)
	case *[]Target:
		return tables(d, at, v, p)
	}
	var tree map[string]any
	if err := assign(d, at, "a table", v, &tree); err != nil {
		return err
	}
	return d.table(at, tree, field.Addr().Interface())
}

func assign[T any](d *decoder, at keys, want string, v any, into *T) error {
	typed, ok := v.(T)
	if !ok {
		return d.errorf(at, "", "%v: want %s, have %s", at, want, kind(v))
	}
	*into = typed
	return nil
}

func (d *decoder) duration(at keys, v any, into *time.Duration) error {
	const want = `a duration such as "30s" or "2m"`
	var s string
	if err := assign(d, at, want, v, &s); err != nil {
		return err
	}
	t, err := time.ParseDuration(s)
	off := t == 0 && slices.Contains([]string{"[schedule] spread", "[schedule] fallback"}, at.String())
	if err != nil || t <= 0 && !off {
		return d.errorf(at, "", "%v: want %s, have %q", at, want, s)
	}
	*into = t
	return nil
}

func (d *decoder) list(at keys, v any, into *[]string) error {
	var all []any
	if err := assign(d, at, "an array of strings", v, &all); err != nil {
		return err
	}
	for _, one := range all {
		s, ok := one.(string)
		if !ok {
			return d.errorf(at, "", "%v: want an array of strings, have %s in it", at, kind(one))
		}
		*into = append(*into, s)
	}
	return nil
}

func (d *decoder) raw(at keys, v any, into *json.RawMessage) error {
	var tree map[string]any
	if err := assign(d, at, "a table", v, &tree); err != nil {
		return err
	}
	text, err := json.Marshal(tree)
	if err != nil {
		return d.errorf(at, "", "%v: %v", at, err)
	}
	*into = text
	return nil
}

// tables fills an array of tables.
func tables[T any](d *decoder, at keys, v any, into *[]T) error {
	var trees []map[string]any
	if err := assign(d, at, fmt.Sprintf("an array of tables, written [[%s]]", strings.Join(at.names(), ".")), v, &trees); err != nil {
		return err
	}
	for i, tree := range trees {
		var one T
		if err := d.table(at.with(strconv.Itoa(i)), tree, &one); err != nil {
			return err
		}
		*into = append(*into, one)
	}
	return nil
}

func (d *decoder) plugins(at keys, v any, into *[]Plugin) error {
	var trees []map[string]any
	if err := assign(d, at, fmt.Sprintf("an array of tables, written [[%v]]", at), v, &trees); err != nil {
		return err
	}
	for i, tree := range trees {
		p := plugin("")
		p.d, p.at = d, at.with(strconv.Itoa(i))
		if err := d.table(p.at, tree, &p); err != nil {
			return err
		}
		*into = append(*into, p)
	}
	return nil
}

// kind is the type of a TOML value in words.
func kind(v any) string {
	switch v := v.(type) {
	case string:
		return fmt.Sprintf("the string %q", v)
	case int64, float64, bool:
		return fmt.Sprint(v)
	case map[string]any:
		return "a table"
	case []map[string]any:
		return "an array of tables"
	case []any:
		return "an array"
	}
	return "a date"
}

func fieldsOf(v reflect.Value) map[string]reflect.Value {
	fields := map[string]reflect.Value{}
	for i := range v.NumField() {
		if name := v.Type().Field(i).Tag.Get("toml"); name != "" && name != "-" {
			fields[name] = v.Field(i)
		}
	}
	return fields
}

func sortedKeys[V any](m map[string]V) []string {
	names := make([]string, 0, len(m))
	for name := range m {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}
