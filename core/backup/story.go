package backup

import (
	"fmt"
	"path/filepath"
	"strings"

	"github.com/remora-backup/remora/core/copier"
	"github.com/remora-backup/remora/core/datadir"
)

// Attributes of a tablespace in the manifest.
const (
	attrWhy    = "why"    // it was copied again, or later than the others
	attrWas    = "was"    // its path when it was copied, if that is another
	attrSource = "source" // its path at the source, if that lies outside of the data directory
)

// story tells what became of a tablespace during the backup.
func story(c *copier.Copy, now datadir.File) map[string]string {
	told := map[string]string{}
	if c.Why != "" {
		told[attrWhy] = cut(c.Why)
	}
	if c.Path != now.Path {
		told[attrWas] = cut(c.Path)
	}
	if filepath.IsAbs(now.Path) {
		told[attrSource] = cut(now.Path)
	}
	if len(told) == 0 {
		return nil
	}
	return told
}

// cut keeps an attribute of a size that a manifest takes.
func cut(s string) string { return s[:min(len(s), 1000)] }

// stories sums up what became of the tablespaces, for people.
func stories(l *locked) (notes []string) {
	note := func(n int, format string, args ...any) {
		if n > 0 {
			notes = append(notes, fmt.Sprintf("%d ", n)+fmt.Sprintf(format, args...))
		}
	}
	copies := l.copies.redo.ledger.all()
	var created, renamed, outside int
	for _, f := range l.last.spaces {
		c := copies[f.Key()]
		delete(copies, f.Key())
		created += count(c.Why == "new")
		renamed += count(c.Path != f.Path)
		outside += count(filepath.IsAbs(f.Path))
	}
	note(created, "tablespaces were created while the others were copied")
	note(l.copies.redo.ledger.remade(), "copies of tablespaces were made again because of DDL")
	note(renamed, "tablespaces were renamed after they were copied")
	note(len(copies), "tablespaces that were copied have been dropped")
	note(outside, "tablespaces lie outside of the data directory at the source, and within it in the backup")
	note(int(l.copies.copier.Reread.Load()), "extents held a page that was being written and were read again")
	if strays := l.last.strays(); len(strays) > 0 {
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
