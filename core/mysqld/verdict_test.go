package mysqld_test

import (
	"cmp"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/remora-backup/remora/core/code"
	"github.com/remora-backup/remora/core/mysqld"
)

// The logs named after 8.0.30 are of servers of that version that recovered what Remora restored, or what a kill left.
// Their redo logs were bigger than innodb_redo_log_capacity, so the servers made them anew when all was recovered.
func TestVerdictOnLogs(t *testing.T) {
	for log, want := range map[string]struct{ start, end uint64 }{
		"8.0.30-many-batches":   {12643852, 17659233},
		"8.0.30-one-batch":      {12643852, 17659233},
		"8.0.30-redo-made-anew": {12644123, 49985636},
	} {
		r, err := verdict(t, readLines(t, "testdata/"+log+".log"), want.start, want.end)
		if err != nil || r.CheckpointLSN != want.start || r.ScannedLSN != want.end || r.FinalLSN < want.end {
			t.Errorf("%s: got %+v, %v, want LSN %d to %d", log, r, err, want.start, want.end)
		}
		for _, off := range []uint64{want.end - 1, want.end + 1} {
			if _, err := verdict(t, readLines(t, "testdata/"+log+".log"), want.start, off); code.Of(err) != code.Integrity {
				t.Errorf("%s up to %d: got %v, want code %d", log, off, err, code.Integrity)
			}
		}
	}
}

// A server that found no log makes one, and starts: nothing was recovered.
func TestVerdictOnANewLog(t *testing.T) {
	lines := append([]string{note("MY-012893", "New redo log files created, LSN=24520716")},
		readLines(t, "testdata/8.0.30-redo-made-anew.log")...)
	if _, err := verdict(t, lines, 12644123, 49985636); code.Of(err) != code.Integrity || !strings.Contains(err.Error(), "MY-012893") {
		t.Errorf("got %v, want code %d and MY-012893", err, code.Integrity)
	}
}

// One [ERROR] in a log that is good otherwise fails it, unless it is known to say nothing of the data.
func TestVerdictOnErrors(t *testing.T) {
	const log = "testdata/9.7.4-one-batch.log"
	lines := readLines(t, log)
	end := lastScanned(t, lines)
	if _, err := verdict(t, lines, 0, end); err != nil {
		t.Fatalf("%s as it is: %v", log, err)
	}
	for _, c := range []struct {
		line  string
		code  code.Code
		extra string
	}{
		{said("MY-012592", "InnoDB", "Operating system error number 2 in a file operation."), code.Integrity, "MY-012592"},
		{said("MY-012657", "InnoDB", "Encryption can't find master key, please check the keyring is loaded."), code.Integrity, "must be given the keyring"},
		{said("MY-099999", "Server", "What no version says yet"), code.Integrity, "MY-099999"},
		{"2026-01-02 03:04:05 1 [ERROR] of a form that is not known", code.Integrity, "not known"},
		{said("MY-012640", "InnoDB", "Error number 28 means 'No space left on device'"), code.NoSpace, "disk is full"},
		{said("MY-013589", "InnoDB", "Scanned file './d/t.ibd' for tablespace e/t cannot be opened because it is not in a sub-directory named for the schema."), code.Integrity, "MY-013589"},
		{said("MY-013129", "Server", "A message intended for a client cannot be sent there: MY-001146 - Table does not exist"), code.Integrity, "MY-013129"},
		{said("MY-013589", "InnoDB", "Scanned file './aux@@@/t.ibd' for tablespace aux/t cannot be opened because it is not in a sub-directory named for the schema."), code.Done, ""},
		{said("MY-013129", "Server", "A message intended for a client cannot be sent there: MY-001126 - Can't open shared library 'c.so'"), code.Done, ""},
		{said("MY-013129", "Server", "A message intended for a client cannot be sent there: MY-003529 - Cannot load component from specified URN"), code.Done, ""},
		{said("MY-010901", "Server", "Can't open shared library 'x.so' (errno: 2)."), code.Done, ""},
		{said("MY-010544", "Repl", "Failed to open the relay log './relay.000002' (relay_log_pos 4)."), code.Done, ""},
		{said("MY-010529", "Repl", "Failed to create or recover replication info repositories."), code.Done, ""},
		{strings.Replace(said("MY-012592", "InnoDB", "a warning is none"), "ERROR", "Warning", 1), code.Done, ""},
	} {
		r, err := verdict(t, append([]string{c.line}, lines...), 0, end)
		if code.Of(err) != c.code || err != nil && !strings.Contains(err.Error(), c.extra) {
			t.Errorf("%s: got code %d of %v, want %d", c.line, code.Of(err), err, c.code)
		}
		if told := strings.Contains(strings.Join(r.Errors, "\n"), c.line[len(c.line)-20:]); told != strings.Contains(c.line, "[ERROR]") {
			t.Errorf("%s: told among the errors: %v", c.line, told)
		}
	}
}

// A server is let work until it has rolled back what was not committed; one that ends before it did is not believed.
func TestVerdictOnTheRollback(t *testing.T) {
	const (
		undo  = "2 transaction(s) which must be rolled back or cleaned up in total 7 row operations to undo"
		began = "Starting in background the rollback of uncommitted transactions"
		cut   = "Rollback of uncommitted transactions was not completed"
		done  = "Rollback of non-prepared transactions completed"
	)
	for name, c := range map[string]struct {
		undo, working string
		code          code.Code
		left          string // transactions, when it was asked, and they stay; "" is 2 that are rolled back later
	}{
		"it takes a while":      {undo, note("MY-013014", began), code.Done, ""},
		"it begins late":        {undo, "", code.Done, ""},
		"it ends in the middle": {undo, note("MY-013014", began) + "'; echo '" + note("MY-013608", cut) + "'; shutdown; echo '", code.Unclassified, ""},
		"it says no more":       {undo, note("MY-013014", began) + "'; shutdown; echo '", code.Unclassified, ""},
		"nothing to roll back":  {strings.Replace(undo, "total 7", "total 0", 1), "'; wait; echo '", code.Done, "0"},
		"only DDL, before it was asked, and not announced": {undo, "", code.Done, "0"},
		"all are prepared transactions of clients":         {undo + "'; echo '" + note("MY-010225", "Found 2 prepared XA transactions"), "", code.Done, " 2"},
	} {
		t.Run(name, func(t *testing.T) {
			dir, toldCut := t.TempDir(), ""
			if c.left == "" {
				toldCut = "echo '" + note("MY-013608", cut) + "'; "
			}
			bin := filepath.Join(dir, "mysqld")
			write(t, bin, "#!/bin/bash\nfor a; do case $a in --secure-file-priv=*) cd \"${a#*=}\";; esac; done\n"+
				": >tablespaces; echo "+cmp.Or(c.left, "2")+" >unresolved; echo >gtid_executed\n"+
				"shutdown() { echo '"+note("MY-012980", "Shutdown completed; log sequence number 9000")+"'; exit 0; }\n"+
				"trap \""+toldCut+"shutdown\" TERM\n"+
				"echo '"+note("MY-013883", "The latest found checkpoint is at lsn = 8704 in redo log file x.")+"'\n"+
				"echo '"+note("MY-013023", c.undo)+"'\n"+
				"echo '"+note("MY-010138", "Execution of init_file 'x' ended.")+"'\n"+
				"sleep 0.5\necho '"+c.working+"'\nsleep 0.5\n"+
				"trap shutdown TERM\necho '"+note("MY-013014", began)+"'\necho '"+note("MY-013015", done)+"'\n"+
				"while :; do sleep 0.1; done\n", 0o755)
			_, err := mysqld.Recover(t.Context(), mysqld.RecoverOptions{Bin: bin, DataDir: dir, Home: filepath.Join(dir, "home"), EndLSN: 8704})
			if code.Of(err) != c.code || err != nil && !strings.Contains(err.Error(), "before it had rolled back") {
				t.Errorf("got code %d of %v, want %d", code.Of(err), err, c.code)
			}
		})
	}
}

func said(code, subsystem, text string) string {
	return "2026-01-02T03:04:05.678901Z 1 [ERROR] [" + code + "] [" + subsystem + "] " + text
}

// verdict lets Recover read a log as if a server had written it.
func verdict(t *testing.T, lines []string, start, end uint64) (mysqld.RecoverResult, error) {
	t.Helper()
	dir := t.TempDir()
	log, bin := filepath.Join(dir, "log"), filepath.Join(dir, "mysqld")
	if err := os.WriteFile(log, []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	// It answers as one that has no tablespaces and executed nothing.
	write(t, bin, "#!/bin/sh\nfor a; do case $a in --secure-file-priv=*) cd \"${a#*=}\";; esac; done\n"+
		"trap '' TERM; : >tablespaces; echo >gtid_executed; cat '"+log+"'\n", 0o755)
	return mysqld.Recover(t.Context(), mysqld.RecoverOptions{Bin: bin, DataDir: dir, Home: filepath.Join(dir, "home"), StartLSN: start, EndLSN: end})
}
