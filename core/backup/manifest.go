package backup

import (
	"context"
	"encoding/hex"
	"path/filepath"
	"slices"
	"time"

	"github.com/remora-backup/remora/core/repo"
	"github.com/remora-backup/remora/core/run"
	"github.com/remora-backup/remora/core/syncpoint"
)

// Result is what the end event of a complete backup carries.
type Result struct {
	LockMS         float64 `json:"lock_ms"`      // the server was locked this long
	LockWaitMS     float64 `json:"lock_wait_ms"` // the server took this long to grant the lock
	TablesLockMS   float64 `json:"tables_lock_ms,omitempty"`
	DDLStallMSMax  float64 `json:"ddl_stall_ms_max"`
	Bytes          int64   `json:"bytes"` // plain bytes in the backup
	StoredBytes    int64   `json:"stored_bytes"`
	BinlogFile     string  `json:"binlog_file"`
	BinlogPosition uint64  `json:"binlog_position"`
	GTIDExecuted   string  `json:"gtid_executed"`
	LSN            uint64  `json:"lsn"`

	VPTime   time.Time `json:"vp_time"`            // validity point: the moment whose data it holds
	DataTime time.Time `json:"data_time,omitzero"` // how new the data are: on a replica older than that
}

// storeManifest makes the backup one: the manifest is put last.
type storeManifest struct {
	*site
	locked  *locked
	point   *point
	logs    *logs
	began   time.Time
	version string // of remora
	took    []run.Took
}

func (s storeManifest) do(ctx context.Context, t *run.Task) (Result, error) {
	if err := s.same(ctx); err != nil {
		return Result{}, err
	}
	if err := syncpoint.At(ctx, syncpoint.StoreServer); err != nil {
		return Result{}, err
	}
	for _, f := range s.files() {
		if err := s.store.Keep(f); err != nil {
			return Result{}, err
		}
	}
	m := s.manifest()
	if err := syncpoint.At(ctx, syncpoint.StoreDescribed); err != nil {
		return Result{}, err
	}
	for _, n := range m.Notes {
		t.Note("%s", n)
	}
	m, err := s.store.Seal(ctx, m)
	if err != nil {
		return Result{}, err
	}
	t.Commit()
	return Result{
		LockMS: m.Lock.Held, LockWaitMS: m.Lock.Waited, TablesLockMS: m.Lock.Tables, DDLStallMSMax: m.Lock.Stall, Bytes: m.Totals.Plain, StoredBytes: m.Totals.Stored,
		BinlogFile: m.Binlog.File, BinlogPosition: m.Binlog.Position, GTIDExecuted: m.GTIDExecuted, LSN: m.LSN.End,
		VPTime: m.VPTime, DataTime: m.DataTime,
	}, nil
}

// files says which copies are the backup, and their names.
func (s storeManifest) files() []repo.File {
	files := append(s.logs.files, s.locked.copies.plain.Files()...)
	for _, f := range s.locked.last.spaces {
		c := s.locked.copies.redo.ledger.good(f)
		files = append(files, repo.File{
			ID: c.ID, Kind: repo.KindTablespace, Path: f.Name(), Size: c.Size, SpaceID: f.Space,
			PageSize: uint32(c.Pages.Physical), Flags: uint32(f.Flags), Sparse: c.Thin, Attrs: story(c, f),
		})
	}
	for _, dir := range s.locked.last.Dirs {
		files = append(files, repo.File{ID: s.store.NewFile(), Kind: repo.KindDir, Path: dir})
	}
	return files
}

// manifest is the backup's, but for what Seal adds.
func (s storeManifest) manifest() repo.Manifest {
	at, checkpoint := s.point.at, s.locked.copies.redo.log.Checkpoint()
	m := repo.Manifest{
		Remora: s.version, Started: s.began, Finished: time.Now(), VPTime: s.point.time, Databases: s.databases,
		DataTime:     dataTime(s.point.time, s.point.channels),
		Channels:     describeChannels(at.Channels, s.point.channels),
		GTIDPurged:   s.locked.purged,
		Keys:         s.keys(),
		Engines:      s.locked.last.unheld,
		Lock:         s.locked.holding.times,
		Server:       s.describe(),
		LSN:          repo.LSN{Checkpoint: uint64(checkpoint), Start: uint64(checkpoint.BlockStart()), End: at.LSN},
		Binlog:       repo.Binlog{File: at.BinlogFile, Position: at.BinlogPosition},
		GTIDExecuted: s.logs.executed.String(),
		Notes:        stories(s.locked),
	}
	for _, p := range s.took {
		m.Phases = append(m.Phases, repo.Phase{Name: p.Name, Started: p.Began, Seconds: p.Time.Seconds()})
	}
	return m
}

// describe says what a restore must know of the server.
func (s storeManifest) describe() repo.Server {
	f := s.facts
	d := repo.Server{
		UUID: f.UUID, Version: f.Version.String(), VersionComment: f.VersionComment, PageSize: f.PageSize,
		TempDataFilePath: f.TempDataFilePath, UndoDirectory: f.UndoDirectory,
		LowerCaseTableNames: f.LowerCaseTableNames, ChecksumAlgorithm: f.ChecksumAlgorithm, LogChecksums: f.LogChecksums,
	}
	d.DataHomeDir, d.DataFilePath = s.dir.SystemFiles()
	if filepath.Dir(f.RedoDir()) != f.DataDir {
		d.Variables = map[string]string{repo.RedoHome: filepath.Dir(f.RedoDir())}
	}
	d.Paths = s.paths()
	return d
}

// keys says what a server must have in its keyring to open the backup. The binary log is kept in
// plain.
func (s storeManifest) keys() repo.Keys {
	k := repo.Keys{Keyring: s.facts.Keyring, IDs: s.facts.Keys, Known: s.facts.KeysSeen}
	seal := func(id string, key []byte) {
		if k.Sealed == nil { // one that is empty is not written, and would not be read back
			k.Sealed = map[string]string{}
		}
		k.Sealed[id] = hex.EncodeToString(key)
	}
	e, encrypted := s.locked.copies.redo.log.Encryption()
	if encrypted {
		seal(e.KeyName(), e.Bytes())
	}
	k.Needed = encrypted
	for _, f := range s.locked.last.spaces {
		k.Needed = k.Needed || f.Flags.Encrypted()
	}
	for id, key := range s.locked.copies.redo.ledger.keys(s.locked.last.spaces) {
		seal(id, key)
	}
	return k
}

// paths says where the server keeps its files.
func (s storeManifest) paths() repo.Paths {
	f := s.facts
	p := repo.Paths{
		Data: f.DataDir, Binlog: f.LogBinBasename, BinlogIndex: f.LogBinIndex, RelayLog: f.RelayLogBasename, RelayIndex: f.RelayLogIndex,
		Redo: filepath.Dir(f.RedoDir()), Undo: f.UndoDir(),
	}
	for _, file := range s.locked.last.spaces {
		if filepath.IsAbs(file.Path) {
			p.External = append(p.External, filepath.Dir(file.Path))
		}
	}
	slices.Sort(p.External)
	p.External = slices.Compact(p.External)
	return p
}
