package mysqld

import (
	"regexp"
	"strconv"
	"strings"
)

// The server's message numbers that a recovery is judged by. Their texts are in the server's
// share/messages_to_error_log.txt; the numbers have been stable since 8.0.
const (
	msgNoCheckpoint     = "MY-012531" // no valid checkpoint found
	msgBatchStart       = "MY-012532"
	msgBatchPercent     = "MY-012533"
	msgBatchPercentSlow = "MY-012534" // the same after ten quiet seconds, with odd numbers: "4.5%", "1e+02%"
	msgBatchEnd         = "MY-012535"
	msgScanned          = "MY-012550" // "scanned up to log sequence number N"
	msgCheckpoint       = "MY-013883" // "latest found checkpoint is at lsn = N in ..."
	msgStarted          = "MY-012976" // "9.7.4 started; log sequence number N": redo is applied
	msgUndo             = "MY-013023" // "N transaction(s) which must be rolled back or cleaned up in total N row operations to undo"
	msgRollback         = "MY-013014" // the rollback of what was not committed begins
	msgRolledBack       = "MY-013015" // it is done
	msgRollbackCut      = "MY-013608" // it was not, as the server shuts down
	msgInnoDBStarted    = "MY-013577" // InnoDB has all its files
	msgPreparedXA       = "MY-010225" // "Found N prepared XA transactions": of clients; the binary log says nothing of them
	msgInitFile         = "MY-010138" // all statements of the init-file were carried out
	msgShutdown         = "MY-012980" // InnoDB: "Shutdown completed; log sequence number N"

	msgNewLog = "MY-012893" // a new, empty redo log was made

	// After this one the server of some versions repeats it for ever.
	msgCorruptRecord = "MY-012519"
)

// fatal messages spoil a recovery even if the server goes on after them, and whatever else it says.
func fatal(code string) bool {
	switch code {
	case msgCorruptRecord,
		"MY-012545", // log block with a bad checksum: the server ends recovery there and starts
		"MY-012562", // pages are newer than the redo log
		"MY-011971", // the same, found later
		"MY-012179", // a tablespace of the redo log is missing
		"MY-012964", // the advice that follows it
		"MY-012930", // InnoDB did not start
		"MY-010119", // server aborts
		msgNoCheckpoint:
		return true
	}
	return false
}

// harmless reports whether an [ERROR] says nothing of the data that is recovered. Everything else that a server calls
// an error fails the recovery: InnoDB leaves out what it cannot open, the undo of a table's transactions among it,
// and starts all the same.
func harmless(m message) bool {
	switch m.code {
	case "MY-013589":
		// A file that is not in its schema's directory. It is said of databases named aux, con, nul and the like,
		// whose directories are named otherwise (aux@@@); their files are found and opened all the same.
		return strings.Contains(m.text, "@@@")
	case "MY-010600", "MY-010605", "MY-010606", "MY-010607", "MY-011059", "MY-013807", "MY-010544", // relay log: not found, not opened
		"MY-010534",                                                     // the same under relay_log_recovery
		"MY-010426", "MY-010427", "MY-010529", "MY-013123", "MY-013124": // a channel cannot begin, for one of those reasons
		// The relay logs of a replica are no part of a backup; where it stood is in the manifest.
		return true
	case "MY-010901":
		// A library of a plugin is not on this machine. One that data needs (a keyring, an engine) is missed again,
		// by who needs it.
		return true
	case "MY-013129":
		// What a client would have been told. Of these only a component whose library is missing is as above.
		return strings.Contains(m.text, "MY-001126") || strings.Contains(m.text, "MY-003529")
	}
	return false
}

// message is one line of the error log in its traditional form.
type message struct {
	level string // Note, Warning, ERROR, System
	code  string // MY-012550
	text  string
}

// Not anchored at the start: while it rolls back, InnoDB prints bare percents ("... 14 15 16") without a line end,
// and the next message follows on the same line.
var logLine = regexp.MustCompile(`\d{4}-\d\d-\d\dT\S+ \d+ \[(\w+)\] \[(MY-\d{6})\] \[\w+\] (.*)$`)

// parseLine reports whether the line is a message; others are continuations, stack traces and the like.
func parseLine(line string) (message, bool) {
	m := logLine.FindStringSubmatch(line)
	if m == nil {
		return message{}, false
	}
	return message{level: m[1], code: m[2], text: m[3]}, true
}

// lsnAfter reads the number that follows a marker in the text.
func (m message) lsnAfter(marker string) (uint64, bool) {
	_, rest, ok := strings.Cut(m.text, marker)
	if !ok {
		return 0, false
	}
	end := 0
	for end < len(rest) && rest[end] >= '0' && rest[end] <= '9' {
		end++
	}
	n, err := strconv.ParseUint(rest[:end], 10, 64)
	return n, err == nil
}

// percent reads the share of a batch, 0 to 1.
func (m message) percent() (float64, bool) {
	f, err := strconv.ParseFloat(strings.TrimSuffix(strings.TrimSpace(m.text), "%"), 64)
	if err != nil || !(f >= 0 && f <= 100) {
		return 0, false
	}
	return f / 100, true
}
