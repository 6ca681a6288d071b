package operate_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/remora-backup/remora/core/code"
	"github.com/remora-backup/remora/core/control"
	"github.com/remora-backup/remora/core/operate"
	"github.com/remora-backup/remora/core/plug"
	"github.com/remora-backup/remora/core/plug/plugtest"
	"github.com/remora-backup/remora/core/repo"
	"github.com/remora-backup/remora/core/run"
	"github.com/remora-backup/remora/core/run/runtest"
	"github.com/remora-backup/remora/core/state"
)

// tape is a Listener that remembers.
type tape struct {
	runtest.Tape
	facts       operate.Facts
	mu          sync.Mutex
	interrupted []string
	closed      bool
}

func (t *tape) Starts(f operate.Facts) { t.facts = f }

func (t *tape) Interrupted(why *run.Interrupted) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.interrupted = append(t.interrupted, why.By)
}

func (t *tape) Closed() { t.closed = true }

// words are the lines of what was told.
func (t *tape) words() []string {
	var all []string
	for _, e := range t.Events() {
		if text := operate.LineOf(e).Text; text != "" {
			all = append(all, text)
		}
	}
	return all
}

// Warn and Error make the tape a Log.
func (t *tape) Warn(message string, args ...any) {
	t.Event(context.Background(), run.Event{Kind: run.KindWarning, Message: fmt.Sprint("log: ", message, args)})
}

func (t *tape) Error(message string, args ...any) { t.Warn(message, args...) }

// config is that of a backup of one phase.
func config(dir string, to *tape, work func(context.Context, *run.Task) error) operate.Config {
	return operate.Config{
		Operation: "backup", First: "copying", Version: "v1", Dir: dir, Log: to, Listener: to,
		Plan: func(_ context.Context, d *operate.Draft) (run.Plan, error) { return planOf(d.Row.ID, work), nil },
	}
}

func planOf(id string, work func(context.Context, *run.Task) error) run.Plan {
	return runtest.Plan("backup", id, runtest.Phase("copying", work))
}

func untilInterrupted(ctx context.Context, _ *run.Task) error {
	<-ctx.Done()
	return context.Cause(ctx)
}

func history(t *testing.T, dir string) []state.Operation {
	t.Helper()
	s, err := state.Open(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	all, err := s.History(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func same(t *testing.T, got, want []string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("got\n\t%s\nwant\n\t%s", strings.Join(got, "\n\t"), strings.Join(want, "\n\t"))
	}
}

// A daemon carries out one after the other, reads how far each is, and leaves nothing open.
func TestOneAfterTheOtherInOneProcess(t *testing.T) {
	dir := t.TempDir()
	one := func() {
		t.Helper()
		var to tape
		meter := new(run.Meter)
		half := 50
		cfg := config(dir, &to, func(_ context.Context, task *run.Task) error {
			task.Progress(run.Progress{Percent: &half})
			if got := meter.Read(); got.Phase != "copying" || *got.Percent != 50 || got.State != "" {
				t.Errorf("the meter says %+v", got)
			}
			return nil
		})
		cfg.Meter = meter
		if err := operate.Start(t.Context(), cfg).Wait(); err != nil {
			t.Fatal(err)
		}
		same(t, to.words(), []string{"Starting backup process.", "copying ...", "copying 50%", "Backup completed."})
		if !to.closed || meter.Read().State != run.Complete {
			t.Errorf("closed is %v, the meter says %q", to.closed, meter.Read().State)
		}
	}
	one() // libraries keep a few goroutines and files for the life of the process
	goroutines, files := runtime.NumGoroutine(), openFiles(t)
	for range 3 {
		one()
	}
	for deadline := time.Now().Add(10 * time.Second); runtime.NumGoroutine() > goroutines || openFiles(t) > files; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d goroutines and %d files, before it were %d and %d", runtime.NumGoroutine(), openFiles(t), goroutines, files)
		}
	}
	if all := history(t, dir); len(all) != 4 || all[0].State != run.Complete || all[0].RemoraVersion != "v1" {
		t.Errorf("the history has %+v, want four", all)
	}
}

func openFiles(t *testing.T) int {
	t.Helper()
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}

func TestASecondOneIsRefusedAndTheFirstCanBeCancelledByName(t *testing.T) {
	dir := t.TempDir()
	var first, second tape
	working := make(chan struct{})
	o := operate.Start(t.Context(), config(dir, &first, func(ctx context.Context, task *run.Task) error {
		close(working)
		return untilInterrupted(ctx, task)
	}))
	<-working
	if err := operate.Start(t.Context(), config(dir, &second, untilInterrupted)).Wait(); code.Of(err) != code.Busy {
		t.Errorf("the second: got %v, want 11", err)
	}
	if got := second.Last(); got.Code != int(code.Busy) || got.Message != "Operation aborted" {
		t.Errorf("the second ends with %+v", got)
	}
	if st := o.Status(); st.State != "running" || st.Phase != "copying" || st.ID != first.facts.ID {
		t.Errorf("status is %+v", st)
	}
	if st, err := control.Ask(t.Context(), dir, control.SocketName); err != nil || st.ID != first.facts.ID {
		t.Errorf("on the socket: %+v, %v", st, err)
	}
	if !o.Cancel("api:anna") || !o.Cancel("api:bert") {
		t.Error("it could not be cancelled")
	}
	if err := o.Wait(); code.Of(err) != code.Cancelled {
		t.Errorf("got %v, want 25", err)
	}
	if o.Cancel("api:anna") {
		t.Error("it was cancelled after its end")
	}
	same(t, first.interrupted, []string{"api:anna"})
	if all := history(t, dir); len(all) != 1 || all[0].State != run.Cancelled || all[0].InterruptedBy != "api:anna" {
		t.Errorf("the history has %+v, want one, cancelled by anna", all)
	}
}

// stuck is work with a clean-up that listens to nobody until the test ends.
func stuck(t *testing.T, work func(context.Context, *run.Task) error) (func(context.Context, *run.Task) error, <-chan struct{}) {
	hangs, free, gone := make(chan struct{}), make(chan struct{}), make(chan struct{})
	t.Cleanup(func() { close(free); <-gone })
	return func(ctx context.Context, task *run.Task) error {
		task.Cleanup(func(context.Context, *run.Task, error) error {
			defer close(gone)
			close(hangs)
			<-free
			return nil
		})
		return work(ctx, task)
	}, hangs
}

func TestHurryNeedsNoCleanUp(t *testing.T) {
	dir := t.TempDir()
	var to tape
	working := make(chan struct{})
	work, hangs := stuck(t, func(ctx context.Context, task *run.Task) error {
		close(working)
		return untilInterrupted(ctx, task)
	})
	o := operate.Start(t.Context(), config(dir, &to, work))
	<-working
	o.Interrupt(&run.Interrupted{By: "SIGINT", Code: code.SIGINT})
	go func() { <-hangs; o.Hurry(); o.Hurry() }()
	if err := o.Wait(); code.Of(err) != code.SIGINT {
		t.Errorf("got %v (code %d), want 130", err, code.Of(err))
	}
	if end := to.Last(); end.Kind != run.KindEnd || end.State != run.Cancelled || !slices.Contains(end.Errors, "the clean-up was left") {
		t.Errorf("it ends with %+v", end)
	}
	if all := history(t, dir); len(all) != 1 || all[0].State != run.Cancelled || all[0].Ended.IsZero() || all[0].Phase != "copying" {
		t.Errorf("the history has %+v, want one, cancelled while copying", all)
	}
}

// After the commit nothing changes the answer, not even a clean-up that is left.
func TestHurryAfterTheCommitIsSuccess(t *testing.T) {
	dir := t.TempDir()
	var to tape
	work, hangs := stuck(t, func(_ context.Context, task *run.Task) error { task.Commit(); return nil })
	o := operate.Start(t.Context(), config(dir, &to, work))
	go func() { <-hangs; o.Interrupt(&run.Interrupted{By: "SIGINT", Code: code.SIGINT}); o.Hurry() }()
	if err := o.Wait(); err != nil {
		t.Errorf("got %v, want success", err)
	}
	if all := history(t, dir); to.Last().Message != "Backup completed" || len(all) != 1 || all[0].State != run.CompleteWithWarnings {
		t.Errorf("it ends with %+v, the history has %+v; want it complete", to.Last(), all)
	}
}

// Who leaves before anything was told hears why, and nothing is told.
func TestHurryBeforeTheRun(t *testing.T) {
	var to tape
	planning, free, gone := make(chan struct{}), make(chan struct{}), make(chan struct{})
	cfg := config(t.TempDir(), &to, nil)
	cfg.Plan = func(context.Context, *operate.Draft) (run.Plan, error) {
		close(planning)
		<-free
		return run.Plan{}, errors.New("too late")
	}
	cfg.Plugins = ended{gone}
	o := operate.Start(t.Context(), cfg)
	<-planning
	o.Interrupt(&run.Interrupted{By: "SIGTERM", Code: code.SIGTERM})
	o.Hurry()
	err := o.Wait()
	if code.Of(err) != code.SIGTERM || len(to.words()) != 0 {
		t.Errorf("got %v and %q, want 143 and nothing", err, to.words())
	}
	close(free)
	<-gone
}

// ended are plugins of which the end can be waited for.
type ended struct{ gone chan struct{} }

func (e ended) Names() []string             { return []string{"storage:fs", "lock:mysql"} }
func (e ended) Close(context.Context) error { close(e.gone); return errors.New("one did not end") }

func TestWhatCannotBeginIsToldAsAnyOtherFailure(t *testing.T) {
	dir := t.TempDir()
	why := code.Hint(code.Usage, "write one", "no configuration")
	t.Run("known before", func(t *testing.T) {
		var to tape
		err := operate.Start(t.Context(), operate.Config{Operation: "restore", First: "getting_backup_info", Err: why, Log: &to, Listener: &to}).Wait()
		if !errors.Is(err, why) {
			t.Errorf("got %v", err)
		}
		same(t, to.words(), []string{"Starting restore process.", "getting_backup_info ...", "10 no configuration", "Operation aborted."})
	})
	t.Run("not planned", func(t *testing.T) {
		var to tape
		cfg := config(dir, &to, nil)
		cfg.Plugins = ended{make(chan struct{})}
		cfg.Plan = func(_ context.Context, d *operate.Draft) (run.Plan, error) {
			d.Fact("server", "u-u")
			d.Closing(func() error { return errors.New("closing failed") })
			return run.Plan{}, why
		}
		if err := operate.Start(t.Context(), cfg).Wait(); !errors.Is(err, why) {
			t.Errorf("got %v", err)
		}
		same(t, to.facts.Named, []string{"id=" + to.facts.ID, "server=u-u", "plugins=storage:fs+lock:mysql"})
		same(t, to.words(), []string{"Starting backup process.", "copying ...", "10 no configuration", "Nothing was begun.", "Operation aborted.",
			"log: close[error closing failed]", "log: end plugins[error one did not end]"})
		if all := history(t, dir); len(all) != 1 || all[0].Code != int(code.Usage) || all[0].ID != to.facts.ID {
			t.Errorf("the history has %+v, want it", all)
		}
	})
}

// scripts are Hooks that veto, and send a notice when they are loaded.
type scripts struct {
	veto   error
	closed bool
}

func (s *scripts) Event(context.Context, run.Event)      {}
func (s *scripts) Gate(context.Context, run.Event) error { return s.veto }
func (s *scripts) Close(context.Context)                 { s.closed = true }

func TestHooksAreAskedAndNotifiersTold(t *testing.T) {
	var to tape
	s := &scripts{veto: errors.New("not on Sundays")}
	told := new(notices)
	cfg := config(t.TempDir(), &to, nil)
	var send func(context.Context, plug.Notice) error
	cfg.Hooks = func(_ context.Context, notify func(context.Context, plug.Notice) error) (operate.Hooks, error) {
		send = notify
		if err := notify(t.Context(), plug.Notice{}); err == nil {
			t.Error("a notice was taken before there was a notifier")
		}
		return s, nil
	}
	cfg.Notifiers = func(context.Context) ([]operate.Notifier, error) {
		return []operate.Notifier{{Name: "pager", To: told}}, nil
	}
	plan := cfg.Plan
	cfg.Plan = func(ctx context.Context, d *operate.Draft) (run.Plan, error) {
		if err := send(ctx, plug.Notice{Text: "from a script"}); err != nil {
			t.Errorf("a notice was not taken: %v", err)
		}
		return plan(ctx, d)
	}
	if err := operate.Start(t.Context(), cfg).Wait(); code.Of(err) != code.Veto || !s.closed {
		t.Errorf("got %v, hooks closed is %v; want 23 and true", err, s.closed)
	}
	same(t, told.texts, []string{"from a script", "Backup: Starting backup process.",
		"Backup: 23 enter phase copying: not on Sundays", "Backup: Operation aborted."})
}

type notices struct{ texts []string }

func (n *notices) Send(_ context.Context, one plug.Notice) error {
	n.texts = append(n.texts, one.Text)
	return nil
}

// orphans are the sessions of a server, killed.
type orphans struct{ killed []string }

func (o *orphans) KillOrphans(_ context.Context, host string, pid int) ([]uint64, error) {
	o.killed = append(o.killed, fmt.Sprintf("%d on %s", pid, host))
	return []uint64{7}, nil
}

// What was cleared up is told, once; that there was nothing is not.
func TestTidyTellsWhatItRemoved(t *testing.T) {
	dir := t.TempDir()
	storage := new(plugtest.Memory)
	r, err := repo.Open(t.Context(), storage)
	if err != nil {
		t.Fatal(err)
	}
	const whole, torn, none = "20261120T221500Z-7f3a", "20261121T221500Z-7f3a", "20261122T221500Z-7f3a"
	b, err := r.NewBackup(t.Context(), whole, repo.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Seal(t.Context(), repo.Manifest{}); err != nil {
		t.Fatal(err)
	}
	if _, err := storage.Put(t.Context(), "backups/"+torn+"/pack-000001", strings.NewReader("x")); err != nil {
		t.Fatal(err)
	}
	store, err := state.Open(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{whole, torn, none} {
		if err := store.Begin(t.Context(), state.Operation{ID: id, Operation: "backup", LockPID: 42, Host: "h", ServerUUID: "u-u"}); err != nil {
			t.Fatal(err)
		}
	}
	store.Close()
	var srv orphans
	backup := func() []string {
		t.Helper()
		var to tape
		cfg := config(dir, &to, func(context.Context, *run.Task) error { return nil })
		plan := cfg.Plan
		cfg.Plan = func(ctx context.Context, d *operate.Draft) (run.Plan, error) {
			d.Row.ServerUUID = "u-u"
			if err := d.Tidy(ctx, r, &srv); err != nil {
				return run.Plan{}, err
			}
			return plan(ctx, d)
		}
		if err := operate.Start(t.Context(), cfg).Wait(); err != nil {
			t.Fatal(err)
		}
		return to.words()
	}
	crashed := "An earlier backup (%s) crashed in phase none. Operation aborted."
	killed := "Killed session 7, with which backup %s had kept the server locked."
	same(t, backup(), []string{
		"Starting backup process.", "copying ...", fmt.Sprintf(crashed, whole), fmt.Sprintf(crashed, torn), fmt.Sprintf(crashed, none),
		fmt.Sprintf(killed, whole), "Backup " + whole + " had been stored whole before its process ended: it stays.",
		fmt.Sprintf(killed, torn), "Removed 1 object that backup " + torn + " had left in the storage.",
		fmt.Sprintf(killed, none), "Backup completed.",
	})
	same(t, srv.killed, []string{"42 on h", "42 on h", "42 on h"})
	same(t, backup(), []string{"Starting backup process.", "copying ...", "Backup completed."})
}

func TestAnEmptyStorageIsDoubtedIfThereWereBackups(t *testing.T) {
	dir := t.TempDir()
	r, err := repo.Open(t.Context(), new(plugtest.Memory))
	if err != nil {
		t.Fatal(err)
	}
	backup := func() (string, []string) {
		t.Helper()
		var to tape
		cfg := config(dir, &to, func(context.Context, *run.Task) error { return nil })
		plan := cfg.Plan
		cfg.Plan = func(ctx context.Context, d *operate.Draft) (run.Plan, error) {
			if err := d.DoubtEmpty(ctx, r); err != nil {
				return run.Plan{}, err
			}
			return plan(ctx, d)
		}
		if err := operate.Start(t.Context(), cfg).Wait(); err != nil {
			t.Fatal(err)
		}
		return to.facts.ID, to.words()
	}
	id, words := backup()
	same(t, words, []string{"Starting backup process.", "copying ...", "Backup completed."})
	if _, words = backup(); len(words) != 4 || !strings.HasPrefix(words[2], "the storage is empty, but backup "+id+" was completed on ") {
		t.Errorf("got %q, want a warning that names %s", words, id)
	}
}
