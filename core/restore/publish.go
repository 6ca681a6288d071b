package restore

import (
	"context"
	"fmt"
	"strings"

	"github.com/remora-backup/remora/core/inert"
	"github.com/remora-backup/remora/core/repo"
	"github.com/remora-backup/remora/core/run"
	"github.com/remora-backup/remora/core/staging"
	"github.com/remora-backup/remora/core/syncpoint"
)

// ready is a directory that has what the target is to hold.
type ready struct {
	*staging.Dir
	record inert.Record
}

// publish is the phase finalizing: it makes the target a data directory.
type publish struct {
	from  *source
	story *story
	dir   ready
}

func (p publish) do(ctx context.Context, t *run.Task) (Result, error) {
	if err := syncpoint.Between(ctx, syncpoint.PublishBefore); err != nil {
		return Result{}, err
	}
	if err := p.dir.Publish(ctx, func() error { return p.changes(ctx, t) }, t.Commit); err != nil {
		return Result{}, err
	}
	_ = syncpoint.At(ctx, syncpoint.PublishDone) // nothing here can undo the restore
	if err := p.dir.Remove(); err != nil {
		t.Warn("%v", err)
	}
	_ = syncpoint.At(ctx, syncpoint.PublishRemoved)
	p.tellSettings(t)
	if p.from.owner.Root() {
		t.Note("the files belong to root, as %s does: give them to the server's user before it is started", p.from.target.Path)
	}
	p.tellRole(t)
	return resultOf(&p.from.manifest, p.from.target.Path, p.dir.record), nil
}

// changes remembers that from now on what lies in the target changes.
func (p publish) changes(ctx context.Context, t *run.Task) error {
	if err := t.Destructive(ctx); err != nil {
		return fmt.Errorf("remember that the target changes: %w", err)
	}
	p.story.changes()
	return syncpoint.Between(ctx, syncpoint.PublishDestructive)
}

// tellSettings says what a server must be configured with to start on the target, and what
// not: with other settings it makes some of its files anew without a word.
func (p publish) tellSettings(t *run.Task) {
	m, target := &p.from.manifest, p.from.target.Path
	if need := p.from.system.settings(&m.Server); len(need) > 0 {
		t.Note("the server of %s needs these settings: %s", target, strings.Join(need, ", "))
	}
	if home := m.Server.Variables[repo.RedoHome]; home != "" {
		t.Note("the source had its redo log in %s; the restored one is in %s: start the server without %s, or see to it that no redo of another server is left there",
			home, target, repo.RedoHome)
	}
}
