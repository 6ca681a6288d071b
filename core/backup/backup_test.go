package backup_test

import (
	"context"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/remora-backup/remora/core/backup"
	"github.com/remora-backup/remora/core/mysqld/mysqldtest"
	"github.com/remora-backup/remora/core/needs"
	"github.com/remora-backup/remora/core/repo"
	"github.com/remora-backup/remora/core/restore"
	"github.com/remora-backup/remora/core/run"
	"github.com/remora-backup/remora/core/run/runtest"
	"github.com/remora-backup/remora/core/server"
	"github.com/remora-backup/remora/core/syncpoint"
	"github.com/remora-backup/remora/examples/workload"
	"github.com/remora-backup/remora/plugins/fs"
	"github.com/remora-backup/remora/plugins/mysqllock"
	"github.com/remora-backup/remora/plugins/sdk"
)

// lab is a source server and a place for backups.
type lab struct {
	t       *testing.T
	source  *mysqldtest.Server
	storage *fs.Storage
	holds   *holds
	gusts   syncpoint.Controller // in place of holds, if not nil
}

func newLab(t *testing.T, opts ...mysqldtest.Option) *lab {
	t.Helper()
	l := &lab{t: t, source: mysqldtest.Start(t, append(opts, mysqldtest.TCP())...)}
	l.holds = &holds{at: map[syncpoint.Point][]*hold{}, seen: map[syncpoint.Point]int{}}
	var err error
	if l.storage, err = fs.Open(fs.Config{Path: t.TempDir()}); err != nil {
		t.Fatal(err)
	}
	return l
}

// backup takes a backup and returns its result and events.
func (l *lab) backup(change ...func(*backup.Config)) (backup.Result, []run.Event, error) {
	l.t.Helper()
	ctx := l.t.Context()
	s, err := server.Connect(ctx, server.Config{Socket: l.source.Socket, User: "root"})
	if err != nil {
		l.t.Fatal(err)
	}
	defer s.Close()
	lock, err := mysqllock.Open(mysqllock.Config{Lease: "1m"}, sdk.Server{Socket: l.source.Socket, User: "root"})
	if err != nil {
		l.t.Fatal(err)
	}
	defer lock.Drain(ctx)
	cfg := backup.Config{Server: s, Storage: l.storage, Lock: lock, Compression: repo.Zstd, Version: "test"}
	for _, c := range change {
		c(&cfg)
	}
	plan, err := backup.New(ctx, cfg)
	if err != nil {
		l.t.Fatal(err)
	}
	points := syncpoint.Controller(l.holds)
	if l.gusts != nil {
		points = l.gusts
	}
	seen := new(runtest.Tape)
	err = run.Do(syncpoint.With(ctx, points), plan, run.Options{Gate: l.notLocked, Readers: []run.Reader{seen}})
	res, _ := seen.Last().Result.(backup.Result)
	return res, seen.Events(), err
}

// notLocked is the gate of every backup of the lab: nobody is asked anything while the server
// is locked.
func (l *lab) notLocked(ctx context.Context, e run.Event) error {
	var held int
	err := l.source.DB().QueryRowContext(ctx, "SELECT COUNT(*) FROM performance_schema.metadata_locks WHERE OBJECT_TYPE = 'BACKUP LOCK' AND LOCK_TYPE = 'SHARED'").Scan(&held)
	if err == nil && held > 0 {
		l.t.Errorf("the gate of %s was asked while the server was locked", e.Phase)
	}
	return nil
}

// phases are those that the events tell of, in order.
func phases(events []run.Event) (names []string) {
	for _, e := range events {
		if e.Kind == run.KindPhase {
			names = append(names, e.Phase)
		}
	}
	return names
}

// restore restores the newest backup and starts a server on it.
func (l *lab) restore(opts ...mysqldtest.Option) *mysqldtest.Server {
	l.t.Helper()
	ctx := l.t.Context()
	r, err := repo.Open(ctx, l.storage)
	if err != nil {
		l.t.Fatal(err)
	}
	target := filepath.Join(l.t.TempDir(), "data")
	plan, err := restore.New(restore.Config{ID: "test", Repo: r, BackupID: repo.Latest, Target: target, Mysqld: mysqldtest.Binary(l.t), IgnoreLeftovers: true})
	if err != nil {
		l.t.Fatal(err)
	}
	if err := run.Do(ctx, plan, run.Options{}); err != nil {
		l.t.Fatalf("restore: %v", err)
	}
	return mysqldtest.StartDir(l.t, target, append(opts, mysqldtest.TCP())...)
}

// same replays the source's binlog from the reported position on the restored server and
// compares every table.
func (l *lab) same(restored *mysqldtest.Server, res backup.Result) {
	l.t.Helper()
	mysqldtest.CatchUp(l.t, l.source, restored, res.BinlogFile, res.BinlogPosition)
	l.equal(restored, l.source)
	l.whole(restored)
}

// equal compares every table and definition of a restored server with those of another.
func (l *lab) equal(restored, with *mysqldtest.Server) {
	l.t.Helper()
	want, err := mysqldtest.Checksums(with.DB())
	if err != nil {
		l.t.Fatal(err)
	}
	got, err := mysqldtest.Checksums(restored.DB())
	if err != nil {
		l.t.Fatal(err)
	}
	if !maps.Equal(got, want) {
		for _, name := range slices.Sorted(maps.Keys(want)) {
			if got[name] != want[name] {
				l.t.Errorf("table %s: checksum %s, source has %s", name, got[name], want[name])
			}
		}
		l.t.Errorf("%d tables restored, source has %d", len(got), len(want))
	}
	has, should := definitions(l, restored), definitions(l, with)
	for name, want := range should {
		if got, ok := has[name]; !ok || got != want {
			l.t.Errorf("%s: %q, source has %q", name, got, want)
		}
	}
	for name := range has {
		if _, ok := should[name]; !ok {
			l.t.Errorf("%s is not at the source", name)
		}
	}
}

// busy loads the workload and keeps it running until the returned function is called.
func (l *lab) busy(o workload.Options, writers int) (stop func()) {
	l.t.Helper()
	if err := workload.Load(l.t.Context(), l.source.DB(), o); err != nil {
		l.t.Fatalf("load: %v", err)
	}
	ctx, cancel := context.WithCancel(l.t.Context())
	done := make(chan error, 1)
	var w workload.Written
	go func() { done <- workload.Write(ctx, l.source.DB(), writers, o, &w) }()
	return sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			l.t.Errorf("writers: %v", err)
		}
		if w.Transactions.Load() == 0 {
			l.t.Errorf("no transaction was written: the backup was not taken under load")
		}
	})
}

func TestBackupUnderLoadIsExact(t *testing.T) {
	needs.Server(t)
	l := newLab(t)
	stop := l.busy(workload.Options{Tables: 2, Rows: 40000, Seed: 7}, 4)
	defer stop()
	res, events, err := l.backup()
	if err != nil {
		t.Fatalf("backup: %v", err)
	}
	stop()
	for _, e := range events {
		if e.Kind != run.KindProgress {
			t.Log(e.Kind, e.Phase, e.Message)
		}
	}
	t.Logf("%+v", res)
	restored := l.restore()
	if got := strings.ReplaceAll(restored.QueryString("SELECT @@gtid_executed"), "\n", ""); got != res.GTIDExecuted {
		t.Errorf("the restored server has executed %s, the backup says %s", got, res.GTIDExecuted)
	}
	l.same(restored, res)
}
