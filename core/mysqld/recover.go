package mysqld

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/remora-backup/remora/core/code"
)

// RecoverOptions say what Recover recovers. Zero values leave the server's default, but for the fields marked
// "needed".
type RecoverOptions struct {
	Bin     string   // needed; see Find
	Args    []string // the user's own, e.g. for a keyring; put first, so that ours win
	DataDir string   // needed; absolute
	Home    string   // needed; a directory of ours that the server may write to, absolute: made, and removed afterwards

	// Own, if not nil, gives a directory that was made to the user as whom the server may run.
	Own func(path string) error

	StartLSN uint64 // checkpoint LSN the redo log was made with; 0 does not check it
	EndLSN   uint64 // needed; the LSN up to which the server must have scanned, exactly

	PageSize            int    // innodb_page_size, bytes
	DataFilePath        string // innodb_data_file_path
	UndoDir             string // innodb_undo_directory
	Directories         string // innodb_directories
	LowerCaseTableNames int    // as on the source; it must fit the data
	BufferPool          int64  // bytes; a bigger one needs fewer batches
	RedoBytes           int64  // innodb_redo_log_capacity, bytes

	// LogBin is the path of the binary log without its number, absolute or relative to DataDir. Transactions
	// that are prepared in InnoDB are committed only if the last file named in the index has them. "" if the
	// source wrote no binary log: prepared transactions are rolled back then.
	LogBin string

	// Statements are carried out by the server once it has recovered and before it shuts down, without a binary
	// log and with all privileges. One that fails ends the server with an error.
	Statements []string

	// OnProgress is told about every change of the integer percent; see Meter and Progress. The first call has no
	// percent. All calls come from one goroutine, the one that reads the server's log, in order and none after
	// Recover has returned. While a call lasts nothing more is read: the server itself goes on until 64 KiB of
	// log lie unread, then it waits.
	OnProgress func(Progress)

	// OnLine, if not nil, is given every line of the server's log, under the same rules.
	OnLine func(line string)
}

// RecoverResult says what a recovery did.
type RecoverResult struct {
	CheckpointLSN uint64 // where the server began
	ScannedLSN    uint64 // where the redo log ended: EndLSN
	FinalLSN      uint64 // of the data after the server has shut down
	Duration      time.Duration
	PreparedXA    int      // XA transactions of clients that stay prepared
	Answers       Answers  // what it says of itself
	Errors        []string // [ERROR] lines of the log; those of a recovery that went well are harmless
}

// Recover lets mysqld recover the data directory from its redo log, roll back what was not committed, and shut down.
// The server listens on a socket in Home only, runs no events and replicates nothing.
//
// It fails unless the redo log was read to exactly EndLSN: a server that meets a damaged or missing block takes
// it for the end of the log, says at most a word about it, and starts. The error carries the server's own
// errors; code 19 means that the data or the redo log are to blame. Nor may the server have reported any error,
// but for a few that are known to say nothing of the data.
//
// The doublewrite buffer is off, so a recovery that was cut short (ctx, kill, power) can leave torn pages:
// restore the files anew before trying again. The server dies with this process, so none is left behind.
//
// What the run leaves in the data directory besides the recovered files: a new auto.cnf, i.e. a server_uuid of
// its own; with LogBin one more binary log file, the next number, which holds no transaction but begins with the
// GTIDs executed so far, and its line in the index; fresh redo files; ibtmp1 is removed.
func Recover(ctx context.Context, o RecoverOptions) (RecoverResult, error) {
	if o.EndLSN == 0 || !filepath.IsAbs(o.DataDir) || !filepath.IsAbs(o.Home) {
		return RecoverResult{}, fmt.Errorf("recover %q in %q up to LSN %d: absolute directories and an LSN are needed", o.DataDir, o.Home, o.EndLSN)
	}
	if err := makeHome(o.Home, o.Own); err != nil {
		return RecoverResult{}, fmt.Errorf("recover %s: %w", o.DataDir, code.Full(err))
	}
	defer os.RemoveAll(o.Home)
	initFile := filepath.Join(o.Home, "init.sql")
	if err := os.WriteFile(initFile, []byte(initSQL(o)), 0o644); err != nil {
		return RecoverResult{}, fmt.Errorf("recover %s: %w", o.DataDir, code.Full(err))
	}
	begin := time.Now()
	w := newWatch(o)
	run, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	w.abort = func() { cancel(errGivenUp) }
	w.begin()
	p, err := Start(run, Options{Bin: o.Bin, Args: recoverArgs(o, initFile), OnLine: w.line})
	if err != nil {
		return RecoverResult{}, fmt.Errorf("recover %s: %w", o.DataDir, err)
	}
	if !w.settled(p.Done(), doings(p.Pid())) {
		cancel(errGivenUp)
	}
	p.Terminate()
	exit := p.Wait()
	w.result.Duration = time.Since(begin)
	if ctx.Err() != nil {
		return w.result, fmt.Errorf("recover %s: %w", o.DataDir, context.Cause(ctx))
	}
	if err := w.judge(exit); err != nil {
		return w.result, fmt.Errorf("recover %s: %w", o.DataDir, err)
	}
	if w.result.Answers, err = readAnswers(o.Home); err != nil {
		return w.result, fmt.Errorf("ask the recovered server: %w", err)
	}
	return w.result, nil
}

// initSQL is what the server carries out before it is told to shut down: one statement a line, as it reads them. What it
// says of itself it says after the caller's statements.
func initSQL(o RecoverOptions) string {
	lines := append([]string{"SET SESSION sql_log_bin = 0;"}, o.Statements...)
	return strings.Join(lines, "\n") + "\n" + questions(o.Home)
}

// makeHome makes an empty directory for a server, whose user may be another than ours.
func makeHome(home string, own func(path string) error) error {
	if err := os.RemoveAll(home); err != nil {
		return err
	}
	if err := os.MkdirAll(home, 0o700); err != nil {
		return err
	}
	if own == nil {
		return nil
	}
	return own(home)
}

var errGivenUp = errors.New("recovery cannot succeed")

// watch reads a recovering server's log.
type watch struct {
	opts   RecoverOptions
	meter  *Meter
	abort  func() // ends the server
	result RecoverResult
	failed bool // by a fatal message
	errors bool // one was reported that is not known to be harmless
	stuck  bool // it did nothing for too long
	full   bool // the disk is
	keys   bool // are missing

	undo     bool          // there are transactions to be rolled back
	prepared atomic.Int64  // so many stay as they are: Result.PreparedXA
	cut      bool          // the rollback was cut short
	asked    chan struct{} // closed when the server has answered,
	began    chan struct{} // when it has begun to roll back,
	ended    chan struct{} // when it has done so
	lines    atomic.Int64  // of its log
}

// rolling reports whether the server has begun to roll back and has not said that it is done.
func (w *watch) rolling() bool { return happened(w.began) && !happened(w.ended) }

func happened(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// reached closes one of the channels, once.
func reached(c chan struct{}) {
	if !happened(c) {
		close(c)
	}
}

func newWatch(o RecoverOptions) *watch {
	return &watch{opts: o, meter: NewMeter(o.EndLSN, time.Now), asked: make(chan struct{}), began: make(chan struct{}), ended: make(chan struct{})}
}

// maxErrors bounds how many [ERROR] lines are kept, maxErrorText how much of each, in bytes.
const (
	maxErrors    = 10
	maxErrorText = 500
)

func (w *watch) begin() {
	if w.opts.OnProgress != nil {
		w.opts.OnProgress(w.meter.Start())
	}
}

func (w *watch) line(line string) {
	w.lines.Add(1)
	if w.opts.OnLine != nil {
		w.opts.OnLine(line)
	}
	msg, ok := parseLine(line)
	if ok {
		w.take(msg)
	} else if strings.Contains(line, "[ERROR]") {
		w.errors = true
		w.keep(line)
	}
	if w.failed {
		return // no progress of what has failed
	}
	if p, changed := w.meter.Line(line); changed && w.opts.OnProgress != nil {
		w.opts.OnProgress(p)
	}
}

func (w *watch) take(msg message) {
	if msg.level == "ERROR" {
		w.errors = w.errors || !harmless(msg)
		w.full = w.full || noSpace.MatchString(msg.text)
		w.keys = w.keys || strings.Contains(strings.ToLower(msg.text), "keyring")
		w.keep("[" + msg.code + "] " + msg.text)
	}
	// A new log before a checkpoint was found is one instead of the backup's: nothing was recovered. Servers before
	// 8.0.39 also make one after recovery, where the log that they recovered from is bigger than
	// innodb_redo_log_capacity (log_downsize_requested in srv0start.cc).
	if fatal(msg.code) || msg.code == msgNewLog && w.result.CheckpointLSN == 0 {
		w.failed = true
		if msg.level != "ERROR" {
			w.keep("[" + msg.code + "] " + msg.text)
		}
	}
	switch msg.code {
	case msgCorruptRecord:
		w.abort()
	case msgScanned:
		if lsn, ok := msg.lsnAfter("log sequence number "); ok {
			w.result.ScannedLSN = lsn
		}
	case msgCheckpoint:
		if lsn, ok := msg.lsnAfter("lsn = "); ok {
			w.result.CheckpointLSN = lsn
		}
	case msgUndo:
		n, ok := msg.lsnAfter("in total ")
		w.undo = !ok || n > 0
	case msgRollback:
		reached(w.began)
	case msgRolledBack:
		reached(w.ended)
	case msgRollbackCut:
		w.cut = true
	case msgPreparedXA:
		n, _ := msg.lsnAfter("Found ")
		w.result.PreparedXA = int(n)
		w.prepared.Store(int64(n))
	case msgInitFile:
		reached(w.asked)
	case msgShutdown:
		if lsn, ok := msg.lsnAfter("log sequence number "); ok {
			w.result.FinalLSN = lsn
		}
	}
}

func (w *watch) keep(text string) {
	text = text[:min(len(text), maxErrorText)]
	if len(w.result.Errors) < maxErrors && !slices.Contains(w.result.Errors, text) {
		w.result.Errors = append(w.result.Errors, text)
	}
}

// judge decides when the server has ended.
func (w *watch) judge(exit error) error {
	r := w.result
	scanned := r.ScannedLSN
	if scanned == 0 {
		scanned = r.CheckpointLSN // nothing after the checkpoint: the server does not speak of a scan
	}
	switch {
	case w.stuck:
		return w.fail(code.Unclassified, "the server neither said what it has nor did anything else for %v", stuckAfter)
	case w.failed:
		return w.fail(code.Integrity, "the server reports that the data cannot be recovered")
	case exit != nil && scanned == 0:
		return w.fail(code.Unclassified, "mysqld did not come to the redo log: %v", exit)
	case w.opts.StartLSN != 0 && r.CheckpointLSN != w.opts.StartLSN:
		return w.fail(code.Integrity, "the server began at LSN %d, the backup begins at %d", r.CheckpointLSN, w.opts.StartLSN)
	case scanned != w.opts.EndLSN:
		return w.fail(code.Integrity, "the server read the redo log up to LSN %d, the backup ends at %d", scanned, w.opts.EndLSN)
	case exit != nil:
		return w.fail(code.Unclassified, "mysqld ended with an error: %v", exit)
	case r.FinalLSN == 0:
		return w.fail(code.Unclassified, "mysqld did not shut down in order")
	case w.undo && (w.cut || w.rolling()):
		return w.fail(code.Unclassified, "the server ended before it had rolled back what was not committed")
	case w.errors:
		return w.fail(code.Integrity, "the server recovered the data and reported errors")
	}
	w.result.ScannedLSN = scanned
	return nil
}

// fail is the error with what the server itself said. Whatever a full disk led to is its
// fault, not that of the data.
func (w *watch) fail(c code.Code, format string, args ...any) error {
	text := fmt.Sprintf(format, args...)
	if w.full || full(w.opts.DataDir) {
		c = code.NoSpace
		text += " (the disk is full)"
	} else if w.keys {
		text += " (mysqld must be given the keyring of the server that was backed up)"
	}
	for _, line := range w.result.Errors {
		text += "\n  mysqld: " + line
	}
	return code.New(c, "%s", text)
}
