package server

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/remora-backup/remora/core/code"
	"github.com/remora-backup/remora/core/version"
)

// Facts are the settings of a server that matter to a backup. Paths are as the server has them: relative ones
// are relative to DataDir.
type Facts struct {
	Identity
	Version        version.Version
	VersionComment string
	DataDir        string // absolute

	PageSize         int    // innodb_page_size, bytes
	DataHomeDir      string // innodb_data_home_dir; "" means DataDir
	DataFilePath     string // innodb_data_file_path
	TempDataFilePath string // innodb_temp_data_file_path
	LogGroupHomeDir  string // innodb_log_group_home_dir
	UndoDirectory    string // innodb_undo_directory
	Directories      string // innodb_directories

	LowerCaseTableNames int
	LogBin              bool
	LogBinBasename      string // absolute; "" without LogBin
	LogBinIndex         string
	GTIDMode            string // ON, OFF, ON_PERMISSIVE, OFF_PERMISSIVE
	BinlogEncrypt       bool   // binlog_encryption

	RedoEnabled       bool   // ALTER INSTANCE DISABLE INNODB REDO_LOG makes it false
	RedoEncrypt       bool   // innodb_redo_log_encrypt
	RedoCapacity      uint64 // bytes
	LogChecksums      bool   // innodb_log_checksums
	ChecksumAlgorithm string // innodb_checksum_algorithm: of new pages; older ones may have another
	Keyring           string // active keyring component or plugin; "" if there is none or it may not be seen
}

// RedoDir is the directory of the redo log files.
func (f Facts) RedoDir() string {
	return filepath.Join(f.abs(f.LogGroupHomeDir), "#innodb_redo")
}

// UndoDir is the directory where undo tablespaces are made.
func (f Facts) UndoDir() string { return f.abs(f.UndoDirectory) }

func (f Facts) abs(dir string) string {
	if filepath.IsAbs(dir) {
		return filepath.Clean(dir)
	}
	return filepath.Join(f.DataDir, dir)
}

// Facts reads the settings.
func (s *Server) Facts(ctx context.Context) (Facts, error) {
	identity, err := s.Identity(ctx)
	if err != nil {
		return Facts{}, err
	}
	v := make(variables)
	for _, query := range []string{"SHOW GLOBAL VARIABLES", "SHOW GLOBAL STATUS LIKE 'Innodb_redo_log_enabled'"} {
		err := s.rows(ctx, query, func(scan func(...any) error) error {
			var name, value string
			if err := scan(&name, &value); err != nil {
				return err
			}
			v[strings.ToLower(name)] = value
			return nil
		})
		if err != nil {
			return Facts{}, fmt.Errorf("read the server's settings: %w", err)
		}
	}
	f, err := v.facts()
	if err != nil {
		return Facts{}, fmt.Errorf("read the server's settings: %w", err)
	}
	f.Identity, f.Version = identity, s.version
	f.Keyring, err = s.keyring(ctx)
	return f, err
}

// variables are settings by name, in lower case.
type variables map[string]string

func (v variables) on(name string) bool { return v[name] == "ON" || v[name] == "1" }

func (v variables) facts() (Facts, error) {
	var errs []error
	number := func(name string) uint64 {
		n, err := strconv.ParseUint(v[name], 10, 64)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", name, err))
		}
		return n
	}
	f := Facts{
		VersionComment:      v["version_comment"],
		DataDir:             filepath.Clean(v["datadir"]),
		PageSize:            int(number("innodb_page_size")),
		DataHomeDir:         v["innodb_data_home_dir"],
		DataFilePath:        v["innodb_data_file_path"],
		TempDataFilePath:    v["innodb_temp_data_file_path"],
		LogGroupHomeDir:     v["innodb_log_group_home_dir"],
		UndoDirectory:       v["innodb_undo_directory"],
		Directories:         v["innodb_directories"],
		LowerCaseTableNames: int(number("lower_case_table_names")),
		LogBin:              v.on("log_bin"),
		LogBinBasename:      v["log_bin_basename"],
		LogBinIndex:         v["log_bin_index"],
		GTIDMode:            v["gtid_mode"],
		BinlogEncrypt:       v.on("binlog_encryption"),
		RedoEnabled:         v.on("innodb_redo_log_enabled"),
		RedoEncrypt:         v.on("innodb_redo_log_encrypt"),
		RedoCapacity:        number("innodb_redo_log_capacity"),
		LogChecksums:        v.on("innodb_log_checksums"),
		ChecksumAlgorithm:   v["innodb_checksum_algorithm"],
	}
	if !filepath.IsAbs(f.DataDir) {
		errs = append(errs, fmt.Errorf("datadir: %q is not absolute", f.DataDir))
	}
	return f, errors.Join(errs...)
}

// keyring returns the name of the keyring in use. The component's table needs a privilege that not every
// account has.
func (s *Server) keyring(ctx context.Context) (string, error) {
	var names []string
	add := func(scan func(...any) error) error {
		var name string
		if err := scan(&name); err != nil {
			return err
		}
		names = append(names, name)
		return nil
	}
	err := s.rows(ctx, `SELECT STATUS_VALUE FROM performance_schema.keyring_component_status
		WHERE STATUS_KEY = 'Component_name'`, add)
	if err != nil && !errors.Is(err, ErrNotAllowed) {
		return "", fmt.Errorf("read the keyring's status: %w", err)
	}
	err = s.rows(ctx, `SELECT PLUGIN_NAME FROM information_schema.PLUGINS
		WHERE PLUGIN_TYPE = 'KEYRING' AND PLUGIN_STATUS = 'ACTIVE' AND PLUGIN_NAME <> 'daemon_keyring_proxy_plugin'`, add)
	if err != nil {
		return "", fmt.Errorf("read the keyring plugins: %w", err)
	}
	return strings.Join(names, ", "), nil
}

// Preflight reads the facts and returns an error if no backup can be made: redo logging disabled, the binary log
// encrypted, or privileges missing, all of them named at once.
func (s *Server) Preflight(ctx context.Context) (Facts, error) {
	missing, err := s.CheckPrivileges(ctx)
	if err != nil {
		return Facts{}, err
	}
	if err := Refused(missing); err != nil {
		return Facts{}, err
	}
	f, err := s.Facts(ctx)
	if err != nil {
		return Facts{}, err
	}
	if !f.RedoEnabled {
		return f, code.Hint(code.Version, "ALTER INSTANCE ENABLE INNODB REDO_LOG",
			"redo logging is disabled in the server: no backup of running data can be made")
	}
	if f.LogBin && f.BinlogEncrypt {
		return f, code.Hint(code.Version, "SET GLOBAL binlog_encryption = OFF",
			"the binary log is encrypted: the backup could not tell which transactions it holds")
	}
	return f, nil
}
