package prepare

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/remora-backup/remora/core/code"
	"github.com/remora-backup/remora/core/innodb/redo"
	"github.com/remora-backup/remora/core/repo"
	"github.com/remora-backup/remora/core/version"
	"github.com/remora-backup/remora/core/xtrabackup"
)

// exported is a directory that an export of ours wrote: its files lie as a server wants them,
// the redo log included.
type exported struct{}

func (exported) apply(context.Context, *os.Root) error { return nil }
func (exported) tell(*os.Root) error                   { return nil }

// describe takes what is to be known from the manifest of the backup.
func (exported) describe(dir *directory, past stage) (*description, error) {
	list, err := dir.list()
	if err != nil {
		return nil, err
	}
	e, err := repo.ReadExport(dir.path)
	if err != nil {
		return nil, code.Default(code.Integrity, err)
	}
	m := &e.Manifest
	if len(list.markers) > 0 && past == "" {
		return nil, code.New(code.Integrity, "read %s: an export has no marker files, but there is %s", dir.path, list.markers[0].Path)
	}
	d := &description{
		kind: kindExport, backup: m.ID, databases: m.Databases, channels: m.ChannelNames(), files: list.files, inPlace: true, lowerCase: m.Server.LowerCaseTableNames,
		binlog: xtrabackup.Position{File: m.Binlog.File, Offset: m.Binlog.Position, GTIDs: m.GTIDExecuted},
		log:    redoLog{name: redo.Dir, checkpoint: redo.LSN(m.LSN.Checkpoint), end: redo.LSN(m.LSN.End), page: m.Server.PageSize},
	}
	if d.server, err = version.Parse(m.Server.Version, m.Server.VersionComment); err != nil {
		return nil, code.New(code.Integrity, "read the backup's server version: %w", err)
	}
	d.dataFilePath = systemFiles(m.Server.DataFilePath, m.Server.DataHomeDir, list.files)
	if d.undoDir, err = undoDir(list.files); err != nil {
		return nil, err
	}
	if past == recovered {
		return d, nil
	}
	return d, openExported(&d.log, dir.root, d.server)
}

// openExported opens the redo log as the export made it. If it is another one, a server
// has been here.
func openExported(l *redoLog, root *os.Root, v version.Version) error {
	layout, err := redo.Layout(l.checkpoint, l.end, l.page, 0)
	if err != nil {
		return code.Default(code.Integrity, err)
	}
	for i, f := range layout {
		name := filepath.Join(redo.Dir, redo.Name(f.ID))
		file, err := root.Open(name)
		if err != nil {
			return code.New(code.Integrity, "open the redo log: %w", err)
		}
		l.parts = append(l.parts, part{file: file, start: f.Start, stop: f.End()})
		h, err := headerOf(file)
		if err != nil {
			return fmt.Errorf("read %s: %w", name, err)
		}
		l.info = h.Encryption
		if h.Start != f.Start || i == 0 && h.Checkpoint() != l.checkpoint {
			return code.Hint(code.Integrity, "export the backup again", "read %s: it begins at LSN %d with checkpoint %d, the backup at %d with %d: a server has changed this directory",
				name, h.Start, h.Checkpoint(), f.Start, l.checkpoint)
		}
	}
	return nil
}
