package mysqld

import (
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Answers is what a recovered server says of itself before it ends.
type Answers struct {
	GTIDExecuted string // @@GLOBAL.gtid_executed, in one line
	Tablespaces  []Tablespace
}

// Tablespace is one that the server knows. The system tablespace is not among them.
type Tablespace struct {
	Space uint32
	Name  string // as in INFORMATION_SCHEMA.INNODB_TABLESPACES
	State string // normal, or for undo active, inactive or empty; else it is not whole
	Size  int64  // of its file, bytes; 0 if the server finds none
}

// The files of the answers.
const (
	gtidName   = "gtid_executed"
	spacesName = "tablespaces"
	// unresolvedName has how many transactions that the recovery found are left. Those of sessions
	// that only read have ids from 2^48 on.
	unresolvedName = "unresolved"
)

// questions is an init-file whose answers the server writes to files in dir. It reads only: a recovering server must
// not write a transaction of its own. Text is in hex, so that no name can break a line.
func questions(dir string) string {
	into := func(name string) string {
		path := strings.NewReplacer(`\`, `\\`, `'`, `''`).Replace(filepath.Join(dir, name))
		return " INTO OUTFILE '" + path + `' FIELDS TERMINATED BY '\t' ESCAPED BY '' LINES TERMINATED BY '\n';` + "\n"
	}
	return "SET SESSION sql_mode = '', sql_select_limit = 18446744073709551615, max_execution_time = 0, autocommit = ON;\n" +
		"SELECT space, HEX(name), HEX(IFNULL(state, '')), IFNULL(file_size, 0) FROM information_schema.innodb_tablespaces" + into(spacesName) +
		"SELECT COUNT(*) FROM information_schema.innodb_trx WHERE trx_mysql_thread_id = 0 AND trx_id < 281474976710656" + into(unresolvedName) +
		"SELECT HEX(@@GLOBAL.gtid_executed)" + into(gtidName) // last; see answered
}

// readAnswers reads what the server wrote.
func readAnswers(dir string) (a Answers, err error) {
	gtids, err := answer(dir, gtidName, 1)
	if err != nil {
		return a, err
	}
	if len(gtids) != 1 {
		return a, fmt.Errorf("it gave %d values of gtid_executed", len(gtids))
	}
	text, err := hex.DecodeString(gtids[0][0])
	if err != nil {
		return a, fmt.Errorf("read its gtid_executed: %w", err)
	}
	a.GTIDExecuted = strings.ReplaceAll(string(text), "\n", "")
	spaces, err := answer(dir, spacesName, 4)
	if err != nil {
		return a, err
	}
	for _, f := range spaces {
		space, err1 := strconv.ParseUint(f[0], 10, 32)
		name, err2 := hex.DecodeString(f[1])
		state, err3 := hex.DecodeString(f[2])
		size, err4 := strconv.ParseInt(f[3], 10, 64)
		if err := errors.Join(err1, err2, err3, err4); err != nil {
			return a, fmt.Errorf("read its list of tablespaces: %w", err)
		}
		a.Tablespaces = append(a.Tablespaces, Tablespace{Space: uint32(space), Name: string(name), State: string(state), Size: size})
	}
	return a, nil
}

// answer returns the lines of one file, each of so many fields.
func answer(dir, name string, fields int) (lines [][]string, err error) {
	b, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		return nil, fmt.Errorf("read what it says of %s: %w", name, err)
	}
	for line := range strings.Lines(string(b)) {
		f := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		if len(f) != fields {
			return nil, fmt.Errorf("read what it says of %s: a line of %d fields, want %d", name, len(f), fields)
		}
		lines = append(lines, f)
	}
	return lines, nil
}
