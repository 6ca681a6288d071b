package prepare

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/remora-backup/remora/core/code"
	"github.com/remora-backup/remora/core/innodb/redo"
	"github.com/remora-backup/remora/core/innodb/tablespace"
	"github.com/remora-backup/remora/core/xtrabackup"
)

// increment is an incremental backup of XtraBackup with its base, which was prepared with
// --apply-log-only: the directory to be prepared. Nothing in the incremental backup is changed.
type increment struct {
	dir     *directory
	changes []change // what it has; known after describe
}

func openIncremental(name string) (*directory, error) {
	abs, err := filepath.Abs(name)
	if err != nil {
		return nil, fmt.Errorf("find the incremental backup: %w", err)
	}
	root, err := os.OpenRoot(abs)
	if err != nil {
		return nil, code.New(code.Usage, "open the incremental backup: %w", err)
	}
	return &directory{path: abs, root: root}, nil
}

func (i *increment) describe(base *directory, past stage) (*description, error) {
	points, err := readWith(base.root, xtrabackup.CheckpointsName, xtrabackup.ParseCheckpoints)
	if err != nil {
		return nil, err
	}
	inc, err := readWith(i.dir.root, xtrabackup.CheckpointsName, xtrabackup.ParseCheckpoints)
	if err == nil && past != recovered {
		err = checkIncrement(base, i.dir, points, inc)
	}
	if err != nil {
		return nil, err
	}
	was, err := base.list()
	if err != nil {
		return nil, err
	}
	is, err := i.dir.list()
	if err != nil {
		return nil, err
	}
	if err := errors.Join(checkPacked(base, was), checkPacked(i.dir, is)); err != nil {
		return nil, err
	}
	d, err := describeXtraBackup(base, i.dir, is)
	if err != nil {
		return nil, err
	}
	d.files, d.log.end = was.files, redo.LSN(inc.Last)
	if err := i.plan(d, base, was, is, past); err != nil {
		return nil, err
	}
	if past == recovered {
		return d, nil
	}
	return d, openLogfile(&d.log, i.dir)
}

// checkIncrement accepts an incremental backup that goes on from its base.
func checkIncrement(base, dir *directory, points, inc xtrabackup.Checkpoints) error {
	switch {
	case inc.Type != xtrabackup.Incremental:
		return code.New(code.Target, "read %s: it is %s, no incremental backup", dir.path, inc.Type)
	case points.Type != xtrabackup.LogApplied:
		return code.Hint(code.Target, "xtrabackup --prepare --apply-log-only --target-dir=DIR",
			"read %s: it is %s; the base of an incremental backup must be prepared with --apply-log-only first, which only XtraBackup can: a server would roll back what the increment goes on with", base.path, points.Type)
	case points.To != inc.From:
		return code.New(code.Integrity, "read %s: the incremental backup goes on from LSN %d, its base ends at %d: they do not belong together", dir.path, inc.From, points.To)
	case inc.To > inc.Last:
		return code.New(code.Integrity, "read %s: to_lsn %d is after last_lsn %d", xtrabackup.CheckpointsName, inc.To, inc.Last)
	}
	return nil
}

// plan says which tablespaces there are in the end, and how the base's files come to bear
// their names.
func (i *increment) plan(d *description, base *directory, was, is listing, past stage) error {
	if err := is.readRenames(i.dir.root); err != nil {
		return err
	}
	found, err := readDeltas(i.dir, is)
	if err != nil {
		return err
	}
	if i.changes, err = found.changes(i.dir, is.markers); err != nil {
		return err
	}
	if past != "" {
		return nil
	}
	if err := was.readSpaces(base.root); err != nil {
		return err
	}
	for _, m := range is.markers {
		_, changed := found.old[m.Space]
		if m.Kind == xtrabackup.Delete && !changed && !slices.Contains(slices.Collect(maps.Values(was.spaces)), m.Space) {
			return bad(m, "neither the base nor the incremental backup has tablespace %d", m.Space)
		}
	}
	d.groups, d.markers = planNames(i.changes, was, is), len(is.markers)
	return nil
}

// planNames gives the base's files the names that their tablespaces have in the end, and
// removes those that are not there any more.
func planNames(changes []change, was, is listing) [][]step {
	final := map[uint32]string{}
	for _, c := range changes {
		final[c.meta.Space] = c.name
	}
	var groups [5][]step
	for name, id := range was.spaces {
		to, kept := final[id]
		switch {
		case id == tablespace.System:
		case !kept:
			groups[0] = append(groups[0], step{Name: name})
		case to != name:
			temp := fmt.Sprintf("%s.remora-%d", name, id)
			groups[1] = append(groups[1], step{Name: name, To: temp})
			groups[2] = append(groups[2], step{Name: temp, To: to})
		}
	}
	for name := range was.files { // of other engines: those of the incremental backup count
		if (tablespace.Names{}).Kind(name) == tablespace.EngineFile && !is.files[name] {
			groups[3] = append(groups[3], step{Name: name})
		}
	}
	return groups[:]
}

// apply writes the pages and files of the incremental backup over the base's.
func (i *increment) apply(ctx context.Context, root *os.Root) error {
	for _, c := range i.changes {
		if err := context.Cause(ctx); err != nil {
			return err
		}
		if err := c.apply(root, i.dir.root); err != nil {
			return fmt.Errorf("apply %s to %s: %w", c.delta, c.name, code.Full(err))
		}
	}
	return i.copyOthers(root)
}

// copyOthers copies what is no tablespace: files of other engines, the binary log, and what
// describes the backup, but for its type, which is told at the end.
func (i *increment) copyOthers(root *os.Root) error {
	err := fs.WalkDir(i.dir.root.FS(), ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir():
			if name != "." && name != redo.Dir {
				return root.MkdirAll(name, dirMode)
			}
			return nil
		}
		_, marker, _ := xtrabackup.ParseMarker(name)
		if marker || xtrabackup.IsIncremental(name) || name == xtrabackup.CheckpointsName || name == xtrabackup.LogName {
			return nil
		}
		return copyFile(root, i.dir.root, name)
	})
	if err != nil {
		return fmt.Errorf("copy the other files of the incremental backup: %w", code.Full(err))
	}
	return nil
}

func copyFile(root, dir *os.Root, name string) error {
	from, err := dir.Open(name)
	if err != nil {
		return err
	}
	defer from.Close()
	to, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC|unix.O_NOFOLLOW, fileMode)
	if err != nil {
		return err
	}
	_, err = io.Copy(to, from)
	return errors.Join(err, to.Close())
}

// tell marks the base; the log file of the incremental backup is read where it is, one of the
// base's own has been used.
func (i *increment) tell(root *os.Root) error {
	if err := blankCreator(root); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return markPrepared(root, i.dir.root)
}
