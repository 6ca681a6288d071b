// Package prepare makes a raw directory of a backup consistent, in place.
//
// The directory is one that an export of ours wrote, or a full backup of XtraBackup 8.x, or
// such a base with an incremental backup to be applied to it: each is a source, which says
// what there is in one description (source.go). From there on all go one way. New makes a
// plan for core/run:
//
//	reading_directory   reading.go   what is it, and can it be done? nothing is changed yet
//	applying_markers    applying.go  what DDL did during the copy; the redo is put where a server looks
//	preparing_backup    recover.go   a stock mysqld recovers to exactly the end of the backup
//	finalizing          finish.go    other tools are told that it is prepared
//
// There is no copy to go back to. JournalName is written before the first change: up to
// the moment when the server starts, a run that was interrupted goes on when it is run
// again; after that the directory has to be taken from the backup anew.
package prepare

import (
	"context"

	"github.com/remora-backup/remora/core/code"
	"github.com/remora-backup/remora/core/run"
)

// The phases, in order.
const (
	PhaseRead    = "reading_directory"
	PhaseApply   = "applying_markers"
	PhasePrepare = "preparing_backup"
	PhaseFinish  = "finalizing"
)

// New returns the plan. It does nothing yet; an error is a wrong Config.
func New(cfg Config) (run.Plan, error) {
	if cfg.Dir == "" {
		return run.Plan{}, code.New(code.Usage, "plan to prepare: no directory is named")
	}
	words := &lastWords{incremental: cfg.Incremental}
	return run.Plan{
		Operation: "prepare",
		ID:        cfg.ID,
		Phases:    []run.Phase{{Name: PhaseRead}, {Name: PhaseApply}, {Name: PhasePrepare}, {Name: PhaseFinish}},
		Do:        func(r *run.Run) (any, error) { return do(r, cfg, words) },
		Aborted:   words.aborted,
		Left:      words.whatIsLeft,
	}, nil
}

// do is a prepare. What reading_directory found out is all that the others need; what they
// do is in the directory.
func do(r *run.Run, cfg Config, words *lastWords) (any, error) {
	s, err := run.Enter(r, PhaseRead, readPhase{cfg, words}.do)
	if err != nil {
		return nil, err
	}
	for _, phase := range []struct {
		name string
		do   func(context.Context, *run.Task) error
	}{
		{PhaseApply, applyPhase{s, cfg.As}.do},
		{PhasePrepare, recoverPhase{s, cfg.MysqldArgs, cfg.BufferPool, words}.do},
		{PhaseFinish, finishPhase{s}.do},
	} {
		_, err := run.Enter(r, phase.name, func(ctx context.Context, t *run.Task) (none struct{}, _ error) {
			if s.prepared {
				return none, nil
			}
			return none, phase.do(ctx, t)
		})
		if err != nil {
			return nil, err
		}
	}
	return s.result(), nil
}
