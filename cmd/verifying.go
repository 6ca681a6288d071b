package cmd

import (
	"context"
	"fmt"

	"github.com/remora-backup/remora/core/operate"
	"github.com/remora-backup/remora/core/repo"
	"github.com/remora-backup/remora/core/run"
)

// verifying is the phase of a sidecar's verify.
const verifying = "verifying"

// planVerify plans the verify of one backup, or of all if id is empty.
func planVerify(id string) planner {
	return func(ctx context.Context, w *wiring, d *operate.Draft) (run.Plan, error) {
		storage, err := w.storage(ctx)
		if err != nil {
			return run.Plan{}, err
		}
		r, err := repo.Open(ctx, storage)
		if err != nil {
			return run.Plan{}, fmt.Errorf("open repository: %w", err)
		}
		if d.Row.BackupID = id; id == repo.Latest {
			d.Row.BackupID = ""
		}
		plan := run.Plan{Operation: "verify", ID: d.Row.ID, Phases: []run.Phase{{Name: verifying}}}
		plan.Do = func(rn *run.Run) (any, error) {
			return run.Enter(rn, verifying, func(ctx context.Context, t *run.Task) (any, error) { return verifyAll(ctx, t, r, id) })
		}
		return plan, nil
	}
}

// verifyAll reads every byte, and goes on behind a backup that is damaged.
func verifyAll(ctx context.Context, t *run.Task, r *repo.Repo, id string) (any, error) {
	var args []string
	if id != "" {
		args = []string{id}
	}
	ids, err := named(ctx, r, args)
	if err != nil {
		return nil, err
	}
	var first error
	var total int64
	for _, id := range ids {
		id, n, err := verifyOne(ctx, r, id)
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if err != nil {
			t.Note("backup %s is not sound: %v", id, err)
			if first == nil {
				first = fmt.Errorf("verify %s: %w", id, err)
			}
			continue
		}
		total += n
		t.Note("backup %s is sound: %s", id, size(n))
	}
	return struct {
		Verified int   `json:"verified"`
		Bytes    int64 `json:"bytes"`
	}{len(ids), total}, first
}
