package backup

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"

	"github.com/remora-backup/remora/core/code"
	"github.com/remora-backup/remora/core/datadir"
	"github.com/remora-backup/remora/core/innodb/redo"
	"github.com/remora-backup/remora/core/keyring"
	"github.com/remora-backup/remora/core/plug"
	"github.com/remora-backup/remora/core/redolog"
	"github.com/remora-backup/remora/core/repo"
	"github.com/remora-backup/remora/core/run"
	"github.com/remora-backup/remora/core/sdi"
	"github.com/remora-backup/remora/core/server"
	"github.com/remora-backup/remora/core/syncpoint"
)

// preflight finds out whether the backup can work, before anything is touched.
type preflight struct {
	server      *server.Server
	storage     plug.Storage
	repo        *repo.Repo
	id          string
	compression repo.Compression
	workers     int
	keyring     string   // data file; "" looks for the server's own configuration
	exclude     []string // engines
	fresh       freshness
	leftover    *leftover
}

func (p preflight) do(ctx context.Context, t *run.Task) (*site, error) {
	if err := syncpoint.At(ctx, syncpoint.BackupStart); err != nil {
		return nil, err
	}
	facts, err := p.server.Preflight(ctx)
	if err != nil {
		return nil, err
	}
	if err := syncpoint.At(ctx, syncpoint.BackupFacts); err != nil {
		return nil, err
	}
	s := &site{server: p.server, facts: facts, keyring: p.keyring, log: p.redoLog(facts)}
	if s.databases, err = p.server.Databases(ctx); err != nil {
		return nil, err
	}
	t.Databases(s.databases)
	if s.dir, err = datadir.New(facts); err != nil {
		return nil, err
	}
	if err := p.check(ctx, s); err != nil {
		return nil, err
	}
	if err := p.checkEngines(ctx, t, s); err != nil {
		return nil, err
	}
	if err := p.fresh.check(ctx, t, p.server); err != nil {
		return nil, err
	}
	if err := syncpoint.At(ctx, syncpoint.BackupChecked); err != nil {
		return nil, err
	}
	if err := p.open(ctx, t, s); err != nil {
		return nil, err
	}
	return s, syncpoint.At(ctx, syncpoint.BackupPreflighted)
}

func (p preflight) redoLog(f server.Facts) redolog.Log {
	sums := redo.AllowNone
	if f.LogChecksums {
		sums = redo.RequireCRC
	}
	return redolog.Log{
		Dir: f.RedoDir(), PageSize: f.PageSize, Checksums: sums, Encrypted: f.RedoEncrypt,
		Key: func(e redo.Encryption) (*redo.Key, error) { return keyring.RedoKey(p.keyring, f.DataDir, e) },
	}
}

// check makes sure that the server's files are there and can be read, and that the backup
// fits.
func (p preflight) check(ctx context.Context, s *site) (err error) {
	if err := s.log.Check(); err != nil {
		return datadir.Unreadable(err)
	}
	if err := s.dir.Check(s.facts.UUID); err != nil {
		return err
	}
	if err := checkBinlog(ctx, s); err != nil {
		return err
	}
	if s.altered, err = p.server.Altered(ctx); err != nil {
		return err
	}
	need, err := size(ctx, s)
	if err != nil {
		return err
	}
	return p.checkSpace(ctx, need)
}

// checkBinlog makes sure that the key of an encrypted binary log is there.
func checkBinlog(ctx context.Context, s *site) error {
	if !s.facts.LogBin || !s.facts.BinlogEncrypt {
		return nil
	}
	at, err := s.server.LogStatus(ctx)
	if err != nil {
		return err
	}
	log, err := openBinlog(s.facts.LogBinBasename, at.BinlogFile, at.BinlogPosition)
	if err != nil {
		return err
	}
	defer log.file.Close()
	_, err = log.plain(s)
	return err
}

// ndb is the engine of NDB Cluster, which keeps neither tables nor their descriptions here.
const ndb = "ndbcluster"

// checkEngines makes sure that every engine's data is copied, or left out on purpose.
func (p preflight) checkEngines(ctx context.Context, t *run.Task, s *site) error {
	logs, err := p.server.LogStatus(ctx)
	if err != nil {
		return err
	}
	s.since = redo.LSN(logs.LSN)
	active := logs.OtherEngines
	if slices.ContainsFunc(s.facts.Others.Foreign, isEngine(ndb)) { // of its tables nothing can be seen
		active = append(active, ndb)
	}
	if _, err := os.Lstat(s.dir.Full(".rocksdb")); err == nil && !slices.ContainsFunc(active, isEngine("ROCKSDB")) {
		active = append(active, "ROCKSDB")
	} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return datadir.Unreadable(err)
	}
	s.engines = engines{exclude: p.exclude, active: active, listed: s.facts.Others.Tables}
	rest, err := s.dir.Scan(ctx)
	if err != nil {
		return err
	}
	tables, err := s.dir.Described(rest.Others)
	if err != nil {
		return err
	}
	if err := p.mayLock(ctx, tables); err != nil {
		return err
	}
	unheld, err := s.engines.unheld(tables)
	for _, e := range unheld {
		t.Warn("%s", e.Unheld())
	}
	return err
}

// mayLock makes sure that the tables of users that have no log may be locked.
func (p preflight) mayLock(ctx context.Context, described []sdi.Table) error {
	var schemas []string
	for _, t := range users(described) {
		schemas = append(schemas, t.Schema)
	}
	slices.Sort(schemas)
	closed := slices.ContainsFunc(described, func(d sdi.Table) bool {
		return (isEngine("CSV")(d.Engine) || isEngine("ARCHIVE")(d.Engine)) && !server.Table(d).ServersOwn()
	})
	return p.server.MayLock(ctx, slices.Compact(schemas), closed)
}

// size is about how many bytes are to be copied. What does not lie where the server says is
// not counted: what that means is found out when it is copied.
func size(ctx context.Context, s *site) (n int64, err error) {
	listed, err := s.server.TablespacePaths(ctx)
	if err != nil {
		return 0, err
	}
	for _, place := range s.dir.Places(listed) {
		f, err := s.dir.Find(place)
		if err != nil && !errors.Is(err, datadir.ErrAway) && code.Of(err) != code.CorruptPage {
			return 0, err
		}
		n += f.Size
	}
	return n, nil
}

// checkSpace makes sure that the storage has room for the backup, if it can tell. Without
// knowing how well the data compresses only the certain case is refused.
func (p preflight) checkSpace(ctx context.Context, need int64) error {
	storage, ok := p.storage.(plug.FreeSpace)
	if !ok {
		return nil
	}
	free, err := storage.Free(ctx)
	if err != nil {
		return code.Default(code.Storage, fmt.Errorf("ask the storage for free space: %w", err))
	}
	if p.compression != repo.None {
		need /= 20 // no data compresses better than that as a whole
	}
	if free >= 0 && free < need {
		return code.New(code.NoSpace, "the storage has %d MiB free, the backup needs at least %d MiB", free>>20, need>>20)
	}
	return nil
}

// open opens the backup in the storage.
func (p preflight) open(ctx context.Context, t *run.Task, s *site) (err error) {
	p.leftover.begin()
	if s.store, err = p.repo.NewBackup(ctx, p.id, repo.Options{Compression: p.compression}); err != nil {
		return err
	}
	t.Cleanup(func(ctx context.Context, t *run.Task, failed error) error {
		return p.leftover.abort(ctx, t, s.store, failed)
	})
	for range p.workers {
		packer, err := s.store.Packer()
		if err != nil {
			return err
		}
		s.packers = append(s.packers, packer)
	}
	return nil
}
