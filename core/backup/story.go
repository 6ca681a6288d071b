package backup

import (
	"fmt"
	"path"
	"path/filepath"
	"strings"
)

// Attributes of a tablespace in the manifest.
const (
	attrWhy    = "why"    // it was copied again, or later than the others
	attrWas    = "was"    // its path when it was copied, if that is another
	attrSource = "source" // its path at the source, if that lies outside of the data directory
)

// story tells what became of a tablespace during the backup.
func story(c *copying, now entry) map[string]string {
	told := map[string]string{}
	if c.why != "" {
		told[attrWhy] = cut(c.why)
	}
	if c.path != now.path {
		told[attrWas] = cut(c.path)
	}
	if filepath.IsAbs(now.path) {
		told[attrSource] = cut(now.path)
	}
	if len(told) == 0 {
		return nil
	}
	return told
}

// cut keeps an attribute of a size that a manifest takes.
func cut(s string) string { return s[:min(len(s), 1000)] }

// stories sums up what became of the tablespaces, for people.
func (e *engine) stories() (notes []string) {
	note := func(n int, format string, args ...any) {
		if n > 0 {
			notes = append(notes, fmt.Sprintf("%d ", n)+fmt.Sprintf(format, args...))
		}
	}
	copies := e.track.all()
	var created, renamed, outside int
	for _, en := range e.last.spaces {
		c := copies[en.key()]
		delete(copies, en.key())
		created += count(c.why == "new")
		renamed += count(c.path != en.path)
		outside += count(filepath.IsAbs(en.path))
	}
	note(created, "tablespaces were created while the others were copied")
	note(int(e.copier.again.Load()), "copies of tablespaces were made again because of DDL")
	note(renamed, "tablespaces were renamed after they were copied")
	note(len(copies), "tablespaces that were copied have been dropped")
	note(outside, "tablespaces lie outside of the data directory at the source, and within it in the backup")
	note(int(e.copier.reread.Load()), "extents held a page that was being written and were read again")
	if strays := e.last.strays(); len(strays) > 0 {
		shown := strays[:min(len(strays), 5)]
		note(len(strays), "files are no part of the server's data and were left out: %s", strings.Join(shown, ", "))
	}
	return notes
}

func count(b bool) int {
	if b {
		return 1
	}
	return 0
}

// systemFiles are the settings that say where the system tablespace lies in the backup.
func (e *engine) systemFiles() (home, dataFilePath string) {
	parts := strings.Split(strings.TrimSuffix(e.facts.DataFilePath, ";"), ";")
	for i, p := range e.dir.system[:len(parts)] {
		dir, base := path.Split(nameOf(entry{place: p}))
		_, size, _ := strings.Cut(parts[i], ":")
		home, parts[i] = path.Clean(dir), base+":"+size
	}
	if home == "." {
		home = ""
	}
	return home, strings.Join(parts, ";")
}
