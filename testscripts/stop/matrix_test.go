package stop

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/remora-backup/remora/core/needs"
	"github.com/remora-backup/remora/core/syncpoint"
)

// fault is what is done to an operation that is held at a point.
type fault string

const (
	sigint     fault = "sigint"
	sigterm    fault = "sigterm"
	cancelled  fault = "cancel"
	killHost   fault = "kill_host"
	killStore  fault = "kill_storage"
	killLock   fault = "kill_lock"
	killNotify fault = "kill_notify"
	killHook   fault = "kill_hook" // the process in which the hook scripts run
	killConn   fault = "kill_connection"
	killMysqld fault = "kill_mysqld"
	fail       fault = "error"
	failTidy   fault = "cleanup_error" // SIGINT, then an error in the clean-up
)

// operations are what is stopped, by the words in the names of runs.
var operations = []string{"backup", "restore", "export", "prepare", foreign}

// foreign is the preparation of a directory as XtraBackup makes it, whose first phase has more to do.
const foreign = "prepare_xtrabackup"

// kinds says which of syncpoint's operations a name stands for.
var kinds = map[string]syncpoint.Operation{
	"backup": syncpoint.Backup, "restore": syncpoint.Restore, "export": syncpoint.Export, "prepare": syncpoint.Prepare, foreign: syncpoint.Foreign,
}

func faults(operation string) []fault {
	switch operation {
	case "restore":
		return []fault{sigint, sigterm, cancelled, killHost, killStore, killNotify, killHook, killMysqld, fail, failTidy}
	case "export":
		return []fault{sigint, sigterm, cancelled, killHost, killStore, killNotify, fail, failTidy}
	case "prepare", foreign:
		return []fault{sigint, sigterm, cancelled, killHost, killNotify, killMysqld, fail, failTidy}
	}
	return []fault{sigint, sigterm, cancelled, killHost, killStore, killLock, killNotify, killHook, killConn, killMysqld, fail, failTidy}
}

// one is one run of the matrix.
type one struct {
	operation string
	point     syncpoint.Point
	fault     fault
	number    int
}

func (o one) String() string { return fmt.Sprintf("%s/%s/%s", o.operation, o.point, o.fault) }

// command is the word after remora.
func (o one) command() string {
	if o.operation == foreign {
		return "prepare"
	}
	return o.operation
}

// points of an operation, in its order, those of its clean-up included.
func points(operation string) []syncpoint.Point { return kinds[operation].Points() }

// place is what syncpoint says of the point.
func (o one) place() syncpoint.Place {
	all := kinds[o.operation].Places()
	return all[slices.IndexFunc(all, func(p syncpoint.Place) bool { return p.Point == o.point })]
}

// trigger is the point where the operation must fail to come to this one of its clean-up; "" if
// it comes there anyway.
func (o one) trigger() syncpoint.Point { return o.place().After }

// hooked reports whether the hooks' process dies at the point: before it is told anything, when
// the server has just been locked, when nothing more is told, and once in each phase.
func (o one) hooked() bool {
	before := syncpoint.Point("")
	if at := o.at(); at > 0 {
		before = points(o.operation)[at-1]
	}
	switch o.point.Phase() {
	case "operation":
		return o.point == syncpoint.OperationHooks
	case "cleanup":
		return o.point == syncpoint.CleanupHooks
	}
	return o.point.Phase() != before.Phase() || o.place().Locks || slices.Contains(busy, o.point)
}

// busy are further ones: much is told there, or nothing can be done any more.
var busy = []syncpoint.Point{syncpoint.CopyExtent, syncpoint.StoreManifest, syncpoint.FetchWritten, syncpoint.PrepareProgress, syncpoint.PublishEntry}

// possible leaves out what cannot be done at a point.
func (o one) possible() bool {
	plugged := o.at() > place(o.operation, syncpoint.OperationHooks)
	if o.operation == foreign && !o.place().Differs {
		return false // it is as the other
	}
	switch o.fault {
	case killHook:
		return o.hooked()
	case killStore:
		return plugged && o.at() < place(o.operation, syncpoint.CleanupHistory)
	case killNotify:
		return plugged && o.at() < place(o.operation, syncpoint.CleanupHistory)
	case killLock:
		return o.at() > place(o.operation, syncpoint.OperationStorage) && o.at() < place(o.operation, syncpoint.CleanupHistory)
	case killMysqld: // of others than a backup: the server that recovers
		return o.operation == "backup" || o.point == syncpoint.PrepareProgress
	case killConn:
		return o.at() >= place(o.operation, syncpoint.BackupStart) && o.at() < place(o.operation, syncpoint.CleanupHooks)
	case failTidy: // there must be something to clean up
		return tidyPoint(o) != "" && !o.committed() && o.trigger() == ""
	case cancelled: // needs the control socket
		return o.at() >= place(o.operation, syncpoint.OperationLocked) && o.at() < place(o.operation, syncpoint.CleanupLockFile)
	}
	return true
}

// tidyPoint is where the clean-up after an interruption is made to fail.
func tidyPoint(o one) syncpoint.Point {
	switch {
	case o.fetches() && o.at() >= place(o.operation, syncpoint.RestoreTargetReady):
		return syncpoint.CleanupKept
	case o.fetches():
		return ""
	case o.prepares() && o.at() >= place(o.operation, syncpoint.ApplyingBegun):
		return syncpoint.CleanupDirectory
	case o.prepares():
		return ""
	case o.locked() && o.point != syncpoint.LockChecked: // there the next step is the release
		return syncpoint.CleanupRelease
	case o.at() >= place(o.operation, syncpoint.BackupPreflighted):
		return syncpoint.CleanupAbort
	}
	return ""
}

// place is a point's position in the order of an operation.
func place(operation string, p syncpoint.Point) int { return slices.Index(points(operation), p) }

func (o one) at() int { return place(o.operation, o.point) }

// state is what is so at the point: is the server locked, are data that were there being changed,
// can nothing make the operation fail any more.
func (o one) state() syncpoint.State { return kinds[o.operation].At(o.point) }

func (o one) locked() bool      { return o.state().Locked }
func (o one) destructive() bool { return o.state().Changing }
func (o one) committed() bool   { return o.state().Committed }

// fetches reports whether a backup is read into a directory, prepares whether a directory is
// prepared in place.
func (o one) fetches() bool  { return o.operation == "restore" || o.operation == "export" }
func (o one) prepares() bool { return o.command() == "prepare" }

// all returns every run.
func all() (runs []one) {
	for _, operation := range operations {
		for _, f := range faults(operation) {
			for _, p := range points(operation) {
				if o := (one{operation, p, f, 0}); o.possible() {
					runs = append(runs, o)
				}
			}
		}
	}
	return runs
}

// core returns a part of all runs in which every point is met and every fault is tried at
// several points: each point has its turn with one fault after the other.
func core() (runs []one) {
	turn, met := map[string]int{}, map[syncpoint.Point]bool{}
	for _, operation := range operations {
		for _, p := range points(operation) {
			if met[p] {
				continue // that they have in common
			}
			met[p] = true
			list := faults(operation)
			for range list {
				f := list[turn[operation]%len(list)]
				turn[operation]++
				if o := (one{operation, p, f, 0}); o.possible() {
					runs = append(runs, o)
					break
				}
			}
		}
	}
	for _, o := range chosen {
		if !slices.Contains(runs, o) {
			runs = append(runs, o)
		}
	}
	return runs
}

// chosen are runs of the core beside those that have their turn.
var chosen = []one{
	{"backup", syncpoint.LockHeld, killHost, 0}, // for the time to unlock
	{"backup", syncpoint.LockTables, killHost, 0},
	{"backup", syncpoint.LockChecked, killHost, 0},
	{"backup", syncpoint.LockHeld, killHook, 0}, // while it must not be called
	{"restore", syncpoint.PrepareProgress, killHook, 0},
	{"prepare", syncpoint.PrepareRecovered, sigint, 0}, // here there is no way back
}

// mixed orders runs so that those at the beginning are a sample of all.
func mixed(runs []one) (out []one) {
	const stride = 37 // a prime: it divides no number of faults or points
	for first := range min(stride, len(runs)) {
		for i := first; i < len(runs); i += stride {
			out = append(out, runs[i])
		}
	}
	return out
}

// fewRuns is how many runs of the core are made without -faults.
const fewRuns = 12

func TestMatrix(t *testing.T) {
	needs.Server(t)
	runs := core()
	if *full || *only != "" {
		runs = all()
	}
	pattern, err := regexp.Compile(*only)
	if err != nil {
		t.Fatal(err)
	}
	runs = slices.DeleteFunc(runs, func(o one) bool { return !pattern.MatchString(o.String()) })
	runs = mixed(runs)
	if !*faulty && !*full && *only == "" {
		runs = runs[:min(fewRuns, len(runs))]
	}
	for i := range runs {
		runs[i].number = i
	}
	t.Logf("%d runs", len(runs))
	repo := goodRepo(t)
	queue := make(chan one)
	var total tally
	var wg sync.WaitGroup
	for w := range *workers {
		wg.Go(func() {
			b := &bench{repo: repo, dir: filepath.Join(world.dir, fmt.Sprint("w", w)), tally: &total}
			defer b.close(t)
			for o := range queue {
				ok := t.Run(o.String(), func(t *testing.T) { b.run(t, o) })
				total.count(o, ok)
			}
		})
	}
	begun := time.Now()
	for _, o := range runs {
		queue <- o
	}
	close(queue)
	wg.Wait()
	total.print(t, time.Since(begun))
}

// bench is where one worker makes its runs, one after the other.
type bench struct {
	repo   string // with the good backup
	dir    string
	source *source
	tally  *tally
}

// server returns the worker's server, which may have been killed by the run before.
func (b *bench) server(t *testing.T) *source {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	var err error
	if b.source == nil {
		if b.source, err = startSource(ctx); err != nil {
			t.Fatal(err)
		}
		return b.source
	}
	select {
	case <-b.source.Done():
		if err := b.source.Restart(ctx); err != nil {
			t.Fatal(err)
		}
	default:
	}
	return b.source
}

func (b *bench) close(t *testing.T) {
	if b.source == nil {
		return
	}
	if err := b.source.Remove(); err != nil {
		t.Error(err)
	}
}

// tally counts runs and keeps the times.
type tally struct {
	mu             sync.Mutex
	ran, passed    map[fault]int
	unlocks, exits []timing
}

// timing is how long a run took to do something.
type timing struct {
	took time.Duration
	run  string
}

func (c *tally) count(o one, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ran == nil {
		c.ran, c.passed = map[fault]int{}, map[fault]int{}
	}
	c.ran[o.fault]++
	if ok {
		c.passed[o.fault]++
	}
}

func (c *tally) unlocked(o one, d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.unlocks = append(c.unlocks, timing{d, o.String()})
}

func (c *tally) left(o one, d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.exits = append(c.exits, timing{d, o.String()})
}

// print says what was run. The lines are for people who look for the figures.
func (c *tally) print(t *testing.T, took time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	ran, passed := 0, 0
	for _, f := range faults("backup") {
		ran, passed = ran+c.ran[f], passed+c.passed[f]
		fmt.Fprintf(os.Stdout, "matrix: %-16s %3d run, %3d passed\n", f, c.ran[f], c.passed[f])
	}
	fmt.Fprintf(os.Stdout, "matrix: runs run/passed %d/%d in %v\n", ran, passed, took.Round(time.Second))
	for name, list := range map[string][]timing{"kill -9 to unlock": c.unlocks, "Ctrl-C to exit": c.exits} {
		if len(list) == 0 {
			continue
		}
		slices.SortFunc(list, func(a, b timing) int { return cmp.Compare(a.took, b.took) })
		worst := list[len(list)-1]
		fmt.Fprintf(os.Stdout, "matrix: %s: median %v, worst %v (%s) of %d\n", name, list[len(list)/2].took.Round(time.Millisecond), worst.took.Round(time.Millisecond), worst.run, len(list))
	}
}
