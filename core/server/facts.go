package server

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/remora-backup/remora/core/code"
	"github.com/remora-backup/remora/core/version"
)

// Facts are what is to be known of a server before it is backed up: settings, and what it holds that is not InnoDB's.
// They are read once; of those that can be changed meanwhile nothing may depend on the old value alone. Paths are as the server has them: relative ones
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
	RelayLogBasename    string // absolute, also on a server that is no replica
	RelayLogIndex       string
	RelayLogRecovery    bool
	GTIDMode            string // ON, OFF, ON_PERMISSIVE, OFF_PERMISSIVE
	BinlogEncrypt       bool   // binlog_encryption

	PerformanceSchema bool     // performance_schema: without it nobody sees who holds a lock
	RedoEnabled       bool     // ALTER INSTANCE DISABLE INNODB REDO_LOG makes it false
	RedoEncrypt       bool     // innodb_redo_log_encrypt
	RedoCapacity      uint64   // bytes
	LogChecksums      bool     // innodb_log_checksums
	ChecksumAlgorithm string   // innodb_checksum_algorithm: of new pages; older ones may have another
	Keyring           string   // active keyring component or plugin; "" if there is none or it may not be seen
	Keys              []string // ids of the keyring's keys that InnoDB and the binary log use, in order; nil if they may not be seen
	KeysSeen          bool     // whether Keys is all of them; needs SELECT on performance_schema.keyring_keys

	DoublewriteDir string // innodb_doublewrite_dir; "" means the data directory
	TempDir        string // innodb_temp_tablespaces_dir
	ServerID       uint32
	EventScheduler string // ON, OFF, DISABLED
	ReadOnly       bool   // read_only or super_read_only
	IsReplica      bool   // it has a replication channel, running or not

	Others OtherTables // tables of other engines than InnoDB
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
	if f.Keyring, err = s.keyring(ctx); err != nil {
		return f, err
	}
	if f.Keys, f.KeysSeen, err = s.keys(ctx); err != nil {
		return f, err
	}
	channels, err := s.ReplicaStatus(ctx)
	if err != nil {
		return f, err
	}
	f.IsReplica = len(channels) > 0
	f.Others, err = s.OtherTables(ctx)
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
		RelayLogBasename:    v["relay_log_basename"],
		RelayLogIndex:       v["relay_log_index"],
		RelayLogRecovery:    v.on("relay_log_recovery"),
		DoublewriteDir:      v["innodb_doublewrite_dir"],
		TempDir:             v["innodb_temp_tablespaces_dir"],
		ServerID:            uint32(number("server_id")),
		EventScheduler:      v["event_scheduler"],
		ReadOnly:            v.on("read_only") || v.on("super_read_only"),
		GTIDMode:            v["gtid_mode"],
		BinlogEncrypt:       v.on("binlog_encryption"),
		PerformanceSchema:   v.on("performance_schema"),
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

// keys lists the ids of the keys that the server's own files are encrypted with: what a restore needs.
func (s *Server) keys(ctx context.Context) (ids []string, seen bool, err error) {
	err = s.list(ctx, list{
		what: "the keyring's keys", columns: []string{"KEY_ID"},
		from: "FROM performance_schema.keyring_keys WHERE KEY_ID LIKE 'INNODBKey-%' OR KEY_ID LIKE 'MySQLReplicationKey%'",
	}, func(v []string) error {
		ids = append(ids, v[0])
		return nil
	})
	if errors.Is(err, ErrNotAllowed) {
		return nil, false, nil
	}
	slices.Sort(ids)
	return ids, err == nil, err
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
	if !f.PerformanceSchema {
		return f, code.Hint(code.Version, "start the server with performance_schema=ON, which is its default",
			"performance_schema is off in the server: who holds the backup lock, and how far a replica is, cannot be seen")
	}
	if !f.RedoEnabled {
		return f, code.Hint(code.Version, "ALTER INSTANCE ENABLE INNODB REDO_LOG",
			"redo logging is disabled in the server: no backup of running data can be made")
	}
	return f, nil
}
