package restore

import (
	"path"
	"regexp"
	"strings"

	"github.com/remora-backup/remora/core/code"
	"github.com/remora-backup/remora/core/innodb/redo"
	"github.com/remora-backup/remora/core/innodb/tablespace"
	"github.com/remora-backup/remora/core/redomake"
	"github.com/remora-backup/remora/core/repo"
	"github.com/remora-backup/remora/core/staging"
)

// piece is a file of the backup and where it is written, relative to the staging
// directory.
type piece struct {
	*repo.File
	at string
}

// tree is the files of a backup as they will lie in the staging directory.
type tree struct {
	files  map[repo.FileID]piece // without directories
	dirs   []string              // each after its parent
	redo   *repo.File
	log    *redomake.Log
	binlog string // where the binary log is put; "" if there is none
}

// planTree sorts the files of a backup. It touches nothing. Names are safe to be created
// below one directory already; see repo.OpenBackup.
func planTree(m *repo.Manifest, files []repo.File) (*tree, error) {
	t := &tree{files: make(map[repo.FileID]piece, len(files)), dirs: []string{staging.Data}}
	made := map[string]bool{".": true, staging.Data: true}
	complete := false
	for i := range files {
		f := &files[i]
		at := path.Join(staging.Data, f.Path)
		switch {
		case strings.HasPrefix(f.Path, staging.Name):
			return nil, code.New(code.Integrity, "check the files of the backup: the name %q is not allowed", f.Path)
		case f.Kind == repo.KindRedo && t.redo != nil:
			return nil, code.New(code.Integrity, "check the files of the backup: %s and %s are both the redo log", t.redo.Path, f.Path)
		case f.Kind == repo.KindRedo:
			t.redo, at = f, redoDir
		case f.Kind == repo.KindBinlog:
			if err := t.addBinlog(m, f); err != nil {
				return nil, err
			}
			at = t.binlog
		case serversOwn(f):
			continue
		case f.Kind == repo.KindDir:
			t.addDir(at, made)
			continue
		}
		complete = complete || at == path.Join(staging.Data, staging.Dictionary)
		t.addDir(path.Dir(at), made)
		t.files[f.ID] = piece{f, at}
	}
	switch {
	case t.redo == nil:
		return nil, code.New(code.Integrity, "check the files of the backup: it has no redo log")
	case !complete:
		return nil, code.New(code.Integrity, "check the files of the backup: it has no %s", staging.Dictionary)
	case t.binlog == "" && m.Binlog.File != "":
		return nil, code.New(code.Integrity, "check the files of the backup: it has no %s", m.Binlog.File)
	}
	return t, nil
}

// addBinlog puts the binary log beside the data under a name of ours: only recovery needs
// it, see recovery.
func (t *tree) addBinlog(m *repo.Manifest, f *repo.File) error {
	number := path.Ext(f.Path)
	switch {
	case t.binlog != "":
		return code.New(code.Integrity, "check the files of the backup: %s is a second binary log", f.Path)
	case path.Base(f.Path) != m.Binlog.File || uint64(f.Size) != m.Binlog.Position:
		return code.New(code.Integrity, "check the files of the backup: %s of %d bytes is not the binary log %s up to %d",
			f.Path, f.Size, m.Binlog.File, m.Binlog.Position)
	case !binlogNumber.MatchString(number):
		return code.New(code.Integrity, "check the files of the backup: %s is no name of a binary log", f.Path)
	}
	t.binlog = path.Join(staging.Binlog, binlogBase+number)
	return nil
}

// binlogBase is the name of the binary log while a server recovers.
const binlogBase = "restored"

var binlogNumber = regexp.MustCompile(`^\.[0-9]{6,10}$`)

// has reports whether a file of that name, relative to the data directory, is written.
func (t *tree) has(name string) bool {
	at := path.Join(staging.Data, name)
	for _, f := range t.files {
		if f.at == at {
			return true
		}
	}
	return false
}

// bytes is what will be written.
func (t *tree) bytes() (total int64) {
	for _, f := range t.files {
		total += f.Size
	}
	return total
}

// space is what is needed on disk. Files with holes take less than their size, nobody
// knows how much less: half of it is asked for.
func (t *tree) space() (total int64) {
	for _, f := range t.files {
		if f.Sparse {
			total += f.Size / 2
		} else {
			total += f.Size
		}
	}
	return total
}

// undo returns where the undo tablespaces are written.
func (t *tree) undo() (names []string) {
	for _, f := range t.files {
		if f.Kind == repo.KindTablespace && tablespace.IsUndo(f.SpaceID) {
			names = append(names, f.at)
		}
	}
	return names
}

func (t *tree) addDir(dir string, made map[string]bool) {
	if made[dir] {
		return
	}
	t.addDir(path.Dir(dir), made)
	made[dir] = true
	t.dirs = append(t.dirs, dir)
}

// covers reports whether the backup has something of that name at the top of the data
// directory.
func (t *tree) covers(name string) bool {
	at := path.Join(staging.Data, name)
	for _, dir := range t.dirs {
		if dir == at {
			return true
		}
	}
	return t.has(name)
}

// tempDir is where a server keeps the temporary tablespaces of sessions.
const tempDir = "#innodb_temp"

// serversOwn reports whether a file is left out if a backup should hold it. What the backup
// calls a tablespace is one, whatever its name: a schema may be named as a file of a server
// with other settings.
func serversOwn(f *repo.File) bool {
	first, _, below := strings.Cut(f.Path, "/")
	switch {
	case f.Kind == repo.KindTablespace:
		return f.SpaceID == tablespace.Temporary
	case f.Kind == repo.KindDir || below:
		return first == tempDir || first == redo.Dir
	}
	return madeAnew(f.Path)
}

// madeAnew reports whether a file at the top of the data directory, which is no tablespace,
// is the identity of the source or made anew by a server. With old doublewrite files recovery
// would put old pages in place of good ones.
func madeAnew(name string) bool {
	switch name {
	case "auto.cnf", "ibtmp1":
		return true
	}
	return path.Ext(name) == ".dblwr" || path.Ext(name) == ".bdblwr"
}
