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
// is run again goes on from what is there; see core/staging. NewExport goes the same way
// without the preparation.
package restore

import (
	"fmt"

	"github.com/remora-backup/remora/core/code"
	"github.com/remora-backup/remora/core/inert"
	"github.com/remora-backup/remora/core/run"
)

// The phases of a restore, in order.
const (
	PhaseInfo    = "getting_backup_info"
	PhaseFetch   = "restoring_basebackup"
	PhasePrepare = "preparing_backup"
	PhasePublish = "finalizing"
)

// New returns the plan of a restore. It does nothing yet; an error is a wrong Config.
func New(cfg Config) (run.Plan, error) {
	cfg, err := cfg.checked()
	if err != nil {
		return run.Plan{}, err
	}
	r := &restore{cfg, &story{again: func(backup, target string) string {
		text := fmt.Sprintf("remora restore --backup %s --target %s", backup, code.Word(target))
		if cfg.As != inert.Inert {
			text += " --as " + string(cfg.As)
		}
		return text
	}}}
	return run.Plan{
		Operation: "restore",
		ID:        cfg.ID,
		Phases:    []run.Phase{{Name: PhaseInfo}, {Name: PhaseFetch}, {Name: PhasePrepare}, {Name: PhasePublish}},
		Do:        r.do,
		Aborted:   r.story.aborted,
		Left:      r.story.undone,
	}, nil
}

type restore struct {
	cfg   Config
	story *story
}

// do is a restore. Each phase says in its fields what it needs, and gives what the next need.
func (r *restore) do(rn *run.Run) (any, error) {
	from, err := run.Enter(rn, PhaseInfo, look{r.cfg, r.story}.restore)
	if err != nil {
		return nil, err
	}
	dir, err := run.Enter(rn, PhaseFetch, fetch{
		from: from, story: r.story, parallel: r.cfg.Parallel, every: r.cfg.SyncEvery,
		past:   "an earlier run has fetched and prepared the files",
		server: append([]string{from.mysqld}, r.cfg.MysqldArgs...),
	}.do)
	if err != nil {
		return nil, err
	}
	ready, err := run.Enter(rn, PhasePrepare, recovery{from, dir, r.cfg.MysqldArgs, r.cfg.BufferPool, r.cfg.As}.do)
	if err != nil {
		return nil, err
	}
	return run.Enter(rn, PhasePublish, publish{from, r.story, ready}.do)
}
