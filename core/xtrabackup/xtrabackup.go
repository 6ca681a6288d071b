// Package xtrabackup reads the files that XtraBackup puts beside the data it copies.
//
// It is pure: bytes in, values out. The files are those of XtraBackup 8.0.30 and later:
// xtrabackup_checkpoints, xtrabackup_info, xtrabackup_binlog_info, xtrabackup_tablespaces,
// backup-my.cnf, and the empty or one-line files that --lock-ddl=REDUCED leaves among the
// data to say what DDL did while they were copied.
//
// Source of the formats: xtrabackup.cc, backup_copy.cc, backup_mysql.cc, ddl_tracker.cc.
package xtrabackup

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
)

// The names of the files, in the directory of the backup.
const (
	CheckpointsName = "xtrabackup_checkpoints"
	InfoName        = "xtrabackup_info"
	LogName         = "xtrabackup_logfile"
	BinlogInfoName  = "xtrabackup_binlog_info"
	TablespacesName = "xtrabackup_tablespaces"
	SettingsName    = "backup-my.cnf"
)

// CreatorPrefix begins the creator of a LogName that was not prepared yet; a prepare
// writes BlankCreator over it.
const (
	CreatorPrefix = "xtrabkup"
	BlankCreator  = "    "
)

// Type is what a directory is, as Checkpoints say.
type Type string

// The types.
const (
	Full         Type = "full-backuped"
	Incremental  Type = "incremental"
	LogApplied   Type = "log-applied"   // redo applied, open transactions not rolled back
	FullPrepared Type = "full-prepared" // ready to start
)

// Checkpoints are the LSNs of a backup.
type Checkpoints struct {
	Type Type
	From uint64 // 0, or for Incremental the To of its base
	To   uint64 // checkpoint at the end of the backup
	Last uint64 // where the redo of the backup ends
}

// ParseCheckpoints reads CheckpointsName.
func ParseCheckpoints(b []byte) (Checkpoints, error) {
	v := values(b)
	c := Checkpoints{Type: Type(v["backup_type"])}
	switch c.Type {
	case Full, Incremental, LogApplied, FullPrepared:
	default:
		return c, fmt.Errorf("read %s: backup_type is %.40q", CheckpointsName, c.Type)
	}
	for key, to := range map[string]*uint64{"from_lsn": &c.From, "to_lsn": &c.To, "last_lsn": &c.Last} {
		n, err := strconv.ParseUint(v[key], 10, 64)
		if err != nil {
			return c, fmt.Errorf("read %s: %s is %.40q, want an LSN", CheckpointsName, key, v[key])
		}
		*to = n
	}
	return c, nil
}

// MarkPrepared returns the file as it is after a prepare, of an incremental backup into its
// base, too: another type, from the beginning on, and all else as it was.
func MarkPrepared(b []byte) []byte {
	var out []byte
	for line := range bytes.Lines(b) {
		key, _, _ := bytes.Cut(line, []byte("="))
		switch string(bytes.TrimSpace(key)) {
		case "backup_type":
			line = fmt.Appendf(nil, "backup_type = %s\n", FullPrepared)
		case "from_lsn":
			line = []byte("from_lsn = 0\n")
		}
		out = append(out, line...)
	}
	return out
}

// Info is what InfoName says of server and backup.
type Info struct {
	ServerVersion string // "8.4.8-8"
	ServerFlavor  string // "Percona Server", "MySQL"; "" in old files
	LockDDL       string // ON, OFF or REDUCED; "" in old files, which means ON
	Tool          string // version of XtraBackup
	Compressed    bool
	Encrypted     bool
}

// ParseInfo reads InfoName.
func ParseInfo(b []byte) (Info, error) {
	v := values(b)
	i := Info{
		ServerVersion: v["server_version"], ServerFlavor: v["server_flavor"], LockDDL: v["lock_ddl_type"], Tool: v["tool_version"],
		Compressed: yes(v["compressed"]), Encrypted: yes(v["encrypted"]),
	}
	if i.ServerVersion == "" {
		return i, fmt.Errorf("read %s: it has no server_version", InfoName)
	}
	switch i.LockDDL {
	case "":
		i.LockDDL = "ON"
	case "ON", "OFF", "REDUCED":
	default:
		return i, fmt.Errorf("read %s: lock_ddl_type is %.40q", InfoName, i.LockDDL)
	}
	return i, nil
}

func yes(v string) bool { return v != "" && v != "N" }

// Settings is what SettingsName says of the server's InnoDB.
type Settings struct {
	DataFilePath string // innodb_data_file_path
	PageSize     int    // innodb_page_size, bytes
	LogChecksums bool   // innodb_log_checksums
	ServerUUID   string
}

// ParseSettings reads SettingsName.
func ParseSettings(b []byte) (Settings, error) {
	v := values(b)
	s := Settings{DataFilePath: v["innodb_data_file_path"], LogChecksums: true, ServerUUID: v["server_uuid"]}
	switch strings.ToUpper(v["innodb_log_checksums"]) {
	case "0", "OFF":
		s.LogChecksums = false
	}
	n, err := strconv.Atoi(v["innodb_page_size"])
	if err != nil || n < 4<<10 || n > 64<<10 || n&(n-1) != 0 {
		return s, fmt.Errorf("read %s: innodb_page_size is %.40q", SettingsName, v["innodb_page_size"])
	}
	s.PageSize = n
	if s.DataFilePath == "" {
		return s, fmt.Errorf("read %s: it has no innodb_data_file_path", SettingsName)
	}
	return s, nil
}

// Position is a position in the source's binary log.
type Position struct {
	File   string
	Offset uint64 // bytes
	GTIDs  string // gtid_executed, without line breaks
}

// ParseBinlogInfo reads BinlogInfoName: name, position, and GTIDs if the server has some.
func ParseBinlogInfo(b []byte) (Position, error) {
	words := strings.SplitN(strings.TrimRight(string(b), "\n"), "\t", 3)
	var p Position
	if len(words) < 2 {
		return p, fmt.Errorf("read %s: %.60q is no position", BinlogInfoName, b)
	}
	n, err := strconv.ParseUint(strings.TrimSpace(words[1]), 10, 64)
	if err != nil || words[0] == "" || strings.ContainsAny(words[0], "/\x00") {
		return p, fmt.Errorf("read %s: %.60q is no position", BinlogInfoName, b)
	}
	p.File, p.Offset = words[0], n
	if len(words) == 3 {
		p.GTIDs = strings.Join(strings.Fields(words[2]), "")
	}
	return p, nil
}

// values reads lines of key = value. The first of two that are the same counts, as later
// ones may be text.
func values(b []byte) map[string]string {
	v := map[string]string{}
	for line := range strings.Lines(string(b)) {
		key, value, ok := strings.Cut(line, "=")
		key = strings.TrimSpace(key)
		if _, there := v[key]; ok && !there {
			v[key] = strings.TrimSpace(value)
		}
	}
	return v
}
