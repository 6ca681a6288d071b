package restore

import (
	"errors"
	"runtime"
	"time"

	"github.com/remora-backup/remora/core/code"
	"github.com/remora-backup/remora/core/inert"
	"github.com/remora-backup/remora/core/repo"
)

// Config says what is restored, where, and with which server.
type Config struct {
	ID       string     // of the operation, for its events
	Repo     *repo.Repo // where the backup is
	BackupID string     // or repo.Latest
	Target   string     // a directory that is empty or does not exist; its parent must exist

	As inert.Role // what the restored server is to be; "" is inert.Inert
	// IgnoreLeftovers: files of the source at its paths on this host are no reason to refuse, as
	// the restored server will have other paths.
	IgnoreLeftovers bool

	Mysqld     string   // program that prepares; "" finds one, see mysqld.Find
	MysqldArgs []string // for it, before ours
	BufferPool int64    // bytes; 0 chooses by the free memory
	Parallel   int      // packs read at once; 0 chooses by the processors

	// SyncEvery is how often the fetched packs are made durable, so that a later run
	// need not fetch them again; 0 is 15 seconds.
	SyncEvery time.Duration
	// RedoFileSize bounds the redo files made, in bytes; 0 is what a server takes, 16 GiB.
	RedoFileSize int64
}

// checked returns the configuration with its defaults.
func (cfg Config) checked() (Config, error) {
	switch {
	case cfg.Repo == nil:
		return cfg, errors.New("plan a restore: no repository")
	case cfg.Target == "":
		return cfg, code.New(code.Usage, "plan a restore: no target directory is named")
	case cfg.BackupID != repo.Latest && !repo.ValidID(cfg.BackupID):
		return cfg, code.Hint(code.Usage, "remora list shows the backups there are", "plan a restore: %.40q is not the id of a backup", cfg.BackupID)
	}
	if cfg.As == "" {
		cfg.As = inert.Inert
	}
	if cfg.Parallel == 0 {
		cfg.Parallel = max(2, min(runtime.NumCPU(), 4))
	}
	if cfg.SyncEvery == 0 {
		cfg.SyncEvery = 15 * time.Second
	}
	return cfg, nil
}

// Result is what the end event of a restore carries: the facts of the backup restored,
// and where to.
type Result struct {
	Backup         string  `json:"backup"`
	LockMS         float64 `json:"lock_ms"`
	Bytes          int64   `json:"bytes"` // plain bytes of the files
	BinlogFile     string  `json:"binlog_file"`
	BinlogPosition uint64  `json:"binlog_position"`
	GTIDExecuted   string  `json:"gtid_executed"`
	LSN            uint64  `json:"lsn"`
	Target         string  `json:"target"`

	VPTime   time.Time `json:"vp_time,omitzero"`   // validity point: the moment whose data it holds
	DataTime time.Time `json:"data_time,omitzero"` // how new the data are: on a replica older than that

	As   inert.Role      `json:"as,omitempty"`   // what the restored server is
	Set  []inert.Setting `json:"set,omitempty"`  // persisted variables that were changed for it
	Lift []string        `json:"lift,omitempty"` // SQL that takes them back

	PreparedXA int      `json:"prepared_xa,omitempty"` // XA transactions that stay prepared,
	XA         []string `json:"xa,omitempty"`          // and their names, as XA COMMIT takes them
}

func resultOf(m *repo.Manifest, target string, r inert.Record) Result {
	return Result{
		Backup: m.ID, LockMS: m.Lock.Held, Bytes: m.Totals.Plain,
		BinlogFile: m.Binlog.File, BinlogPosition: m.Binlog.Position, GTIDExecuted: m.GTIDExecuted,
		LSN: m.LSN.End, Target: target,
		VPTime: m.VPTime, DataTime: m.DataTime, As: r.As, Set: r.Set, Lift: r.Lift, PreparedXA: r.PreparedXA, XA: r.XA,
	}
}
