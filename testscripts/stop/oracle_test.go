package stop

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/remora-backup/remora/core/mysqld/lab"
	"github.com/remora-backup/remora/core/mysqld/mysqldtest"
	"github.com/remora-backup/remora/core/repo"
	"github.com/remora-backup/remora/core/run"
	"github.com/remora-backup/remora/core/state"
	"github.com/remora-backup/remora/core/syncpoint"
	storage "github.com/remora-backup/remora/plugins/fs"
)

// check asks, after a run, what must hold whatever was done.
type check struct {
	t        *testing.T
	b        *bench
	o        one
	home     home
	p        *process
	before   []child
	began    time.Time
	answer   answer
	followed bool // by another operation
}

func (c *check) ask(ctx context.Context) {
	if err := gone(c.before, 2*time.Second); err != nil {
		c.t.Errorf("processes: %v", err)
	}
	c.code()
	if c.answer.code != -int(syscall.SIGKILL) {
		c.told()
	}
	c.history()
	if c.o.fault == killHook {
		c.hooksTold()
	}
	if c.o.operation == "backup" {
		c.server(c.t)
		c.unlocked(ctx)
	}
	c.next(ctx)
}

// wanted are the exit codes that the run may have; the first is the expected one.
func (c *check) wanted() []int {
	o := c.o
	done := o.committed() && o.trigger() == ""
	at := func(p syncpoint.Point) int { return place(o.operation, p) }
	switch {
	case o.fault == killHost:
		return []int{-int(syscall.SIGKILL)}
	case done:
		return []int{0}
	case o.trigger() != "":
		return []int{1} // the error that came first
	}
	switch o.fault {
	case sigint, failTidy:
		return []int{130}
	case sigterm:
		return []int{143}
	case cancelled:
		return []int{25}
	case fail:
		if o.point == syncpoint.OperationBegun {
			return []int{0} // there is nothing to fail
		}
		return []int{1, 17, 14}
	case killNotify, killHook:
		return []int{0}
	case killStore:
		switch {
		case o.fetches() && o.at() >= at(syncpoint.FetchDone):
			return []int{0}
		case o.fetches() && o.at() > at(syncpoint.FetchPack):
			return []int{17, 0} // the last pack may have arrived
		}
		return []int{17}
	case killLock:
		if o.at() >= at(syncpoint.LockReleased) {
			return []int{0}
		}
		return []int{14}
	case killConn:
		switch {
		case o.locked():
			return []int{14}
		case o.at() >= at(syncpoint.LockReleased):
			return []int{0, 13}
		}
		return []int{0, 13, 14} // the pool makes new ones where none is essential
	case killMysqld:
		if o.operation == "backup" && o.at() >= at(syncpoint.StoreServer) {
			return []int{0} // all of it was copied and proven
		}
		if o.operation != "backup" {
			return []int{1, 13, 19}
		}
		return []int{13}
	}
	return nil
}

func (c *check) code() {
	c.t.Helper()
	if want := c.wanted(); !slices.Contains(want, c.answer.code) {
		c.t.Errorf("exit code is %d, want one of %v", c.answer.code, want)
	}
}

// told checks messages, their order, and the list of errors.
func (c *check) told() {
	a, end := c.answer, c.answer.end()
	if end == nil {
		c.t.Errorf("the last line is no end")
		return
	}
	if a.events[0].Kind != run.KindStart || !strings.HasPrefix(a.events[0].Message, "Starting "+c.o.command()) {
		c.t.Errorf("the first event is %+v, want the start", a.events[0])
	}
	var errs []string
	interruptions, seq := 0, int64(0)
	for _, e := range a.events {
		if e.Seq <= seq {
			c.t.Errorf("event %d comes after event %d", e.Seq, seq)
		}
		if seq = e.Seq; e.Kind == run.KindError {
			errs = append(errs, e.Error)
			if e.InterruptedBy != "" {
				interruptions++
			}
		}
	}
	if !slices.Equal(errs, end.Errors) || interruptions > 1 {
		c.t.Errorf("errors told are %q, in the end %q, %d interruptions", errs, end.Errors, interruptions)
	}
	if end.Code != a.code {
		c.t.Errorf("the end says code %d, the process %d", end.Code, a.code)
	}
	c.firstError(*end)
	c.lastWords(*end)
}

// firstError holds the first of the errors against the rules of reliability.md 3.2.
func (c *check) firstError(end run.Event) {
	o := c.o
	stopped := o.fault == sigint || o.fault == sigterm || o.fault == cancelled || o.fault == failTidy
	late := o.at() >= place(o.operation, syncpoint.CleanupHooks)
	switch {
	case end.Code == 0:
		if len(end.Errors) > 0 || end.State != run.Complete && end.State != run.CompleteWithWarnings {
			c.t.Errorf("the end is %s with %q", end.State, end.Errors)
		}
	case stopped && o.trigger() == "":
		if end.State != run.Cancelled || !strings.Contains(end.Errors[0], "interrupted") || end.InterruptedBy == "" {
			c.t.Errorf("the end is %s, by %q, errors %q; want cancelled", end.State, end.InterruptedBy, end.Errors)
		}
	default:
		if end.State != run.Failed {
			c.t.Errorf("the end is %s, want error", end.State)
		}
		if o.trigger() != "" && !strings.Contains(end.Errors[0], "injected failure at "+string(o.trigger())) {
			c.t.Errorf("the first error is %q, want the one injected first", end.Errors[0])
		}
		if stopped && !late && (len(end.Errors) < 2 || end.InterruptedBy == "") {
			c.t.Errorf("errors %q, by %q; want the interruption behind the first", end.Errors, end.InterruptedBy)
		}
	}
	if o.fault == failTidy && (len(end.Errors) < 2 || !strings.Contains(strings.Join(end.Errors[1:], "|"), "injected failure")) {
		c.t.Errorf("errors %q, want that of the clean-up behind the interruption", end.Errors)
	}
	if o.fault == fail && end.Code != 0 && !strings.Contains(strings.Join(end.Errors, "|"), "injected failure at "+string(o.point)) {
		c.t.Errorf("errors %q, want the injected one", end.Errors)
	}
}

// lastWords checks what comes before the end, and what it says.
func (c *check) lastWords(end run.Event) {
	o, events := c.o, c.answer.events
	operation := strings.ToUpper(o.command()[:1]) + o.command()[1:]
	if end.Code == 0 {
		if end.Message != operation+" completed" {
			c.t.Errorf("the last words are %q", end.Message)
		}
		return
	}
	if o.at() <= place(o.operation, syncpoint.OperationLocked) && end.State == run.Cancelled {
		if end.Message != "" { // A16: nobody has heard of it
			c.t.Errorf("the last words are %q, want none", end.Message)
		}
		return
	}
	if !strings.HasPrefix(end.Message, "Operation aborted") {
		c.t.Errorf("the last words are %q", end.Message)
	}
	destructive := o.destructive()
	if got := strings.HasPrefix(end.Message, "Operation aborted - data might be corrupted"); got != destructive || end.Destructive != destructive {
		c.t.Errorf("the last words are %q, destructive is %v, want %v", end.Message, end.Destructive, destructive)
	}
	if o.at() <= place(o.operation, syncpoint.OperationLocked) {
		return
	}
	i := len(events) - 2
	if i >= 0 && events[i].Kind == run.KindPhase { // failed or cancelled
		i--
	}
	if i < 0 || events[i].Kind != run.KindNote || !strings.Contains(events[i].Message, "left") && !strings.Contains(events[i].Message, "Nothing") && !strings.Contains(events[i].Message, "Part of") {
		c.t.Errorf("before the end comes %+v, want what is left", events[i])
		return
	}
	c.advised(events[i].Message, end)
}

// remembered opens the history, as remora history and show do.
func (c *check) remembered(f func(*state.Store) error) {
	c.t.Helper()
	s, err := state.Open(context.Background(), c.home.state())
	if err == nil {
		err = errors.Join(f(s), s.Close())
	}
	if err != nil {
		c.t.Error(err)
	}
}

// operations asks the history; the newest is the first.
func (c *check) operations() (all []state.Operation) {
	c.remembered(func(s *state.Store) (err error) {
		all, err = s.History(context.Background())
		return err
	})
	return all
}

// history checks the operation's row and its progress.
func (c *check) history() {
	all := c.operations()
	o, end := c.o, c.answer.end()
	recorded := o.at() >= place(o.operation, syncpoint.OperationRecorded)
	switch o.fault {
	case killHost:
		recorded = o.at() >= place(o.operation, syncpoint.OperationBegun)
	case killStore, killLock, killNotify, killHook, killConn, killMysqld: // it goes on from the point
		recorded = true
	}
	if !recorded {
		if len(all) != 0 {
			c.t.Errorf("the history has %+v, want nothing", all)
		}
		return
	}
	if len(all) != 1 {
		c.t.Errorf("the history has %d operations, want 1", len(all))
		return
	}
	row := all[0]
	if end == nil {
		if row.State != state.Running && row.State != state.Starting {
			c.t.Errorf("the row of a killed operation is %s", row.State)
		}
		return
	}
	if row.State != end.State || row.Code != end.Code || !slices.Equal(row.Errors, end.Errors) || row.InterruptedBy != end.InterruptedBy ||
		row.Destructive != end.Destructive && end.Code != 0 || row.Ended.IsZero() {
		c.t.Errorf("the row is %+v, the end %+v", row, *end)
	}
	var progress []state.Progress
	c.remembered(func(s *state.Store) (err error) {
		_, progress, err = s.Show(context.Background(), row.ID)
		return err
	})
	if n := len(progress); n == 0 || progress[n-1].Event != run.KindEnd || progress[n-1].State != end.State {
		c.t.Errorf("the progress has %d rows, the last is not the end as %s", n, end.State)
	}
}

func (c *check) server(t *testing.T) { c.b.server(t) }

// unlocked makes sure that nothing locks the server and that DDL and writes work at once.
func (c *check) unlocked(ctx context.Context) {
	if n := c.locks(ctx); n > 0 {
		c.t.Errorf("%d locks are left on the server", n)
	}
	err := c.b.source.Exec(ctx, "SET SESSION lock_wait_timeout = 5", "CREATE TABLE probe.p (a INT) ENGINE=InnoDB", "INSERT INTO probe.p VALUES (1)", "DROP TABLE probe.p")
	if err != nil {
		c.t.Errorf("DDL after the run: %v", err)
	}
}

// listed returns the ids of the backups that there are, as remora list does; each must be
// whole.
func (c *check) listed() (ids []string) {
	ctx := context.Background()
	if !exists(c.home.path("repo")) {
		return nil
	}
	storage, err := storage.Open(storage.Config{Path: c.home.path("repo")})
	if err != nil {
		c.t.Error(err)
		return nil
	}
	r, err := repo.Open(ctx, storage)
	if err != nil {
		c.t.Error(err)
		return nil
	}
	list, err := r.List(ctx)
	if err != nil {
		c.t.Error(err)
	}
	for _, b := range list {
		ids = append(ids, b.ID)
		reader, err := r.OpenBackup(ctx, b.ID)
		if err == nil {
			err = errors.Join(b.Err, reader.Check(ctx))
		}
		if err != nil {
			c.t.Errorf("backup %s is listed and not whole: %v", b.ID, err)
		}
	}
	return ids
}

// next runs the same operation again, undisturbed: it must find and clear up what is left.
func (c *check) next(ctx context.Context) {
	switch {
	case c.o.fetches():
		c.nextFetch(ctx)
		return
	case c.o.prepares():
		c.nextPrepare(ctx)
		return
	}
	before := c.listed()
	whole := c.answer.code == 0 || c.o.fault == killHost && c.o.trigger() == "" && c.o.at() >= place("backup", syncpoint.StoreManifestPut)
	// With the storage's plugin gone the manifest that was put cannot be taken back.
	if stuck := c.o.fault == killStore && c.o.point == syncpoint.StoreManifestPut; (len(before) == 1) != whole && !stuck {
		c.t.Errorf("%d backups are listed, want one: %v", len(before), whole)
	}
	if end := c.answer.end(); end != nil && !whole && len(end.Leftovers) == 0 {
		c.stored(nil)
	}
	c.again(ctx, "backup")
	now := c.listed()
	if want := 1 + count(whole); len(now) != want {
		c.t.Errorf("%d backups are listed after the next, want %d", len(now), want)
	}
	c.stored(now)
	if *every > 0 && c.o.number%*every == 0 {
		c.exact(ctx)
	}
}

// again runs the operation to its end.
func (c *check) again(ctx context.Context, args ...string) { c.answers(ctx, 0, args...) }

// answers runs the operation again and wants an exit code of it.
func (c *check) answers(ctx context.Context, code int, args ...string) answer {
	a, err := begin(c.home, args...).wait(ctx)
	if err != nil || a.code != code {
		c.t.Errorf("the next %s: %v, exit code %d, want %d\n%s", args[0], err, a.code, code, a)
	}
	c.crashed(a)
	return a
}

// crashed checks what the first operation after one that was killed says and records of it.
func (c *check) crashed(a answer) {
	all := c.operations()
	if c.followed {
		return
	}
	c.followed = true
	if len(all) == 0 || c.o.fault != killHost || c.o.at() < place(c.o.operation, syncpoint.OperationBegun) {
		return
	}
	dead := all[len(all)-1]
	if c.answer.end() == nil && (dead.State != run.Crashed || !dead.Tidied || dead.Ended.IsZero()) {
		c.t.Errorf("the killed operation is %+v, want it crashed and cleared up", dead)
	}
	if want := c.o.destructive(); dead.State == run.Crashed && dead.Destructive != want {
		c.t.Errorf("the killed operation is destructive: %v, want %v", dead.Destructive, want)
	}
	if dead.State == run.Crashed && !strings.Contains(a.out, dead.ID+") crashed in phase") {
		c.t.Errorf("the next operation does not say that %s crashed:\n%s", dead.ID, a.out)
	}
}

// stored makes sure that the storage holds objects of these backups only.
func (c *check) stored(ids []string) {
	root := c.home.path("repo/backups")
	_ = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return nil // nothing was stored at all
		}
		rel, _ := filepath.Rel(root, path)
		if id, _, _ := strings.Cut(rel, "/"); !slices.Contains(ids, id) {
			c.t.Errorf("the storage holds %s, listed are %v", rel, ids)
		}
		return nil
	})
}

// nextFetch goes on with the restore or export; the result is started now and then.
func (c *check) nextFetch(ctx context.Context) {
	target := c.home.path("new")
	published := func() bool { return exists(filepath.Join(target, "mysql.ibd")) }
	whole := c.answer.code == 0 || c.o.fault == killHost && c.o.trigger() == "" && c.o.at() >= place(c.o.operation, syncpoint.PublishRenamed)
	if published() != whole {
		c.t.Errorf("mysql.ibd is in the target: %v, want %v", published(), whole)
	}
	if whole && !exists(filepath.Join(target, ".remora-restore")) {
		return // there is nothing to go on with
	}
	c.again(ctx, c.o.args(c.home)...)
	if !published() || exists(filepath.Join(target, ".remora-restore")) {
		c.t.Errorf("after the next %s: mysql.ibd %v, remains %v", c.o.operation, published(), exists(filepath.Join(target, ".remora-restore")))
	}
	if *every == 0 || c.o.number%*every != 0 {
		return
	}
	if c.o.operation == "export" {
		c.again(ctx, "prepare", target)
	}
	c.same(ctx, target)
}

func count(b bool) int {
	if b {
		return 1
	}
	return 0
}

func exists(path string) bool {
	list, err := filepath.Glob(path)
	return err == nil && len(list) == 1
}

// exact restores the latest backup and compares it with the source.
func (c *check) exact(ctx context.Context) {
	target := c.home.path("exact")
	a, err := begin(c.home, "restore", "--target", target).wait(ctx)
	if err != nil || a.code != 0 {
		c.t.Errorf("restore the next backup: %v, exit code %d\n%s", err, a.code, a)
		return
	}
	want, err := lab.Checksums(ctx, c.b.source.DB())
	if err != nil {
		c.t.Error(err)
		return
	}
	if got := c.starts(ctx, target); fmt.Sprint(got) != fmt.Sprint(want) {
		c.t.Errorf("restored are %v, want %v", got, want)
	}
}

// starts starts a server on a restored directory and returns the checksums of its tables.
func (c *check) starts(ctx context.Context, target string) map[string]string {
	s, err := lab.Start(ctx, lab.Options{Bin: mysqldtest.Binary(c.t), DataDir: target, Args: []string{"--innodb-flush-method=nosync", "--innodb-buffer-pool-size=16M"}})
	if err != nil {
		c.t.Errorf("start the restored server: %v", err)
		return nil
	}
	defer s.Remove()
	sums, err := lab.Checksums(ctx, s.DB())
	if err != nil || len(sums) < 2 {
		c.t.Errorf("checksums of the restored server: %v, %v", sums, err)
	}
	return sums
}
