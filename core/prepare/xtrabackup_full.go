package prepare

import (
	"context"
	"os"

	"github.com/remora-backup/remora/core/code"
	"github.com/remora-backup/remora/core/innodb/redo"
	"github.com/remora-backup/remora/core/xtrabackup"
)

// full is a full backup of XtraBackup.
type full struct{}

func (full) apply(context.Context, *os.Root) error { return nil }

func (full) tell(root *os.Root) error {
	if err := blankCreator(root); err != nil {
		return err
	}
	return markPrepared(root, root)
}

func (full) describe(dir *directory, past stage) (*description, error) {
	points, err := readWith(dir.root, xtrabackup.CheckpointsName, xtrabackup.ParseCheckpoints)
	if err != nil {
		return nil, err
	}
	if past != recovered {
		if points.Type == xtrabackup.FullPrepared {
			return &description{prepared: true}, nil
		}
		if err := checkFull(dir, points); err != nil {
			return nil, err
		}
	}
	list, err := dir.list()
	if err != nil {
		return nil, err
	}
	if err := checkPacked(dir, list); err != nil {
		return nil, err
	}
	d, err := describeXtraBackup(dir, dir, list)
	if err != nil {
		return nil, err
	}
	d.log.end = redo.LSN(points.Last)
	if d.markers = -1; past == "" {
		if d.groups, err = planFull(dir, list); err != nil {
			return nil, err
		}
		d.markers = len(list.markers)
	}
	if past == recovered {
		return d, nil
	}
	return d, openLogfile(&d.log, dir)
}

// checkFull accepts a full backup that was not prepared.
func checkFull(dir *directory, points xtrabackup.Checkpoints) error {
	switch points.Type {
	case xtrabackup.LogApplied:
		return code.Hint(code.Target, "finish it with XtraBackup: xtrabackup --prepare --target-dir=DIR",
			"read %s: it is log-applied, prepared in part by XtraBackup for incremental backups to follow", dir.path)
	case xtrabackup.Incremental:
		return code.Hint(code.Target, "remora prepare BASE --incremental DIR",
			"read %s: it is an incremental backup, which no server can recover without its base", dir.path)
	}
	if points.To > points.Last {
		return code.New(code.Integrity, "read %s: to_lsn %d is after last_lsn %d", xtrabackup.CheckpointsName, points.To, points.Last)
	}
	return nil
}

// planFull plans the markers.
func planFull(dir *directory, list listing) ([][]step, error) {
	for name := range list.files {
		if xtrabackup.IsIncremental(name) {
			return nil, code.New(code.Integrity, "read %s: %s belongs to an incremental backup, this is a full one", dir.path, name)
		}
	}
	if list.dirs[redo.Dir] {
		return nil, code.New(code.Integrity, "read %s: %s is there already, as if a server had run here", dir.path, redo.Dir)
	}
	if err := list.readMarkers(dir.root); err != nil {
		return nil, err
	}
	return planMarkers(list)
}
