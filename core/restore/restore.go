// Package restore carries out a restore.
//
// New makes a plan for core/run from a backup in a repository:
//
//	getting_backup_info    all that can be refused is refused: nothing is written yet
//	restoring_basebackup   packs are read once, proven, written straight into TARGET/.remora-restore/data
//	preparing_backup       a mysqld recovers these files up to exactly the end of the backup's redo
//	finalizing             they move into TARGET, mysql.ibd last
//
// Until that last move no server starts on the target. A restore that was interrupted and
// is run again goes on from what is there; see staging.
package restore

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"time"

	"github.com/remora-backup/remora/core/code"
	"github.com/remora-backup/remora/core/repo"
	"github.com/remora-backup/remora/core/run"
)

// The phases of a restore, in order.
const (
	PhaseInfo    = "getting_backup_info"
	PhaseFetch   = "restoring_basebackup"
	PhasePrepare = "preparing_backup"
	PhasePublish = "finalizing"
)

// Config says what is restored, where, and with which server.
type Config struct {
	ID       string     // of the operation, for its events
	Repo     *repo.Repo // where the backup is
	BackupID string     // or repo.Latest
	Target   string     // a directory that is empty or does not exist; its parent must exist

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
}

// restore is one run of the plan. Phases run one after the other and hand on to the next
// what they found out.
type restore struct {
	cfg Config
	raw bool // an export: nothing is prepared

	// Known after getting_backup_info.
	manifest repo.Manifest
	place    place
	owner    owner
	bin      string // the mysqld
	reader   *repo.Reader
	tree     *tree
	system   system

	staging *staging // open from restoring_basebackup on
	journal *journal // of the fetch
}

// New returns the plan of a restore. It does nothing yet; an error is a wrong Config.
func New(cfg Config) (run.Plan, error) {
	r, err := newRestore(cfg)
	if err != nil {
		return run.Plan{}, err
	}
	return run.Plan{
		Operation: "restore",
		ID:        cfg.ID,
		Phases: []run.Phase{
			{Name: PhaseInfo, Do: r.info},
			{Name: PhaseFetch, Do: r.fetch},
			{Name: PhasePrepare, Do: r.prepare},
			{Name: PhasePublish, Do: r.publish},
		},
		Cleanup: r.cleanup,
		Result:  r.result,
		Aborted: r.aborted,
	}, nil
}

func newRestore(cfg Config) (*restore, error) {
	switch {
	case cfg.Repo == nil:
		return nil, errors.New("plan a restore: no repository")
	case cfg.Target == "":
		return nil, code.New(code.Usage, "plan a restore: no target directory is named")
	case cfg.BackupID != repo.Latest && !repo.ValidID(cfg.BackupID):
		return nil, code.New(code.Usage, "plan a restore: %.40q is not the id of a backup", cfg.BackupID)
	}
	if cfg.Parallel == 0 {
		cfg.Parallel = max(2, min(runtime.NumCPU(), 4))
	}
	if cfg.SyncEvery == 0 {
		cfg.SyncEvery = 15 * time.Second
	}
	return &restore{cfg: cfg}, nil
}

func (r *restore) result() any {
	m := &r.manifest
	return Result{
		Backup: m.ID, LockMS: m.Lock.Held, Bytes: m.Totals.Plain,
		BinlogFile: m.Binlog.File, BinlogPosition: m.Binlog.Position, GTIDExecuted: m.GTIDExecuted,
		LSN: m.LSN.End, Target: r.place.path,
	}
}

// aborted is the last line of a run that failed.
func (r *restore) aborted() string {
	if r.staging == nil {
		return "Operation aborted"
	}
	return "Operation aborted - data might be corrupted"
}

// cleanup keeps what a later run can use and says where it is.
func (r *restore) cleanup(ctx context.Context, t *run.Task, failed error) error {
	if r.staging == nil {
		return nil
	}
	defer r.staging.Close()
	if failed == nil {
		return nil
	}
	defer t.Note("Incomplete files are left in %s; no server can start from %s. Run the same restore again to go on, or remove that directory.",
		filepath.Join(r.place.path, StagingName), r.place.path)
	if r.journal == nil || r.staging.state.Stage != fetching {
		return nil
	}
	return within(ctx, r.journal.flush)
}

// within bounds a call that cannot be cancelled, as a sync: when ctx ends it goes on alone.
func within(ctx context.Context, f func() error) error {
	done := make(chan error, 1)
	go func() { done <- f() }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return fmt.Errorf("sync the target: %w", context.Cause(ctx))
	}
}
