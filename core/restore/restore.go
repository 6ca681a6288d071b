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
	"os"
	"path/filepath"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/remora-backup/remora/core/code"
	"github.com/remora-backup/remora/core/repo"
	"github.com/remora-backup/remora/core/run"
	"github.com/remora-backup/remora/core/staging"
	"github.com/remora-backup/remora/core/syncpoint"
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

	VPTime time.Time `json:"vp_time,omitzero"` // validity point: the moment whose data it holds
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

	staging *unfinished // open from restoring_basebackup on
	journal *journal    // of the fetch

	// For the last words of a run that failed, which may be asked for at any moment.
	staged   atomic.Bool // there are files of ours in the target
	changing atomic.Bool // they are being moved to where a server would look
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
		Left:    r.whatIsLeft,
	}, nil
}

func newRestore(cfg Config) (*restore, error) {
	switch {
	case cfg.Repo == nil:
		return nil, errors.New("plan a restore: no repository")
	case cfg.Target == "":
		return nil, code.New(code.Usage, "plan a restore: no target directory is named")
	case cfg.BackupID != repo.Latest && !repo.ValidID(cfg.BackupID):
		return nil, code.Hint(code.Usage, "remora list shows the backups there are", "plan a restore: %.40q is not the id of a backup", cfg.BackupID)
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
		VPTime: m.VPTime,
	}
}

// aborted is the last line of a run that failed. What lies in the target changes from the
// first move into it on; before, and in a target that holds nothing but our own directory,
// no data is there that could be corrupted.
func (r *restore) aborted() string {
	switch {
	case r.changing.Load():
		return run.Corrupted(r.manifest.Databases, r.place.path)
	case r.staged.Load():
		return fmt.Sprintf("Operation aborted. Incomplete files in %s; the server cannot start from them", r.incomplete())
	}
	return "Operation aborted"
}

// whatIsLeft says how to go on, or to go back.
func (r *restore) whatIsLeft() run.Left {
	if !r.staged.Load() {
		return run.Left{Text: "Nothing was written."}
	}
	l := run.Left{Names: []string{r.incomplete()}}
	again, target := r.again(), code.Word(r.place.path)
	l.Text = fmt.Sprintf("Incomplete files are left in %s; no server can start from %s. To go on with what is whole: %s. To remove them: rm -r %s",
		r.incomplete(), r.place.path, again, code.Word(l.Names[0]))
	if r.changing.Load() {
		l.Names = append(l.Names, r.place.path)
		l.Text = fmt.Sprintf("Part of the files is in %s, without mysql.ibd: no server can start from it. To go on: %s. To remove them: rm -r %s",
			r.place.path, again, target)
		if _, err := os.Lstat(filepath.Join(r.place.path, dictionary)); err == nil {
			l.Text = fmt.Sprintf("All files are in %s, but would perhaps not survive a power failure. To make sure: %s", r.place.path, again)
		}
	}
	return l
}

// again is the command that goes on.
func (r *restore) again() string {
	if r.raw {
		return fmt.Sprintf("remora export %s %s", r.manifest.ID, code.Word(r.place.path))
	}
	return fmt.Sprintf("remora restore --backup %s --target %s", r.manifest.ID, code.Word(r.place.path))
}

func (r *restore) incomplete() string { return filepath.Join(r.place.path, staging.Name) }

// cleanup keeps what a later run can use.
func (r *restore) cleanup(ctx context.Context, t *run.Task, failed error) error {
	if r.staging == nil {
		return nil
	}
	defer r.staging.Close()
	if failed == nil {
		return nil
	}
	t.Fail(syncpoint.At(ctx, syncpoint.CleanupKept))
	if r.journal == nil || r.staging.state.Stage != fetching {
		return nil
	}
	t.Fail(syncpoint.At(ctx, syncpoint.CleanupJournal))
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
