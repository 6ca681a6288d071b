package restore

import (
	"fmt"
	"path"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/remora-backup/remora/core/code"
	"github.com/remora-backup/remora/core/repo"
)

// system says where a recovering server finds the files that no dictionary names, all
// relative to the data directory. A server that does not find an undo tablespace makes a
// new one without a word, so this is taken from where the files of the backup lie.
type system struct {
	dataFilePath string // innodb_data_file_path
	undoDir      string // innodb_undo_directory; "" is the data directory
}

// dataFile is one part of innodb_data_file_path: a name, whatever it is, not a path or a raw
// device. A manifest is proven to be whole, not to be honest.
var dataFile = regexp.MustCompile(`^([^:;/[:cntrl:]]+):[0-9]+[KMGkmg]?(:autoextend(:max:[0-9]+[KMGkmg]?)?)?$`)

var undoFile = regexp.MustCompile(`^undo_[0-9]{3}$`)

// settings are those that differ from a server's defaults.
func (y system) settings(s *repo.Server) (need []string) {
	add := func(differs bool, name string, value any) {
		if differs {
			need = append(need, fmt.Sprintf("%s=%v", name, value))
		}
	}
	add(s.PageSize != 16<<10, "innodb_page_size", s.PageSize)
	add(s.LowerCaseTableNames != 0, "lower_case_table_names", s.LowerCaseTableNames)
	add(y.dataFilePath != defaultDataFile, "innodb_data_file_path", y.dataFilePath)
	add(y.undoDir != "", "innodb_undo_directory", y.undoDir)
	return need
}

const defaultDataFile = "ibdata1:12M:autoextend"

// findSystem fails if the files are not all within the data directory.
func findSystem(s *repo.Server, t *tree) (system, error) {
	const bad = "check the settings of the backup's server: "
	parts := strings.Split(s.DataFilePath, ";")
	if s.DataFilePath == "" {
		parts = []string{defaultDataFile}
	}
	for i, part := range parts {
		m := dataFile.FindStringSubmatch(part)
		if m == nil || !filepath.IsLocal(m[1]) {
			return system{}, code.New(code.Integrity, bad+"innodb_data_file_path %q is not supported", s.DataFilePath)
		}
		// innodb_data_home_dir may name the data directory itself, or one below it.
		in := path.Join(s.DataHomeDir, m[1])
		switch {
		case t.has(m[1]):
		case filepath.IsLocal(in) && t.has(in):
			parts[i] = path.Join(s.DataHomeDir, part)
		default:
			return system{}, code.New(code.Integrity, bad+"%s of innodb_data_file_path is not in the backup", m[1])
		}
	}
	out := system{dataFilePath: strings.Join(parts, ";")}
	dirs := map[string]bool{}
	for _, f := range t.files {
		if undoFile.MatchString(path.Base(f.Path)) && f.Kind == repo.KindTablespace {
			dirs[path.Dir(f.Path)] = true
			out.undoDir = path.Dir(f.Path)
		}
	}
	if len(dirs) != 1 {
		return system{}, code.New(code.Integrity, bad+"its undo tablespaces lie in %d directories, want one", len(dirs))
	}
	if out.undoDir == "." {
		out.undoDir = ""
	}
	return out, nil
}
