package prepare

import (
	"path"
	"strings"

	"github.com/remora-backup/remora/core/code"
	"github.com/remora-backup/remora/core/innodb/tablespace"
)

// dictionary is the tablespace of the data dictionary.
const dictionary = "mysql.ibd"

// flat is innodb_data_file_path with the files where XtraBackup puts them: beside each other.
func flat(setting string) string {
	parts := strings.Split(strings.TrimSuffix(setting, ";"), ";")
	for i, p := range parts {
		name, rest, _ := strings.Cut(p, ":")
		parts[i] = path.Base(name) + ":" + rest
	}
	return strings.Join(parts, ";")
}

// systemFiles is innodb_data_file_path relative to the directory.
func systemFiles(setting, home string, files map[string]bool) string {
	if setting == "" {
		setting = "ibdata1:12M:autoextend"
	}
	parts := strings.Split(strings.TrimSuffix(setting, ";"), ";")
	for i, p := range parts {
		name, _, _ := strings.Cut(p, ":")
		if !files[name] && files[path.Join(home, name)] {
			parts[i] = path.Join(home, p)
		}
	}
	return strings.Join(parts, ";")
}

// checkSystemFiles makes sure that nothing is missing which a server would make anew
// without a word. have reports whether a file is, or will be, there.
func checkSystemFiles(dataFilePath string, have func(name string) bool) error {
	files, err := tablespace.ParseDataFiles(dataFilePath)
	if err != nil {
		return code.Default(code.Integrity, err)
	}
	names := []string{dictionary}
	for _, f := range files {
		names = append(names, f.Path)
	}
	for _, name := range names {
		if !have(name) {
			return code.New(code.Integrity, "check the files of the server: %s is not there", name)
		}
	}
	return nil
}

// undoDir returns the directory of the undo tablespaces, "" for the top.
func undoDir(files map[string]bool) (string, error) {
	dirs := map[string]bool{}
	for name := range files {
		if (tablespace.Names{}).Kind(name) == tablespace.UndoFile && path.Ext(name) != ".ibu" {
			dirs[path.Dir(name)] = true
		}
	}
	if len(dirs) != 1 {
		return "", code.New(code.Integrity, "check the files of the server: its undo tablespaces lie in %d directories, want one", len(dirs))
	}
	for dir := range dirs {
		if dir != "." {
			return dir, nil
		}
	}
	return "", nil
}
