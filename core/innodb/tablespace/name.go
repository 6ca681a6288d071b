package tablespace

import (
	"path"
	"strconv"
	"strings"
	"unicode/utf16"
)

// Name is the table that a file belongs to, as people write it.
type Name struct {
	Schema, Table           string // decoded
	Partition, Subpartition string // decoded; empty for none
	Rebuilt                 bool   // a copy that ALTER TABLE is working on or has left behind (#sql...)
	Fulltext                bool   // an auxiliary table of a FULLTEXT index (fts_...)
	FulltextOf              uint64 // id of the table that it serves, 0 unless Fulltext
}

// String returns "schema.table", with partitions named as MySQL does in
// messages. Names that need quotes get none.
func (n Name) String() string {
	s := n.Schema + "." + n.Table
	if n.Partition != "" {
		s += " partition " + n.Partition
	}
	if n.Subpartition != "" {
		s += " subpartition " + n.Subpartition
	}
	return s
}

// TableName returns the name of the table that a file "schema/table.ext"
// belongs to; more directories before it are ignored. The second result is
// false for files that are not in a schema's directory.
func TableName(file string) (Name, bool) {
	dir, base := path.Split(path.Clean(file))
	schema := path.Base(dir)
	if dir == "" || schema == "/" || schema == "." || strings.HasPrefix(schema, "#") {
		return Name{}, false
	}
	base = strings.TrimSuffix(base, path.Ext(base))
	n := Name{Schema: DecodeName(schema), Rebuilt: strings.HasPrefix(base, "#sql")}
	base, sub, _ := cutFold(base, "#sp#")
	base, part, _ := cutFold(base, "#p#")
	n.Table, n.Partition, n.Subpartition = DecodeName(base), DecodeName(part), DecodeName(sub)
	if id, ok := fulltext(base); ok {
		n.Fulltext, n.FulltextOf = true, id
	}
	return n, true
}

// cutFold is strings.Cut for a separator that servers before 8.0.20 wrote in
// capitals.
func cutFold(s, sep string) (before, after string, found bool) {
	if b, a, ok := strings.Cut(s, sep); ok {
		return b, a, true
	}
	return strings.Cut(s, strings.ToUpper(sep))
}

// fulltext reads the table id from fts_<16 hex digits>_... (fts_write_object_id
// in fts0fts.h).
func fulltext(base string) (uint64, bool) {
	const prefix = "fts_"
	if len(base) < len(prefix)+17 || !strings.EqualFold(base[:4], prefix) || base[20] != '_' {
		return 0, false
	}
	id, err := strconv.ParseUint(base[4:20], 16, 64)
	return id, err == nil
}

// DecodeName turns the name of a schema or table as it stands in a file name
// back into what users write: @ and four hex digits stand for one UTF-16 unit
// (filename_to_tablename in sql_table.cc; my_charset_filename). Letters of a
// few alphabets are written as @ and two other characters, after a table of
// some thousand entries: those, and all that is no valid code, stay as they
// are, which people still can read.
func DecodeName(file string) string {
	if !strings.Contains(file, "@") {
		return file
	}
	var b strings.Builder
	for i := 0; i < len(file); {
		unit, ok := code(file[i:])
		if !ok {
			b.WriteByte(file[i])
			i++
			continue
		}
		i += 5
		r := rune(unit)
		if utf16.IsSurrogate(r) {
			low, ok := code(file[i:])
			if r = utf16.DecodeRune(r, rune(low)); ok && r != '\uFFFD' {
				i += 5
			}
		}
		b.WriteRune(r)
	}
	return b.String()
}

func code(s string) (uint16, bool) {
	if len(s) < 5 || s[0] != '@' {
		return 0, false
	}
	n, err := strconv.ParseUint(s[1:5], 16, 16)
	return uint16(n), err == nil
}

// EncodeName is the inverse of DecodeName for names that have only letters,
// digits, underscores and other ASCII characters (tablename_to_filename in
// sql_table.cc). Anything else is written as @ and four hex digits too, which
// a server does not do for letters of some alphabets.
func EncodeName(name string) string {
	var b strings.Builder
	for _, u := range utf16.Encode([]rune(name)) {
		switch {
		case u >= '0' && u <= '9', u >= 'A' && u <= 'Z', u >= 'a' && u <= 'z', u == '_':
			b.WriteByte(byte(u))
		default:
			b.WriteByte('@')
			h := strconv.FormatUint(uint64(u), 16)
			b.WriteString("0000"[len(h):] + h)
		}
	}
	return b.String()
}
