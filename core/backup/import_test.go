package backup_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/remora-backup/remora/core/needs"
	"github.com/remora-backup/remora/core/syncpoint"
)

// TestImport discards and imports tables while a backup is held: one with a file of another
// space id, one that was discarded before the backup began. A third stays discarded. The
// backup begins again, and its phases say so.
func TestImport(t *testing.T) {
	needs.Server(t)
	for at, first := range map[syncpoint.Point]string{
		syncpoint.CopyDiscovered: "following_redo copying_tablespaces catching_up",
		syncpoint.CopyDone:       "following_redo copying_tablespaces catching_up",
		syncpoint.LockBefore:     "following_redo copying_tablespaces catching_up locking",
	} {
		t.Run(string(at), func(t *testing.T) {
			l := newLab(t)
			l.numbers()
			l.source.Exec(flat([]string{"CREATE DATABASE s"}, table("s.t", 300, ""), table("s.u", 33, ""), table("s.w", 20, ""), table("s.d", 20, ""), table("s.early", 20, ""),
				[]string{"ALTER TABLE s.early DISCARD TABLESPACE"})...)
			l.hold(at, 1, l.importTables)
			res, events, err := l.backup()
			if err != nil {
				t.Fatal(err)
			}
			l.allHeld()
			want := "preflight " + first + " following_redo copying_tablespaces catching_up locking sync_point cutting_logs storing_manifest completed"
			if got := strings.Join(phases(events), " "); got != want {
				t.Errorf("phases:\n%s, want\n%s", got, want)
			}
			l.source.Exec("DROP TABLE s.d")
			restored := l.restore()
			l.same(restored, res)
			restored.Exec("CREATE TABLE s.d (i INT)")
		})
	}
}

func (l *lab) importTables() {
	u, w := l.export("u"), l.export("w")
	l.source.Exec("INSERT INTO s.t (a) VALUES (5)", "ALTER TABLE s.t DISCARD TABLESPACE", "ALTER TABLE s.d DISCARD TABLESPACE")
	l.put(u, "t")
	l.put(w, "early")
	l.source.Exec(fill("s.t", 3), fill("s.early", 4))
}

func (l *lab) export(name string) []byte {
	l.t.Helper()
	conn, err := l.source.DB().Conn(l.t.Context())
	if err != nil {
		l.t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.ExecContext(l.t.Context(), "FLUSH TABLES s."+name+" FOR EXPORT"); err != nil {
		l.t.Fatal(err)
	}
	b, err := os.ReadFile(filepath.Join(l.source.Dir, "s", name+".ibd"))
	if err != nil {
		l.t.Fatal(err)
	}
	if _, err := conn.ExecContext(l.t.Context(), "UNLOCK TABLES"); err != nil {
		l.t.Fatal(err)
	}
	return b
}

func (l *lab) put(b []byte, name string) {
	l.t.Helper()
	if err := os.WriteFile(filepath.Join(l.source.Dir, "s", name+".ibd"), b, 0o640); err != nil {
		l.t.Fatal(err)
	}
	l.source.Exec("ALTER TABLE s." + name + " IMPORT TABLESPACE")
}
