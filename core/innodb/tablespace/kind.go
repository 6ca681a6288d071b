package tablespace

import (
	"path"
	"regexp"
	"slices"
	"strings"
)

// Kind is what a file in a data directory is for.
type Kind uint8

// What a physical backup copies comes first; see Kind.Copied.
const (
	SystemFile Kind = iota // a file of the system tablespace
	TableFile              // *.ibd: tables, general tablespaces, mysql.ibd
	UndoFile               // undo_NNN, *.ibu
	EngineFile             // of a table of another engine, with its *.sdi

	TemporaryFile   // ibtmp1, sessions' *.ibt: made anew at each start
	RedoFile        // #innodb_redo: the engine follows it instead of copying
	DoublewriteFile // *.dblwr: the copies in it are of no use elsewhere
	UndoTruncation  // undo_N_trunc.log: an undo tablespace is being truncated
	BinlogFile      // binary or relay log with its index; the engine takes the current one up to the position
	IdentityFile    // auto.cnf, mysqld-auto.cnf: belongs to this server, not to the data
	SecretFile      // *.pem
	ScratchFile     // buffer pool dump, pid, logs, sockets, what clone or page tracking keep
	OtherFile       // none of ours
)

func (k Kind) String() string {
	names := [...]string{"system tablespace", "table", "undo", "other engine", "temporary", "redo", "doublewrite",
		"undo truncation", "binary log", "identity", "secret", "scratch", "other"}
	if int(k) < len(names) {
		return names[k]
	}
	return "unknown"
}

// InnoDB reports whether the file consists of pages and belongs in a backup:
// these are copied without a lock.
func (k Kind) InnoDB() bool { return k <= UndoFile }

// Names are the files whose names are settings.
type Names struct {
	System []string // of innodb_data_file_path, relative to the data directory or absolute
	Temp   []string // of innodb_temp_data_file_path
}

var (
	undoName   = regexp.MustCompile(`^undo_?[0-9]{3}$`)
	truncName  = regexp.MustCompile(`^undo_[0-9]+_trunc\.log$`)
	binlogName = regexp.MustCompile(`\.([0-9]{6,}|index|~rec~)$`)
	redoName   = regexp.MustCompile(`^ib_logfile[0-9]+$`)
)

// Kind judges a file by its name alone. The name is relative to the data
// directory or to another directory that may hold tablespaces
// (innodb_directories, innodb_undo_directory), separated by slashes. Of other
// engines the files two levels deep are told, schema/table.ext: a server has
// no others.
func (n Names) Kind(name string) Kind {
	name = path.Clean(name)
	base, ext := path.Base(name), path.Ext(name)
	top, _, deep := strings.Cut(strings.TrimPrefix(name, "/"), "/")
	switch {
	case slices.Contains(n.System, name):
		return SystemFile
	case slices.Contains(n.Temp, name), ext == ".ibt":
		return TemporaryFile
	case path.Base(path.Dir(name)) == "#innodb_redo", redoName.MatchString(base):
		return RedoFile
	case ext == ".dblwr", ext == ".bdblwr":
		return DoublewriteFile
	case deep && strings.HasPrefix(top, "#"): // #innodb_temp, #clone, #ib_archive
		return ScratchFile
	case ext == ".ibd":
		return TableFile
	case ext == ".ibu", undoName.MatchString(base):
		return UndoFile
	case truncName.MatchString(base):
		return UndoTruncation
	}
	if deep {
		return inSchema(name, ext)
	}
	return atTop(base, ext)
}

// inSchema judges what is not InnoDB's in a schema's directory: MyISAM,
// MERGE, CSV, ARCHIVE, Aria's (of an own build), and the description that
// every table outside InnoDB has.
func inSchema(name, ext string) Kind {
	switch ext {
	case ".MYD", ".MYI", ".MRG", ".CSV", ".CSM", ".ARZ", ".ARM", ".MAD", ".MAI", ".sdi", ".opt":
		if strings.Count(strings.TrimPrefix(name, "/"), "/") == 1 {
			return EngineFile
		}
	}
	return OtherFile
}

func atTop(base, ext string) Kind {
	switch {
	case base == "auto.cnf", base == "mysqld-auto.cnf", base == "mysqld-auto.cnf.backup":
		return IdentityFile
	case ext == ".pem":
		return SecretFile
	case binlogName.MatchString(base):
		return BinlogFile
	case ext == ".pid", ext == ".sock", ext == ".lock", ext == ".err", ext == ".log",
		base == "ib_buffer_pool", base == "ib_buffer_pool.incomplete", strings.HasPrefix(base, "mysql_upgrade_"),
		strings.HasPrefix(base, "innodb_status."):
		return ScratchFile
	}
	return OtherFile
}

// IsSchema reports whether a directory directly below the data directory is a
// schema's: also an empty one must exist after a restore. The dictionary knows
// for certain; by the name alone a foreign directory may pass.
func IsSchema(dir string) bool {
	return dir != "" && !strings.ContainsAny(dir, "/.#+ ")
}
