package restore_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/remora-backup/remora/core/innodb/redo"
	"github.com/remora-backup/remora/core/mysqld"
	"github.com/remora-backup/remora/core/mysqld/lab"
	"github.com/remora-backup/remora/core/mysqld/mysqldtest"
	"github.com/remora-backup/remora/core/plug"
	"github.com/remora-backup/remora/core/plug/plugtest"
	"github.com/remora-backup/remora/core/repo"
	"github.com/remora-backup/remora/core/restore"
	"github.com/remora-backup/remora/core/run"
	"github.com/remora-backup/remora/core/run/runtest"
	"github.com/remora-backup/remora/core/syncpoint"
)

// fixture is a backup made without core/backup: the files of a server that was killed,
// its redo from the checkpoint to the end, and its last binary log.
type fixture struct {
	objects  plugtest.Memory
	manifest repo.Manifest
	sums     map[string]string // CHECKSUM TABLE before the kill
	gtids    string
}

var killed = sync.OnceValues(func() (*fixture, error) { return newFixture(context.Background(), nil, "") })

// sharedFixture is made once; its objects must not be changed.
func sharedFixture(t *testing.T) *fixture {
	t.Helper()
	f, err := killed()
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// newFixture kills another server if one was killed at a moment of no use.
func newFixture(ctx context.Context, initArgs []string, compression repo.Compression, args ...string) (f *fixture, err error) {
	for range 5 {
		if f, err = killServer(ctx, initArgs, compression, args...); !errors.Is(err, errFullBlock) {
			break
		}
	}
	return f, err
}

func killServer(ctx context.Context, initArgs []string, compression repo.Compression, args ...string) (*fixture, error) {
	bin, err := lab.MySQL(ctx)
	if err != nil {
		return nil, err
	}
	s, err := lab.Start(ctx, lab.Options{Bin: bin, InitArgs: initArgs, Args: args})
	if err != nil {
		return nil, err
	}
	defer s.Remove()
	f := &fixture{}
	holes := " COMPRESSION='zlib'"
	if len(initArgs) > 0 {
		holes = "" // not with small pages
	}
	if err := f.load(ctx, s, holes); err != nil {
		return nil, err
	}
	if f.manifest.Server, err = facts(ctx, s); err != nil {
		return nil, err
	}
	if f.sums, err = lab.Checksums(ctx, s.DB()); err != nil {
		return nil, err
	}
	for query, v := range map[string]any{
		"SELECT @@gtid_executed": &f.gtids, "SELECT COALESCE(@@log_bin_basename, '')": &f.manifest.Binlog.File,
	} {
		if err := s.DB().QueryRowContext(ctx, query).Scan(v); err != nil {
			return nil, err
		}
	}
	f.gtids = strings.ReplaceAll(f.gtids, "\n", "")
	s.Kill()
	return f, f.store(ctx, s.Dir, compression)
}

// load leaves committed rows, an open transaction and a prepared one.
func (f *fixture) load(ctx context.Context, s *lab.Server, holes string) error {
	err := s.Exec(ctx, "CREATE DATABASE d", "CREATE DATABASE `a b`", "CREATE DATABASE `empty`",
		"CREATE TABLE d.t (id INT PRIMARY KEY AUTO_INCREMENT, v VARCHAR(3000))",
		"CREATE TABLE `a b`.`o/d``d` (id INT PRIMARY KEY, v TEXT) ROW_FORMAT=DYNAMIC",
		"CREATE TABLE d.holes (id INT PRIMARY KEY AUTO_INCREMENT, v TEXT)"+holes,
		"INSERT INTO `a b`.`o/d``d` VALUES (1, 'x'), (2, REPEAT('y', 60000))",
		"FLUSH BINARY LOGS", "INSERT INTO d.t (v) VALUES ('0')")
	if err != nil {
		return err
	}
	for range 11 {
		if err := s.Exec(ctx, "INSERT INTO d.t (v) SELECT HEX(RANDOM_BYTES(1000)) FROM d.t", "DELETE FROM d.t WHERE id % 17 = 3"); err != nil {
			return err
		}
	}
	if err := s.Exec(ctx, "INSERT INTO d.holes (v) SELECT REPEAT('z', 9000) FROM d.t LIMIT 300",
		"XA START 'x'", "INSERT INTO d.t (v) VALUES ('prepared')", "XA END 'x'", "XA PREPARE 'x'"); err != nil {
		return err
	}
	tx, err := s.DB().BeginTx(ctx, nil) // ended by the kill
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, "UPDATE d.t SET v = 'uncommitted' LIMIT 500")
	return err
}

func facts(ctx context.Context, s *lab.Server) (f repo.Server, err error) {
	f.LogChecksums = true
	err = s.DB().QueryRowContext(ctx, `SELECT @@server_uuid, @@version, @@version_comment, @@innodb_page_size,
		@@innodb_data_file_path, @@innodb_undo_directory, @@lower_case_table_names`).Scan(
		&f.UUID, &f.Version, &f.VersionComment, &f.PageSize, &f.DataFilePath, &f.UndoDirectory, &f.LowerCaseTableNames)
	return f, err
}

// store puts the killed server's files into a repository.
func (f *fixture) store(ctx context.Context, dir string, compression repo.Compression) error {
	r, err := repo.Open(ctx, &f.objects)
	if err != nil {
		return err
	}
	b, err := r.NewBackup(ctx, "20261120T221500Z-7f3a", repo.Options{PackSize: 1 << 20, Compression: compression})
	if err != nil {
		return err
	}
	p, err := b.Packer()
	if err != nil {
		return err
	}
	st := &store{ctx: ctx, b: b, p: p}
	if err := st.walk(dir); err != nil {
		return err
	}
	if err := f.storeRedo(st, dir); err != nil {
		return err
	}
	if base := f.manifest.Binlog.File; base != "" {
		if err := f.storeBinlog(st, dir); err != nil {
			return err
		}
	}
	f.manifest.Databases = []string{"a b", "d", "empty"}
	f.manifest.GTIDExecuted = f.gtids
	f.manifest.Lock.Held = 12.5
	f.manifest, err = b.Seal(ctx, f.manifest)
	return err
}

func (f *fixture) storeRedo(st *store, dir string) error {
	blocks, checkpoint, end, err := readRedo(filepath.Join(dir, redo.Dir))
	if err != nil {
		return err
	}
	f.manifest.LSN = repo.LSN{Checkpoint: uint64(checkpoint), Start: uint64(checkpoint.BlockStart()), End: uint64(end)}
	return st.put(repo.File{Kind: repo.KindRedo, Path: "#innodb_redo/captured"}, bytes.NewReader(blocks))
}

func (f *fixture) storeBinlog(st *store, dir string) error {
	logs, err := filepath.Glob(filepath.Join(dir, filepath.Base(f.manifest.Binlog.File)+".0*"))
	if err != nil || len(logs) == 0 {
		return fmt.Errorf("find binary logs: %v", err)
	}
	last := slices.Max(logs)
	b, err := os.ReadFile(last)
	if err != nil {
		return err
	}
	f.manifest.Binlog = repo.Binlog{File: filepath.Base(last), Position: uint64(len(b))}
	return st.put(repo.File{Kind: repo.KindBinlog, Path: filepath.Base(last)}, bytes.NewReader(b))
}

// errFullBlock: the server was killed when it had just filled a block, so where its log ends
// cannot be told from outside.
var errFullBlock = errors.New("redo ends with a full block")

// readRedo returns all blocks from that of the newest checkpoint on.
func readRedo(dir string) (blocks []byte, checkpoint, end redo.LSN, err error) {
	names, err := filepath.Glob(filepath.Join(dir, "#ib_redo*"))
	if err != nil {
		return nil, 0, 0, err
	}
	files := map[redo.LSN][]byte{}
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			return nil, 0, 0, err
		}
		if _, spare, ok := redo.ParseName(filepath.Base(name)); !ok || spare {
			continue
		}
		h, err := redo.ParseFileHeader(b)
		if err != nil {
			return nil, 0, 0, err
		}
		files[h.Start] = b[redo.HeaderSize:]
		checkpoint = max(checkpoint, h.Checkpoint())
	}
	for at := checkpoint.BlockStart(); ; at += redo.BlockSize {
		for start, b := range files {
			if at < start || at >= start+redo.LSN(len(b)) {
				continue
			}
			raw := b[at-start:][:redo.BlockSize]
			block, state := redo.ParseBlock(raw, at, redo.AllowNone)
			if state == redo.NotYetWritten && end != 0 {
				return nil, 0, 0, errFullBlock
			}
			if state != redo.Good {
				return nil, 0, 0, fmt.Errorf("redo block at %d is %v", at, state)
			}
			blocks = append(blocks, raw...)
			if end = block.End(); !block.Full() {
				return blocks, checkpoint, end, nil
			}
		}
		if at > end {
			return nil, 0, 0, errFullBlock
		}
	}
}

// store puts files into a backup.
type store struct {
	ctx context.Context
	b   *repo.Backup
	p   *repo.Packer
}

func (s *store) walk(dir string) error {
	return filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		rel, _ := filepath.Rel(dir, name)
		switch {
		case err != nil || rel == ".":
			return err
		case rel == redo.Dir || rel == "#innodb_temp":
			return fs.SkipDir
		case d.IsDir():
			return s.b.Keep(repo.File{ID: s.b.NewFile(), Kind: repo.KindDir, Path: rel})
		case strings.HasPrefix(rel, "binlog.") || rel == "ibtmp1" || strings.HasSuffix(rel, ".pem") || strings.HasSuffix(rel, ".lock"):
			return nil
		}
		f, err := os.Open(name)
		if err != nil {
			return err
		}
		defer f.Close()
		kind := repo.KindOther
		if strings.HasSuffix(rel, ".ibd") || strings.HasPrefix(d.Name(), "undo_") || rel == "ibdata1" {
			kind = repo.KindTablespace
		}
		// auto.cnf and doublewrite files are stored on purpose: a restore leaves them out.
		return s.put(repo.File{Kind: kind, Path: rel, Sparse: rel == "d/holes.ibd"}, f)
	})
}

func (s *store) put(f repo.File, r io.Reader) error {
	f.ID = s.b.NewFile()
	buf := make([]byte, 1<<20)
	for {
		n, err := io.ReadFull(r, buf)
		if n > 0 {
			if f.Size == 0 && f.Kind == repo.KindTablespace {
				f.SpaceID = binary.BigEndian.Uint32(buf[34:])
			}
			if err := s.p.Extent(s.ctx, repo.Extent{File: f.ID, Offset: f.Size}, buf[:n]); err != nil {
				return err
			}
			f.Size += int64(n)
		}
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return s.b.Keep(f)
		}
		if err != nil {
			return err
		}
	}
}

// counting is a storage that counts the bytes of packs that it gives away.
type counting struct {
	*plugtest.Memory
	packed atomic.Int64
}

func (c *counting) Get(ctx context.Context, name string, offset, length int64) (io.ReadCloser, error) {
	r, err := c.Memory.Get(ctx, name, offset, length)
	if err != nil || !strings.Contains(name, "/pack-") {
		return r, err
	}
	if length < 0 {
		length = int64(len(c.Bytes(name))) - offset
	}
	c.packed.Add(length)
	return r, nil
}

// storage returns the backup's objects, which the test may exchange.
func (f *fixture) storage() *counting { return &counting{Memory: f.objects.Clone()} }

// config is a restore of the fixture.
func config(t *testing.T, storage plug.Storage, target string) restore.Config {
	t.Helper()
	r, err := repo.Open(t.Context(), storage)
	if err != nil {
		t.Fatal(err)
	}
	return restore.Config{ID: "r1", Repo: r, BackupID: repo.Latest, Target: target, Mysqld: mysqldtest.Binary(t), BufferPool: 128 << 20}
}

// do runs a restore.
func do(t *testing.T, ctx context.Context, cfg restore.Config) (*runtest.Tape, error) {
	t.Helper()
	plan, err := restore.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	seen := new(runtest.Tape)
	err = run.Do(ctx, plan, run.Options{Readers: []run.Reader{seen}})
	return seen, err
}

// stopAt cancels a run the first time it comes to a point.
type stopAt struct {
	point  syncpoint.Point
	cancel func(error)
	hit    atomic.Bool
}

func (s *stopAt) At(ctx context.Context, p syncpoint.Point) error {
	if p == s.point && !s.hit.Swap(true) {
		s.cancel(&run.Interrupted{By: "SIGINT", Code: 130})
	}
	return nil
}

// doUntil interrupts a restore at a point.
func doUntil(t *testing.T, cfg restore.Config, p syncpoint.Point) (*runtest.Tape, error) {
	t.Helper()
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	s := &stopAt{point: p, cancel: cancel}
	seen, err := do(t, syncpoint.With(ctx, s), cfg)
	if !s.hit.Load() {
		t.Errorf("point %s was not met", p)
	}
	return seen, err
}

// unstartable fails the test if a server starts on the target as it is. It works on a
// copy: a server that refuses leaves files of its own behind.
func unstartable(t *testing.T, target string) {
	t.Helper()
	copied := filepath.Join(t.TempDir(), "copy")
	if _, err := os.Stat(target); errors.Is(err, fs.ErrNotExist) {
		return
	}
	if err := lab.CopyDir(t.Context(), target, copied); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	initFile := filepath.Join(t.TempDir(), "init.sql")
	if err := os.WriteFile(initFile, []byte("SHUTDOWN;\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var log []string
	p, err := mysqld.Start(ctx, mysqld.Options{
		Bin: mysqldtest.Binary(t), OnLine: func(l string) { log = append(log, l) },
		Args: []string{"--no-defaults", "--datadir=" + copied, "--init-file=" + initFile, "--skip-networking",
			"--socket=" + filepath.Join(copied, "s"), "--skip-log-error"},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Wait(); err == nil || ctx.Err() != nil {
		t.Errorf("a server started on an unfinished restore (%v):\n%s", err, strings.Join(log, "\n"))
	}
}

// check starts a server on the result and compares it with the source.
func (f *fixture) check(t *testing.T, target string, opts ...mysqldtest.Option) {
	t.Helper()
	s := mysqldtest.StartDir(t, target, opts...)
	got, err := mysqldtest.Checksums(s.DB())
	if err != nil {
		t.Fatal(err)
	}
	if !maps.Equal(got, f.sums) {
		t.Errorf("CHECKSUM TABLE: got %v, want %v", got, f.sums)
	}
	if got := strings.ReplaceAll(s.QueryString("SELECT @@gtid_executed"), "\n", ""); got != f.gtids {
		t.Errorf("gtid_executed: got %q, want %q", got, f.gtids)
	}
	if uuid := s.QueryString("SELECT @@server_uuid"); uuid == f.manifest.Server.UUID {
		t.Errorf("server_uuid: got the source's")
	}
	if n := s.QueryString("SELECT COUNT(*) FROM information_schema.schemata WHERE schema_name = 'empty'"); n != "1" {
		t.Errorf("empty schemas: got %s, want 1", n)
	}
	s.Exec("XA COMMIT 'x'", "CREATE TABLE `empty`.t (id INT)", "INSERT INTO d.t (v) VALUES ('new')")
	log, err := os.ReadFile(s.Log)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(log)) {
		if strings.Contains(line, "[ERROR]") || strings.Contains(line, "in the future") || strings.Contains(line, "was not shutdown normally") {
			t.Errorf("the restored server said: %s", line)
		}
	}
	s.Kill()
}
