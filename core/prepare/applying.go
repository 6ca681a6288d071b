package prepare

import (
	"context"

	"github.com/remora-backup/remora/core/inert"
	"github.com/remora-backup/remora/core/run"
	"github.com/remora-backup/remora/core/syncpoint"
)

// applyPhase changes names as the markers say, applies an incremental backup, and makes the
// redo log. Each step may be repeated.
type applyPhase struct {
	*site
	as inert.Role
}

func (a applyPhase) do(ctx context.Context, t *run.Task) error {
	if err := syncpoint.Between(ctx, syncpoint.ApplyingBefore); err != nil {
		return err
	}
	if a.journal == nil {
		a.journal = &journal{Format: journalFormat, Stage: applying, Groups: a.groups, As: a.as}
		if err := a.journal.save(a.root); err != nil {
			return err
		}
	}
	if err := syncpoint.Between(ctx, syncpoint.ApplyingBegun); err != nil {
		return err
	}
	if a.journal.Stage != applying {
		return nil
	}
	return a.apply(ctx, t)
}

func (a applyPhase) apply(ctx context.Context, t *run.Task) error {
	if a.markers > 0 {
		t.Note("applying %d marker files of DDL during the copy", a.markers)
	}
	if err := a.journal.carryOut(ctx, a.root); err != nil {
		return err
	}
	if err := a.source.apply(ctx, a.root); err != nil {
		return err
	}
	if err := checkSystemFiles(a.dataFilePath, a.has); err != nil {
		return err
	}
	if !a.inPlace {
		if err := a.log.make(ctx, a.root, a.server); err != nil {
			return err
		}
	}
	return syncpoint.Between(ctx, syncpoint.ApplyingDone)
}
