package xtrabackup

import (
	"fmt"
	"io/fs"
	"path"
	"strconv"
	"strings"
)

// Kind is what a marker of --lock-ddl=REDUCED says.
type Kind string

// The kinds, in the order in which they are applied. Del and Ren name a tablespace by its
// id, as names are used again: "<schema>/<id>.del".
const (
	Corrupt Kind = ".crpt" // the copy of this file is of no use
	Delete  Kind = ".del"  // the tablespace was dropped after it was copied
	Rename  Kind = ".ren"  // it was renamed after it was copied
	New     Kind = ".new"  // a whole copy taken under the lock, in place of any other
)

// Marker is one such file.
type Marker struct {
	Kind  Kind
	Path  string // of the marker
	File  string // Corrupt, New: the data file, which is Path without the suffix
	Space uint32 // Delete, Rename: id of the tablespace
	To    string // Rename: the new path, relative to the backup
}

// incremental are the suffixes of what only an incremental backup has.
var incremental = []string{".delta", ".meta"}

// IsIncremental reports whether a file is part of an incremental backup.
func IsIncremental(name string) bool {
	for _, s := range incremental {
		if strings.HasSuffix(name, s) {
			return true
		}
	}
	return false
}

// ParseMarker tells a marker by its name; ok is false if it is none. Only the last suffix
// counts: "a.new.ibd" is a data file, and so is "x.new/t.ibd".
func ParseMarker(name string) (m Marker, ok bool, err error) {
	m = Marker{Kind: Kind(path.Ext(name)), Path: name}
	rest := strings.TrimSuffix(name, string(m.Kind))
	switch m.Kind {
	case Corrupt, New:
		m.File = rest
		return m, path.Base(rest) != "." && path.Base(name) != string(m.Kind), nil
	case Delete, Rename:
		id, err := strconv.ParseUint(path.Base(rest), 10, 32)
		if err != nil {
			return m, true, fmt.Errorf("read marker %s: its name is not the id of a tablespace", name)
		}
		m.Space = uint32(id)
		return m, true, nil
	}
	return m, false, nil
}

// ParseRename reads what is in a Rename marker: the format's version, then the new path as
// the server had it. That of a file outside the data directory is absolute, while in a
// backup such a file lies in the directory of its schema.
func ParseRename(b []byte) (to string, err error) {
	version, name, ok := strings.Cut(string(b), "\n")
	name = strings.TrimSuffix(name, "\n")
	if !ok || version != "1" || name == "" {
		return "", fmt.Errorf("read rename marker: %.60q is not version 1 and a path", b)
	}
	to = path.Clean(name)
	if path.IsAbs(to) {
		to = path.Join(path.Base(path.Dir(to)), path.Base(to))
	}
	if !fs.ValidPath(to) || to == "." || strings.ContainsAny(to, "\x00\n") {
		return "", fmt.Errorf("read rename marker: the path %.60q is not allowed", name)
	}
	return to, nil
}

// Packed names the program that makes plain files of what --compress, --encrypt or
// --stream wrote; "" if the file is none of these.
func Packed(name string) string {
	switch path.Ext(name) {
	case ".zst", ".lz4", ".qp":
		return "xtrabackup --decompress --remove-original --target-dir=DIR"
	case ".xbcrypt":
		return "xtrabackup --decrypt=ALGORITHM --encrypt-key-file=FILE --remove-original --target-dir=DIR"
	case ".xbstream":
		return "xbstream -x -C DIR"
	}
	return ""
}
