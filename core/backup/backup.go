// Package backup takes a hot physical backup of a running server.
//
// The data files are copied while they change; the redo log that was written meanwhile is
// copied with them, and makes them consistent when a server recovers. Read the phases in
// this order:
//
//	preflight            preflight.go   may it work at all?
//	following_redo       follow.go      from the newest checkpoint on, to the end of the backup
//	copying_tablespaces  copy.go        all of them, without any lock; every page verified
//	catching_up          catchup.go     what DDL made stale, again, in ever shorter rounds
//	locking              lock.go        the backup lock; DDL waits, DML goes on; a last look
//	sync_point           window.go      the rest, the proof, the position; unlock
//	cutting_logs         tail.go        redo and binlog, up to exactly that position
//	storing_manifest     tail.go        last
package backup

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/remora-backup/remora/core/code"
	"github.com/remora-backup/remora/core/innodb/redo"
	"github.com/remora-backup/remora/core/plug"
	"github.com/remora-backup/remora/core/repo"
	"github.com/remora-backup/remora/core/run"
	"github.com/remora-backup/remora/core/server"
	"github.com/remora-backup/remora/core/syncpoint"
)

// Workers is how many tablespaces are copied at once if Config does not say.
const Workers = 2

// Config is what a backup needs. The parts are open already and stay the caller's to close.
type Config struct {
	Server      *server.Server
	Storage     plug.Storage
	Lock        plug.Lock
	Compression repo.Compression // "" is the repository's default
	Parallel    int              // copy workers; 0 is Workers
	LockWait    time.Duration    // how long to wait for the backup lock; 0 is 30 s
	Version     string           // of remora, for the manifest
	KeyringFile string           // data file of the server's keyring, for an encrypted redo log; "" finds it in the data directory
}

// Result is what the end event of a complete backup carries.
type Result struct {
	LockMS         float64 `json:"lock_ms"`      // the server was locked this long
	LockWaitMS     float64 `json:"lock_wait_ms"` // the server took this long to grant the lock
	Bytes          int64   `json:"bytes"`        // plain bytes in the backup
	StoredBytes    int64   `json:"stored_bytes"`
	BinlogFile     string  `json:"binlog_file"`
	BinlogPosition uint64  `json:"binlog_position"`
	GTIDExecuted   string  `json:"gtid_executed"`
	LSN            uint64  `json:"lsn"`

	VPTime time.Time `json:"vp_time"` // validity point: the moment whose data it holds
}

// engine is the state that the phases of one backup share.
type engine struct {
	cfg   Config
	repo  *repo.Repo
	id    string
	began time.Time

	facts  server.Facts
	dir    *directory
	track  *tracker
	backup *repo.Backup
	copier *copier
	others *others
	redo   *redoCapture

	// work is the run's context, ended by the first failure of anything that runs beside
	// the phases.
	work context.Context
	fail func(error)
	quit context.CancelCauseFunc // ends it without a failure

	held      plug.Held       // nil unless the lock is held
	asked     bool            // which tables are discarded, since the redo is followed
	known     map[uint32]bool // by space id: in the dictionary when that was asked
	discarded map[uint32]bool // by space id
	altered   server.Altered  // at the beginning
	begun     int             // how often it began again
	last      found           // under the lock
	sync      server.LogStatus
	binlog    *binlogCopy
	manifest  repo.Manifest
	phases    []repo.Phase
	stores    atomic.Bool              // objects may be in the storage
	left      atomic.Pointer[[]string] // of an unfinished backup, once it is known
}

// New returns the plan of a backup.
func New(ctx context.Context, cfg Config) (run.Plan, error) {
	if cfg.Parallel == 0 {
		cfg.Parallel = Workers
	}
	if cfg.LockWait == 0 {
		cfg.LockWait = 30 * time.Second
	}
	r, err := repo.Open(ctx, cfg.Storage)
	if err != nil {
		return run.Plan{}, fmt.Errorf("open repository: %w", err)
	}
	id, err := r.NextID(ctx, time.Now(), rand.Reader)
	if err != nil {
		return run.Plan{}, fmt.Errorf("choose a name for the backup: %w", err)
	}
	e := &engine{cfg: cfg, repo: r, id: id, began: time.Now(), track: newTracker()}
	return run.Plan{
		Operation: "backup",
		ID:        id,
		Phases: []run.Phase{
			e.phase("preflight", e.preflight),
			e.phase("following_redo", e.followRedo),
			e.phase("copying_tablespaces", e.copyTablespaces),
			e.phase("catching_up", e.catchUp),
			{Name: "locking", Locks: true, Do: e.phase("locking", e.lock).Do},
			{Name: "sync_point", Locked: true, Do: e.phase("sync_point", e.syncPoint).Do},
			e.phase("cutting_logs", e.cutLogs),
			e.phase("storing_manifest", e.storeManifest),
		},
		Cleanup: e.cleanup,
		Left:    e.whatIsLeft,
		Result:  e.result,
	}, nil
}

// phase wraps a step: it runs under the engine's context, and its time is noted.
func (e *engine) phase(name string, do func(context.Context, *run.Task) error) run.Phase {
	return run.Phase{Name: name, Do: func(ctx context.Context, t *run.Task) error {
		if e.work == nil {
			e.begin(ctx, t)
			if err := syncpoint.At(ctx, syncpoint.BackupStart); err != nil {
				return err
			}
		}
		began := time.Now()
		err := do(e.work, t)
		e.phases = append(e.phases, repo.Phase{Name: name, Started: began.UTC(), Seconds: time.Since(began).Seconds()})
		if code.Of(err) == code.Lock {
			err = e.whyLost(ctx, err)
		}
		if cause := context.Cause(e.work); err != nil && cause != nil && errors.Is(err, context.Canceled) {
			return cause // what ended the work, not that it ended
		}
		return err
	}}
}

// begin makes the context of what works beside the phases. The first failure of that is
// reported at once.
func (e *engine) begin(ctx context.Context, t *run.Task) {
	work, quit := context.WithCancelCause(ctx)
	e.work, e.quit = work, quit
	e.fail = func(err error) {
		if work.Err() == nil {
			t.Fail(err)
		}
		quit(err)
	}
}

// cleanup gives everything back, the lock first. Nothing of an unfinished backup stays.
func (e *engine) cleanup(ctx context.Context, t *run.Task, failed error) error {
	if e.held != nil {
		t.Note("Releasing locks.")
		began := time.Now()
		t.Fail(syncpoint.At(ctx, syncpoint.CleanupRelease))
		t.Fail(e.release(ctx))
		t.Note("Locks released after %.3f s.", time.Since(began).Seconds())
	}
	if e.quit != nil {
		e.quit(context.Canceled)
	}
	if e.redo != nil {
		t.Fail(syncpoint.At(ctx, syncpoint.CleanupRedo))
		t.Fail(e.redo.close(ctx))
	}
	e.binlog.close()
	if e.backup == nil || failed == nil {
		return nil
	}
	t.Fail(syncpoint.At(ctx, syncpoint.CleanupAbort))
	left, err := e.backup.Abort(ctx)
	e.left.Store(&left)
	return err
}

// whatIsLeft says what an unfinished backup leaves in the storage.
func (e *engine) whatIsLeft() run.Left {
	names := e.left.Load()
	switch {
	case names == nil && !e.stores.Load():
		return run.Left{Text: "Nothing was stored. To try again: remora backup"}
	case names == nil:
		return run.Left{Names: []string{"backups/" + e.id + "/"}, Text: "Objects of the unfinished backup may be left in the storage; the next backup removes them. They are not part of any backup. To try again: remora backup"}
	case len(*names) == 0:
		return run.Left{Text: "Nothing of the unfinished backup is left in the storage. To try again: remora backup"}
	}
	return run.Left{Names: *names, Text: fmt.Sprintf("%d objects of the unfinished backup are left in the storage, the first is %s; the next backup removes them: remora backup",
		len(*names), (*names)[0])}
}

func (e *engine) result() any {
	m := e.manifest
	return Result{
		LockMS: m.Lock.Held, LockWaitMS: m.Lock.Waited, Bytes: m.Totals.Plain, StoredBytes: m.Totals.Stored,
		BinlogFile: m.Binlog.File, BinlogPosition: m.Binlog.Position, GTIDExecuted: m.GTIDExecuted, LSN: m.LSN.End,
		VPTime: m.VPTime,
	}
}

// sameServer makes sure that the server is still the one, and the same life of it.
func (e *engine) sameServer(ctx context.Context) error {
	now, err := e.cfg.Server.Identity(ctx)
	if err != nil {
		return err
	}
	if now != e.facts.Identity {
		return code.New(code.ServerGone, "the server is not the one the backup began with: it was %v, it is %v", e.facts.Identity, now)
	}
	return nil
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

func lsn(n uint64) redo.LSN { return redo.LSN(n) }
