package backup_test

import (
	"testing"

	"github.com/remora-backup/remora/core/mysqld/mysqldtest"
	"github.com/remora-backup/remora/core/needs"
	"github.com/remora-backup/remora/core/syncpoint"
)

// encryptions are changes of what is encrypted; out is a directory the server knows.
func encryptions(out string) []scenario {
	return []scenario{
		{name: "one table on, another off", xb: "11", setup: flat(table("{s}.t", 300, ""), table("{s}.u", 300, "ENCRYPTION='Y'"), table("{s}.w", 2000, "ENCRYPTION='Y'")),
			ddl: []string{"ALTER TABLE {s}.t ENCRYPTION='Y'", "ALTER TABLE {s}.u ENCRYPTION='N'", fill("{s}.t", 20), fill("{s}.u", 20), "UPDATE {s}.w SET a = a + 1", "ALTER TABLE {s}.w ADD INDEX (a)"}},
		{name: "on, off, on", xb: "8", setup: table("{s}.t", 300, "ENCRYPTION='Y'"),
			ddl: []string{"ALTER TABLE {s}.t ENCRYPTION='N'", "ALTER TABLE {s}.t ENCRYPTION='Y'", "ALTER TABLE {s}.t ENCRYPTION='N'", "ALTER TABLE {s}.t ENCRYPTION='Y'", fill("{s}.t", 20)}},
		{name: "general tablespace", xb: "9", setup: flat([]string{"CREATE TABLESPACE {s}g ADD DATAFILE '{s}g.ibd'", "CREATE TABLESPACE {s}h ADD DATAFILE '{s}h.ibd' ENCRYPTION='Y'"},
			table("{s}.t", 3000, "TABLESPACE {s}g"), table("{s}.u", 3000, "TABLESPACE {s}h ENCRYPTION='Y'")),
			ddl: []string{"ALTER TABLESPACE {s}g ENCRYPTION='Y'", "ALTER TABLESPACE {s}h ENCRYPTION='N'", fill("{s}.t", 20), fill("{s}.u", 20)}},
		{name: "outside of the data directory", xb: "10", setup: flat([]string{"CREATE TABLESPACE {s}g ADD DATAFILE '" + out + "/{s}g.ibd'"}, table("{s}.t", 1000, "TABLESPACE {s}g"), table("{s}.u", 300, "DATA DIRECTORY='"+out+"' ENCRYPTION='Y'")),
			ddl: []string{"ALTER TABLESPACE {s}g ENCRYPTION='Y'", fill("{s}.t", 20), "ALTER TABLE {s}.u ENCRYPTION='N'", fill("{s}.u", 20)}},
		{name: "the dictionary, and the master key", xb: "7", setup: table("{s}.t", 300, "ENCRYPTION='Y'"),
			ddl: flat([]string{"ALTER TABLESPACE mysql ENCRYPTION='Y'", "ALTER INSTANCE ROTATE INNODB MASTER KEY", fill("{s}.t", 20)}, table("{s}.n", 30, "ENCRYPTION='Y'"), []string{"ALTER INSTANCE ROTATE INNODB MASTER KEY", fill("{s}.n", 20)})},
		{name: "dropped", xb: "33", setup: table("{s}.t", 300, "ENCRYPTION='Y'"), ddl: []string{"DROP TABLE {s}.t"}, reuse: []string{"CREATE TABLE {s}.t (i INT) ENCRYPTION='Y'"}},
	}
}

// TestEncryption changes what is encrypted, and the master key, while a backup is held.
func TestEncryption(t *testing.T) {
	needs.Server(t)
	for _, at := range []struct {
		point syncpoint.Point
		nth   int
	}{{syncpoint.CopyDiscovered, 1}, {syncpoint.CopyFileDone, 6}, {syncpoint.LockBefore, 1}} {
		t.Run(string(at.point), func(t *testing.T) {
			out := t.TempDir()
			bin, _ := mysqldtest.Keyring(t)
			l := newLab(t, mysqldtest.Bin(bin), mysqldtest.Args("--innodb-undo-log-encrypt=ON", "--innodb-directories="+out))
			res := l.runScenarios(at.point, at.nth, encryptions(out))
			l.sameWith(bin, res)
		})
	}
}
