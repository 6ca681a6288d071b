// Package backup takes a hot physical backup of a running server.
//
// The data files are copied while they change; the redo log that was written meanwhile is
// copied with them, and makes them consistent when a server recovers.
package backup

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/remora-backup/remora/core/copier"
	"github.com/remora-backup/remora/core/plug"
	"github.com/remora-backup/remora/core/repo"
	"github.com/remora-backup/remora/core/run"
	"github.com/remora-backup/remora/core/server"
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
	Patience    time.Duration    // how long to wait in all for the locks, in nobody's way; 0 is an hour
	Version     string           // of remora, for the manifest
	KeyringFile string           // data file of the server's keyring, for an encrypted redo log; "" finds it in the data directory

	ExcludeEngines []string      // engines that are not copied, left out on purpose
	MaxDataAge     time.Duration // how old the data of a replica may be, its configured delay added; 0 is an hour
	RefuseStale    bool          // do not back up a replica whose data are older; else it is warned of
}

const (
	// maxBegun bounds how often a backup begins again.
	maxBegun = 3
	// lockedBytes is how much may be copied under the lock. While the lock is waited for
	// DDL comes to its end, such as an index that was being built; if it leaves more than
	// this to copy, the lock is given back for another round without it. The limit doubles
	// each time: DDL that never stops leaves as much the next time.
	lockedBytes = 8 << 20
	// maxLocks bounds how often the lock is taken: the last time whatever is to be copied
	// is copied under it.
	maxLocks = 5
)

// backup is one backup: what its phases are given.
type backup struct {
	Config
	repo     *repo.Repo
	id       string
	began    time.Time
	leftover *leftover
}

// New returns the plan of a backup.
func New(ctx context.Context, cfg Config) (run.Plan, error) {
	if cfg.Parallel == 0 {
		cfg.Parallel = Workers
	}
	if cfg.Patience == 0 {
		cfg.Patience = time.Hour
	}
	if cfg.MaxDataAge == 0 {
		cfg.MaxDataAge = time.Hour
	}
	if err := checkExcluded(cfg.ExcludeEngines); err != nil {
		return run.Plan{}, err
	}
	r, err := repo.Open(ctx, cfg.Storage)
	if err != nil {
		return run.Plan{}, fmt.Errorf("open repository: %w", err)
	}
	id, err := r.NextID(ctx, time.Now(), rand.Reader)
	if err != nil {
		return run.Plan{}, fmt.Errorf("choose a name for the backup: %w", err)
	}
	b := &backup{Config: cfg, repo: r, id: id, began: time.Now(), leftover: &leftover{id: id}}
	return run.Plan{
		Operation: "backup",
		ID:        id,
		Phases: []run.Phase{
			{Name: "preflight"},
			{Name: "following_redo"},
			{Name: "copying_tablespaces"},
			{Name: "catching_up"},
			{Name: "locking", Locks: true},
			{Name: "sync_point", Locked: true},
			{Name: "cutting_logs"},
			{Name: "storing_manifest"},
		},
		Do:   b.do,
		Left: b.leftover.left,
	}, nil
}

// do is a backup. A phase says in its fields what it needs, and gives what the next need.
func (b *backup) do(r *run.Run) (any, error) {
	site, err := run.Enter(r, "preflight", b.preflight().do) // may it work at all?
	if err != nil {
		return nil, err
	}
	locked, err := b.copy(r, site) // everything, and the lock is held
	if err != nil {
		return nil, err
	}
	point, err := run.Enter(r, "sync_point", syncPoint{site, locked}.do) // the rest, the proof, the position; unlock
	if err != nil {
		return nil, err
	}
	logs, err := run.Enter(r, "cutting_logs", cutLogs{site, locked, locked.copies.redo, point}.do) // up to exactly that position
	if err != nil {
		return nil, err
	}
	return run.Enter(r, "storing_manifest", storeManifest{site, locked, point, logs, b.began, b.Version, r.Took()}.do) // last
}

func (b *backup) preflight() preflight {
	return preflight{
		server: b.Server, storage: b.Storage, repo: b.repo, id: b.id, compression: b.Compression,
		workers: b.Parallel, keyring: b.KeyringFile, exclude: b.ExcludeEngines, fresh: freshness{b.MaxDataAge, b.RefuseStale}, leftover: b.leftover,
	}
}

// copy copies everything while the server works, with the redo from a checkpoint on. If a
// table that was imported makes that redo useless, it begins again with newer redo.
func (b *backup) copy(r *run.Run, site *site) (*locked, error) {
	holding := &holding{site: site, plugin: b.Lock, wait: lockWait{limit: b.Patience}}
	plain := &copier.Plain{Root: site.dir.Root(), NewFile: site.store.NewFile, Packer: site.packers[0]}
	var redo *capture
	for begun := 0; ; begun++ {
		var err error
		if redo, err = run.Enter(r, "following_redo", followRedo{site, redo}.do); err != nil {
			return nil, err
		}
		copies := newCopies(site, redo, plain)
		locked, err := b.copyAndLock(r, copies, holding)
		var useless *imported
		switch {
		case !errors.As(err, &useless):
			return locked, err
		case begun == maxBegun:
			return nil, fmt.Errorf("%w, and so were others each time it began again: take it when nothing is imported", err)
		}
		r.Note("%v: beginning again", err)
	}
}

// copyAndLock copies without the lock, again where DDL made a copy stale, until so little is
// left that it can be done under the lock, which it then has taken.
func (b *backup) copyAndLock(r *run.Run, copies *copies, holding *holding) (*locked, error) {
	if _, err := run.Enter(r, "copying_tablespaces", copies.first); err != nil {
		return nil, err
	}
	room := int64(lockedBytes)
	for try := 1; ; {
		if try == maxLocks {
			room = math.MaxInt64
		}
		if _, err := run.Enter(r, "catching_up", copies.catchUp); err != nil {
			return nil, err
		}
		locked, err := run.Enter(r, "locking", lock{copies.site, holding, copies, room}.do)
		switch {
		case errors.Is(err, errNotYet): // what DDL makes stale meanwhile is copied again
		case errors.Is(err, errGivenBack):
			try, room = try+1, 2*room
		default:
			return locked, err
		}
	}
}
