package prepare

import "github.com/remora-backup/remora/core/inert"

// Config says what is prepared, and with which server.
type Config struct {
	ID  string // of the operation, for its events
	Dir string // the directory
	// Incremental is an incremental backup of XtraBackup's to be applied to Dir, which is
	// its base, prepared with --apply-log-only; "" is none. It is read only.
	Incremental string
	// As is what a server on the directory is to be; "" leaves that as its source was.
	As         inert.Role
	Mysqld     string   // program that recovers; "" finds one, see mysqld.Find
	MysqldArgs []string // for it, before ours
	BufferPool int64    // bytes; 0 chooses by the free memory
	// KeyringFile is the data file of the source's keyring, for an encrypted redo log. The
	// server that recovers must find the same keys by itself, see MysqldArgs.
	KeyringFile string
}

// Result is what the end event carries.
type Result struct {
	Target         string          `json:"target"`
	Kind           string          `json:"kind"`             // "export" or "xtrabackup"
	Backup         string          `json:"backup,omitempty"` // id of an export
	Markers        int             `json:"markers"`          // applied
	BinlogFile     string          `json:"binlog_file,omitempty"`
	BinlogPosition uint64          `json:"binlog_position,omitempty"`
	GTIDExecuted   string          `json:"gtid_executed,omitempty"`
	LSN            uint64          `json:"lsn"`
	As             inert.Role      `json:"as,omitempty"`
	Set            []inert.Setting `json:"set,omitempty"`              // persisted variables that were changed for it
	Lift           []string        `json:"lift,omitempty"`             // SQL that takes them back
	PreparedXA     int             `json:"prepared_xa,omitempty"`      // XA transactions that stay prepared,
	XA             []string        `json:"xa,omitempty"`               // and their names, as XA COMMIT takes them
	Already        bool            `json:"already_prepared,omitempty"` // nothing was done
}
