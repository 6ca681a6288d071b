package restore

import (
	"fmt"
	"strings"

	"github.com/remora-backup/remora/core/binlog"
	"github.com/remora-backup/remora/core/code"
	"github.com/remora-backup/remora/core/innodb/tablespace"
	"github.com/remora-backup/remora/core/mysqld"
	"github.com/remora-backup/remora/core/repo"
)

// seen holds what the recovered server says of itself against the backup: it has executed
// what the manifest says, and knows each tablespace, whole.
func seen(m *repo.Manifest, t *tree, a mysqld.Answers) error {
	want, err := binlog.ParseGTIDSet(m.GTIDExecuted)
	if err != nil {
		return code.New(code.Integrity, "read the manifest's gtid_executed: %w", err)
	}
	got, err := binlog.ParseGTIDSet(a.GTIDExecuted)
	if err != nil {
		return fmt.Errorf("read the recovered server's gtid_executed: %w", err)
	}
	if !got.ContainsSet(want) || !want.ContainsSet(got) {
		return code.New(code.Integrity, "look at the recovered server: its gtid_executed is %q, the backup's %q", a.GTIDExecuted, m.GTIDExecuted)
	}
	known := make(map[uint32]mysqld.Tablespace, len(a.Tablespaces))
	for _, s := range a.Tablespaces {
		known[s.Space] = s
	}
	var wrong []string
	for _, f := range t.files {
		if f.Kind != repo.KindTablespace || f.SpaceID == 0 || tablespace.IsUndo(f.SpaceID) { // a truncated undo tablespace gets another id
			continue
		}
		switch s, ok := known[f.SpaceID]; {
		case !ok:
			wrong = append(wrong, fmt.Sprintf("%s (space %d) is not known to it", f.Path, f.SpaceID))
		case s.State != "normal":
			wrong = append(wrong, fmt.Sprintf("%s (space %d) is %q", f.Path, f.SpaceID, s.State))
		case s.Size == 0:
			wrong = append(wrong, fmt.Sprintf("%s (space %d) has no file", f.Path, f.SpaceID))
		}
	}
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
