// Package prepare makes a raw directory of a backup consistent, in place.
//
// The directory is one that an export of ours wrote, or a full backup of XtraBackup 8.x, or
// such a base with an incremental backup to be applied to it (incremental.go). New makes a plan for core/run:
//
//	reading_directory   source.go    what is it, and can it be done? nothing is changed yet
//	applying_markers    markers.go   what DDL did during the copy; the redo is put where a server looks
//	preparing_backup    recover.go   a stock mysqld recovers to exactly the end of the backup
//	finalizing          recover.go   other tools are told that it is prepared
//
// There is no copy to go back to. JournalName is written before the first change: up to
// the moment when the server starts, a run that was interrupted goes on when it is run
// again; after that the directory has to be taken from the backup anew.
package prepare

import (
	"context"
	"os"
	"sync/atomic"

	"github.com/remora-backup/remora/core/code"
	"github.com/remora-backup/remora/core/run"
	"github.com/remora-backup/remora/core/syncpoint"
)

// The phases, in order.
const (
	PhaseRead    = "reading_directory"
	PhaseApply   = "applying_markers"
	PhasePrepare = "preparing_backup"
	PhaseFinish  = "finalizing"
)

// Config says what is prepared, and with which server.
type Config struct {
	ID  string // of the operation, for its events
	Dir string // the directory
	// Incremental is an incremental backup of XtraBackup's to be applied to Dir, which is
	// its base, prepared with --apply-log-only; "" is none. It is read only.
	Incremental string
	Mysqld      string   // program that recovers; "" finds one, see mysqld.Find
	MysqldArgs  []string // for it, before ours
	BufferPool  int64    // bytes; 0 chooses by the free memory
	// KeyringFile is the data file of the source's keyring, for an encrypted redo log. The
	// server that recovers must find the same keys by itself, see MysqldArgs.
	KeyringFile string
}

// Result is what the end event carries.
type Result struct {
	Target         string `json:"target"`
	Kind           string `json:"kind"`             // "export" or "xtrabackup"
	Backup         string `json:"backup,omitempty"` // id of an export
	Markers        int    `json:"markers"`          // applied
	BinlogFile     string `json:"binlog_file,omitempty"`
	BinlogPosition uint64 `json:"binlog_position,omitempty"`
	GTIDExecuted   string `json:"gtid_executed,omitempty"`
	LSN            uint64 `json:"lsn"`
	Already        bool   `json:"already_prepared,omitempty"` // nothing was done
}

// work is one run of the plan.
type work struct {
	cfg     Config
	path    string // of the directory, absolute, without symbolic links
	root    *os.Root
	journal *journal // nil before the first change
	source  source
	groups  [][]step
	bin     string // the mysqld
	already bool   // prepared before
	lockDDL string // how XtraBackup kept DDL out: ON, OFF or REDUCED

	inc     *os.Root // the incremental backup; nil without one
	incPath string
	changes []change        // what it has
	hadMeta map[uint32]bool // tablespaces that it found first

	// For the last words of a run that failed, which may be asked for at any moment.
	opened   atomic.Bool // path is known
	changing atomic.Bool // a server is let to change the data, now or in an earlier run
}

// New returns the plan. It does nothing yet; an error is a wrong Config.
func New(cfg Config) (run.Plan, error) {
	if cfg.Dir == "" {
		return run.Plan{}, code.New(code.Usage, "plan to prepare: no directory is named")
	}
	w := &work{cfg: cfg}
	return run.Plan{
		Operation: "prepare",
		ID:        cfg.ID,
		Phases: []run.Phase{
			{Name: PhaseRead, Do: w.read},
			{Name: PhaseApply, Do: w.unless(w.apply)},
			{Name: PhasePrepare, Do: w.unless(w.recover)},
			{Name: PhaseFinish, Do: w.unless(w.finish)},
		},
		Cleanup: w.cleanup,
		Result:  w.result,
		Aborted: w.aborted,
		Left:    w.whatIsLeft,
	}, nil
}

// unless leaves a phase out of a directory that is prepared.
func (w *work) unless(do func(context.Context, *run.Task) error) func(context.Context, *run.Task) error {
	return func(ctx context.Context, t *run.Task) error {
		if w.already {
			return nil
		}
		return do(ctx, t)
	}
}

// apply changes names as the markers say, and makes the redo log.
func (w *work) apply(ctx context.Context, t *run.Task) error {
	if err := at(ctx, syncpoint.ApplyingBefore); err != nil {
		return err
	}
	if w.journal == nil {
		w.journal = &journal{Format: journalFormat, Stage: applying, Groups: w.groups}
		if err := w.journal.save(w.root); err != nil {
			return err
		}
	}
	if err := at(ctx, syncpoint.ApplyingBegun); err != nil {
		return err
	}
	if w.journal.Stage != applying {
		return nil
	}
	if n := w.source.markers; n > 0 {
		t.Note("applying %d marker files of DDL during the copy", n)
	}
	if err := w.journal.carryOut(ctx, w.root); err != nil {
		return err
	}
	if w.inc != nil {
		if err := w.applyIncremental(ctx); err != nil {
			return err
		}
	}
	if err := w.checkSystemFiles(w.exists); err != nil {
		return err
	}
	if w.source.kind == kindXtraBackup {
		if err := w.source.log.make(ctx, w.root, w.source.creator()); err != nil {
			return err
		}
	}
	return at(ctx, syncpoint.ApplyingDone)
}

// at is a point where an interruption is looked for as well.
func at(ctx context.Context, p syncpoint.Point) error {
	if err := syncpoint.At(ctx, p); err != nil {
		return err
	}
	return context.Cause(ctx)
}

func (w *work) exists(name string) bool {
	_, err := w.root.Lstat(name)
	return err == nil
}

func (w *work) result() any {
	s := &w.source
	return Result{
		Target: w.path, Kind: s.kind, Backup: s.backup, Markers: s.markers, BinlogFile: s.binlog.File, BinlogPosition: s.binlog.Offset,
		GTIDExecuted: s.binlog.GTIDs, LSN: uint64(s.log.end), Already: w.already,
	}
}

func (w *work) cleanup(ctx context.Context, t *run.Task, failed error) error {
	if w.root == nil {
		return nil
	}
	defer w.root.Close()
	defer w.journal.close()
	if w.inc != nil {
		defer w.inc.Close()
	}
	w.source.log.close()
	if failed != nil && w.journal != nil {
		t.Fail(syncpoint.At(ctx, syncpoint.CleanupDirectory))
	}
	return nil
}
