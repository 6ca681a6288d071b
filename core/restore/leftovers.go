package restore

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/remora-backup/remora/core/code"
	"github.com/remora-backup/remora/core/repo"
	"github.com/remora-backup/remora/core/run"
	"github.com/remora-backup/remora/core/staging"
)

// leftover is files of another life of a server at a place that the source used.
type leftover struct {
	what string // that they are
	name string // one of them
	move string // the command that takes them out of the way
}

// checkLeftovers refuses a host on which files lie where the source had its own, outside of its
// data directory: the restored server, started with the same configuration, would take them for
// its own. With old binary logs it claims transactions whose data it does not have. If the
// server that owns them runs, the restored one needs a configuration of its own anyhow: that is
// told, not refused.
func checkLeftovers(t *run.Task, p repo.Paths) error {
	found, err := leftovers(p)
	if err != nil {
		return code.Hint(code.Target, "run it as the user of the server, or with --ignore-leftovers", "check the places that the source used: %w", err)
	}
	if len(found) == 0 {
		return nil
	}
	if pid := staging.InUse(p.Data); pid != 0 {
		for _, l := range found {
			t.Warn("%s of the server that runs on %s (process %d) lie where the restored one would look with the same configuration: %s", l.what, p.Data, pid, l.name)
		}
		return nil
	}
	var names, moves []string
	for _, l := range found {
		names = append(names, fmt.Sprintf("%s (%s)", l.name, l.what))
		moves = append(moves, l.move)
	}
	return code.Hint(code.Target, strings.Join(moves, " && ")+"; or --ignore-leftovers, if the restored server will be configured with other places",
		"check the places that the source used: files of another life are there, which the restored server would take for its own: %s", strings.Join(names, ", "))
}

// place is where the source had files: those in dir whose names match.
type place struct {
	what, dir string
	names     string // regular expression
	move      string // the command that takes them out of the way
}

func leftovers(p repo.Paths) (found []leftover, err error) {
	places := []place{
		numbered("binary logs", p.Binlog), numbered("relay logs", p.RelayLog),
		{"a redo log", p.Redo, `^#innodb_redo$`, aside(p.Redo)},
		{"undo tablespaces", p.Undo, `^undo_[0-9]{3}$|\.ibu$`, aside(p.Undo)},
	}
	for _, dir := range p.External {
		places = append(places, place{"tablespaces", dir, `\.ibd$`, fmt.Sprintf("move %s to where no innodb_directories leads", code.Word(dir))})
	}
	data := filepath.Clean(p.Data)
	for _, at := range places {
		if at.dir = filepath.Clean(at.dir); !filepath.IsAbs(at.dir) || at.dir == data || strings.HasPrefix(at.dir, data+"/") {
			continue // in the data directory, which is another one now, or empty
		}
		name, err := firstIn(at.dir, regexp.MustCompile(at.names))
		if err != nil {
			return nil, err
		}
		if name != "" {
			found = append(found, leftover{at.what, name, at.move})
		}
	}
	return found, nil
}

// numbered is the place of logs: base is their path without the number.
func numbered(what, base string) place {
	dir, name := filepath.Split(base)
	to := code.Word(filepath.Join(dir, "before-restore"))
	return place{what, filepath.Clean(dir), `^` + regexp.QuoteMeta(name) + `\.([0-9]{6,10}|index)$`, fmt.Sprintf("mkdir -p %s && mv %s.* %[1]s", to, code.Word(base))}
}

// aside is the command that takes a whole directory out of the way.
func aside(dir string) string {
	return fmt.Sprintf("mv %s %s && mkdir %[1]s", code.Word(dir), code.Word(filepath.Clean(dir)+".before-restore"))
}

// firstIn returns the path of a file in dir whose name matches, "" if there is none. What lies
// deeper was perhaps moved there to be out of the way.
func firstIn(dir string, names *regexp.Regexp) (string, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	for _, e := range entries {
		if names.MatchString(e.Name()) {
			return filepath.Join(dir, e.Name()), nil
		}
	}
	return "", err
}
