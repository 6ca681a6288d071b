package mysqld

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/remora-backup/remora/core/binlog"
	"github.com/remora-backup/remora/core/code"
)

// Check holds what a recovered server says of itself against a backup: it has executed exactly
// those GTIDs, and knows each of the tablespaces, which are paths by space id, whole. The system
// tablespace and those for undo are not among them.
func (a Answers) Check(gtidExecuted string, tablespaces map[uint32]string) error {
	want, err := binlog.ParseGTIDSet(gtidExecuted)
	if err != nil {
		return code.New(code.Integrity, "read the backup's gtid_executed: %w", err)
	}
	got, err := binlog.ParseGTIDSet(a.GTIDExecuted)
	if err != nil {
		return fmt.Errorf("read the recovered server's gtid_executed: %w", err)
	}
	if !got.ContainsSet(want) || !want.ContainsSet(got) {
		return code.New(code.Integrity, "look at the recovered server: its gtid_executed is %q, the backup's %q", a.GTIDExecuted, gtidExecuted)
	}
	known := make(map[uint32]Tablespace, len(a.Tablespaces))
	for _, s := range a.Tablespaces {
		known[s.Space] = s
	}
	var wrong []string
	for _, id := range slices.SortedFunc(maps.Keys(tablespaces), func(x, y uint32) int { return cmp.Compare(tablespaces[x], tablespaces[y]) }) {
		switch s, ok := known[id]; {
		case !ok:
			wrong = append(wrong, fmt.Sprintf("%s (space %d) is not known to it", tablespaces[id], id))
		case s.State != "normal":
			wrong = append(wrong, fmt.Sprintf("%s (space %d) is %q", tablespaces[id], id, s.State))
		case s.Size == 0:
			wrong = append(wrong, fmt.Sprintf("%s (space %d) has no file", tablespaces[id], id))
		}
	}
	return notWhole(wrong)
}

// Lost returns an error that names the tablespaces which the recovered server knows and finds no
// file of. Those that a user has discarded are not.
func (a Answers) Lost() error {
	var wrong []string
	for _, s := range a.Tablespaces {
		if s.State == "normal" && s.Size == 0 {
			wrong = append(wrong, fmt.Sprintf("%s (space %d) has no file", s.Name, s.Space))
		}
	}
	return notWhole(wrong)
}

func notWhole(wrong []string) error {
	if len(wrong) == 0 {
		return nil
	}
	const most = 5
	text := strings.Join(wrong[:min(len(wrong), most)], "; ")
	if len(wrong) > most {
		text += fmt.Sprintf("; and %d more", len(wrong)-most)
	}
	return code.New(code.Integrity, "look at the recovered server: of the backup's tablespaces %s", text)
}
