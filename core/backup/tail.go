package backup

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"github.com/remora-backup/remora/core/binlog"
	"github.com/remora-backup/remora/core/code"
	"github.com/remora-backup/remora/core/innodb/redo"
	"github.com/remora-backup/remora/core/repo"
	"github.com/remora-backup/remora/core/run"
	"github.com/remora-backup/remora/core/syncpoint"
)

// redoPath is what the captured redo is called in a backup: the raw blocks from
// manifest.LSN.Start on, the last one cut at manifest.LSN.End. It is no redo file yet; a
// restore makes one of it.
const redoPath = "#innodb_redo/captured"

// cutLogs stores what was read under the lock, and gets the redo and the binlog up to exactly
// the sync point.
func (e *engine) cutLogs(ctx context.Context, t *run.Task) error {
	if err := e.copier.storeKept(ctx); err != nil {
		return err
	}
	if err := syncpoint.At(ctx, syncpoint.TailRedo); err != nil {
		return err
	}
	if err := e.flushLogs(ctx); err != nil {
		return err
	}
	wait, cancel := context.WithTimeoutCause(ctx, time.Minute, code.New(code.RedoOverrun, "redo up to the sync point LSN %d did not appear within a minute", e.sync.LSN))
	defer cancel()
	if err := e.redo.wait(wait); err != nil {
		return fmt.Errorf("copy redo up to the sync point LSN %d: %w", e.sync.LSN, err)
	}
	if err := syncpoint.At(ctx, syncpoint.TailRedoDone); err != nil {
		return err
	}
	if err := e.redo.close(wait); err != nil {
		return err
	}
	end, first := lsn(e.sync.LSN), e.redo.checkpoint.BlockStart()
	if want := int64(end.BlockStart()-first) + redo.BlockSize; e.redo.size != want {
		return code.New(code.RedoOverrun, "%d bytes of redo were stored, LSN %d to %d are %d", e.redo.size, first, end, want)
	}
	if e.binlog != nil {
		if err := e.binlog.store(ctx, e.backup, e.copier.packers); err != nil {
			return err
		}
	}
	return syncpoint.At(ctx, syncpoint.TailDone)
}

// storeManifest makes the backup one: the manifest is put last.
func (e *engine) storeManifest(ctx context.Context, t *run.Task) error {
	if err := e.sameServer(ctx); err != nil {
		return err
	}
	if err := syncpoint.At(ctx, syncpoint.StoreServer); err != nil {
		return err
	}
	if err := e.keep(); err != nil {
		return err
	}
	if err := e.describe(); err != nil {
		return err
	}
	if err := syncpoint.At(ctx, syncpoint.StoreDescribed); err != nil {
		return err
	}
	for _, n := range e.manifest.Notes {
		t.Note("%s", n)
	}
	m, err := e.backup.Seal(ctx, e.manifest)
	if err != nil {
		return err
	}
	e.manifest = m
	t.Commit()
	return nil
}

// keep says which copies are the backup, and their names.
func (e *engine) keep() error {
	files := []repo.File{{ID: e.redo.file, Kind: repo.KindRedo, Path: redoPath, Size: e.redo.size, Attrs: e.redo.files.attrs()}}
	for _, en := range e.last.spaces {
		c := e.track.good(en)
		files = append(files, repo.File{
			ID: c.id, Kind: repo.KindTablespace, Path: nameOf(en), Size: c.size, SpaceID: en.space,
			PageSize: uint32(c.pages.Physical), Flags: uint32(en.flags), Sparse: c.thin, Attrs: story(c, en),
		})
	}
	for _, dir := range e.last.dirs {
		files = append(files, repo.File{ID: e.backup.NewFile(), Kind: repo.KindDir, Path: dir})
	}
	if e.binlog != nil {
		files = append(files, repo.File{ID: e.binlog.id, Kind: repo.KindBinlog, Path: e.binlog.name, Size: e.binlog.position})
	}
	for _, f := range files {
		if err := e.backup.Keep(f); err != nil {
			return err
		}
	}
	return e.others.keep()
}

// describe fills the manifest.
func (e *engine) describe() error {
	m, f := &e.manifest, e.facts
	m.Remora, m.Started, m.Finished = e.cfg.Version, e.began, time.Now()
	m.Server = repo.Server{
		UUID: f.UUID, Version: f.Version.String(), VersionComment: f.VersionComment, PageSize: f.PageSize,
		TempDataFilePath: f.TempDataFilePath, UndoDirectory: f.UndoDirectory,
		LowerCaseTableNames: f.LowerCaseTableNames, ChecksumAlgorithm: f.ChecksumAlgorithm, LogChecksums: f.LogChecksums,
	}
	m.Server.DataHomeDir, m.Server.DataFilePath = e.systemFiles()
	if filepath.Dir(f.RedoDir()) != f.DataDir {
		m.Server.Variables = map[string]string{repo.RedoHome: filepath.Dir(f.RedoDir())}
	}
	for _, c := range e.sync.Channels {
		m.Channels = append(m.Channels, repo.Channel{
			Name: c.Name, RelayLogFile: c.RelayLogFile, RelayLogPos: c.RelayLogPos, SourceLogFile: c.SourceLogFile,
			SourceLogPos: c.SourceLogPos, SourceHost: c.SourceHost, SourceUUID: c.SourceUUID,
		})
	}
	m.LSN = repo.LSN{Checkpoint: uint64(e.redo.checkpoint), Start: uint64(e.redo.checkpoint.BlockStart()), End: e.sync.LSN}
	m.Binlog = repo.Binlog{File: e.sync.BinlogFile, Position: e.sync.BinlogPosition}
	set, err := binlog.ParseGTIDSet(e.sync.GTIDExecuted)
	if err != nil {
		return fmt.Errorf("read gtid_executed: %w", err)
	}
	if e.binlog != nil {
		set.Union(e.binlog.executed)
	}
	m.GTIDExecuted = set.String()
	m.Phases = slices.Clone(e.phases)
	m.Notes = e.stories()
	return nil
}
