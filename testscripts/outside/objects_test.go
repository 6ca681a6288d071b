package outside

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/remora-backup/remora/core/mysqld/lab"
)

func sorted[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// object is what is made in a schema before the backup. What the server does not allow with
// this page size or these settings is left out.
type object struct {
	create string
	fill   []string
}

// schemas are names that are taken for something else. One called ibtmp1 is not among them: no
// server starts on its directory but with another innodb_temp_data_file_path, with which it is
// there always.
var schemas = []string{
	"shop", "mytmp", "aux", "con", "#x", "größe", "a.b", "lost+found", "-dash", "undo_001", "#innodb_redo2", ".hidden", "ib_logfile0", "binlog", "auto.cnf",
	"日本", "@at", "mysql2", "sys_", "performance_schema_", "#innodb_temp2", "#sql", "mysqld-auto", "ib_buffer_pool", "a b", "xtrabackup_info", "remora",
}

// tables likewise.
var tables = []string{"t", "orders", "T2", "größe", "a/b", "x.y", "#sql-ib1", "index", "p#p#p0", "aux", "mysql", "ibdata1", "日本", "$", "`q`", "tmp", "#mysql50#x"}

// engines are endings of CREATE TABLE, some with directories.
var engines = []string{
	"ENGINE=InnoDB", "ENGINE=InnoDB", "ENGINE=InnoDB", "ENGINE=InnoDB ROW_FORMAT=COMPACT", "ENGINE=InnoDB ROW_FORMAT=REDUNDANT", "ENGINE=InnoDB ROW_FORMAT=COMPRESSED KEY_BLOCK_SIZE=4",
	"ENGINE=InnoDB COMPRESSION='zlib'", "ENGINE=InnoDB COMPRESSION='lz4'", "ENGINE=InnoDB DATA DIRECTORY='OUT/ext'", "ENGINE=InnoDB TABLESPACE=general", "ENGINE=InnoDB TABLESPACE=innodb_system",
	"ENGINE=InnoDB PARTITION BY HASH (id) PARTITIONS 5", "ENGINE=InnoDB PARTITION BY RANGE (id) (PARTITION p0 VALUES LESS THAN (50) DATA DIRECTORY='OUT/ext', PARTITION p1 VALUES LESS THAN MAXVALUE)",
	"ENGINE=MyISAM", "ENGINE=MyISAM", "ENGINE=MyISAM DATA DIRECTORY='OUT/ext' INDEX DIRECTORY='OUT/ext'", "ENGINE=MyISAM DELAY_KEY_WRITE=1", "ENGINE=ARCHIVE", "ENGINE=MEMORY", "ENGINE=BLACKHOLE",
}

func (d *draw) drawObjects() {
	ends := engines
	if d.keyring {
		ends = append(slices.Clone(engines), "ENGINE=InnoDB ENCRYPTION='Y'", "ENGINE=InnoDB ENCRYPTION='Y' COMPRESSION='zlib'", "ENGINE=InnoDB ENCRYPTION='Y' TABLESPACE=secret", "ENGINE=InnoDB ENCRYPTION='Y' DATA DIRECTORY='OUT/ext'")
		d.add(object{create: "CREATE TABLESPACE secret ADD DATAFILE 'secret.ibd' ENCRYPTION='Y'"})
	}
	d.add(object{create: "CREATE TABLESPACE general ADD DATAFILE " + pick(d.r, []string{"'general.ibd'", "'OUT/ext/general.ibd'"})})
	if d.chance(30) {
		d.add(object{create: "CREATE UNDO TABLESPACE more ADD DATAFILE " + pick(d.r, []string{"'more.ibu'", "'OUT/ext/more.ibu'"})})
	}
	most := 5
	if d.small {
		most = 2
	}
	for _, s := range some(d.r, schemas, 1+d.r.IntN(most)) {
		d.add(object{create: "CREATE DATABASE " + lab.Quote(s)})
		for _, name := range some(d.r, tables, 1+d.r.IntN(most)) {
			d.table(s, name, pick(d.r, ends))
		}
		d.extras(s)
	}
	if slices.ContainsFunc(d.args, func(a string) bool { return strings.HasPrefix(a, "--innodb-temp-data-file-path=mytmp") }) {
		d.add(object{create: "CREATE DATABASE ibtmp1"})
		d.add(object{create: "CREATE TABLE ibtmp1.ibtmp1 (id INT PRIMARY KEY) ENGINE=InnoDB", fill: []string{"INSERT INTO ibtmp1.ibtmp1 VALUES (1), (2)"}})
	}
	for _, s := range []string{"mysql", "sys"} {
		if d.chance(20) {
			d.table(s, "audit_of_ours", pick(d.r, []string{"ENGINE=MyISAM", "ENGINE=InnoDB", "ENGINE=CSV", "ENGINE=ARCHIVE"}))
		}
	}
}

func (d *draw) add(o object) { d.objects = append(d.objects, o) }

// table is one of an engine, with what this engine can.
func (d *draw) table(schema, name, end string) {
	full := lab.Quote(schema) + "." + lab.Quote(name)
	columns := "id INT NOT NULL, v VARCHAR(200) NOT NULL, b BLOB NOT NULL"
	switch {
	case strings.Contains(end, "CSV"), strings.Contains(end, "ARCHIVE"):
	case strings.Contains(end, "MEMORY"):
		columns = "id INT NOT NULL PRIMARY KEY, v VARCHAR(200) NOT NULL, b VARBINARY(500) NOT NULL"
	default:
		columns = "id INT NOT NULL AUTO_INCREMENT PRIMARY KEY, v VARCHAR(200) NOT NULL, b BLOB NOT NULL, KEY v (v(60))"
		if strings.Contains(end, "InnoDB") && !strings.Contains(end, "PARTITION") && d.chance(20) {
			columns += pick(d.r, []string{", FULLTEXT KEY f (v)", ", g INT AS (LENGTH(v)) STORED, KEY g (g)", ", j JSON", ", UNIQUE KEY u (id, v)"})
		}
	}
	rows := pick(d.r, []int{0, 1, 90, 900, 4000})
	o := object{create: fmt.Sprintf("CREATE TABLE %s (%s) %s", full, columns, end)}
	if rows > 0 {
		o.fill = append(o.fill, fmt.Sprintf("INSERT INTO %s (id, v, b) SELECT i, REPEAT(SHA2(i, 224), 3), REPEAT(SHA2(i, 256), 1 + i %% 10) FROM outside_numbers.n WHERE i <= %d", full, rows))
	}
	if strings.Contains(end, "InnoDB") && d.chance(15) {
		o.fill = append(o.fill, "ALTER TABLE "+full+" ADD COLUMN late INT DEFAULT 7, ALGORITHM=INSTANT", "UPDATE "+full+" SET late = 8 WHERE id % 3 = 0")
	}
	d.add(o)
}

// extras are what a schema has beside tables.
func (d *draw) extras(s string) {
	q := lab.Quote(s)
	all := []object{
		{"CREATE TABLE " + q + ".csv_ (id INT NOT NULL, v VARCHAR(200) NOT NULL) ENGINE=CSV", []string{"INSERT INTO " + q + ".csv_ SELECT i, SHA2(i, 224) FROM outside_numbers.n WHERE i < 500"}},
		{"CREATE TABLE " + q + ".m1 (id INT NOT NULL, KEY(id)) ENGINE=MyISAM", []string{"INSERT INTO " + q + ".m1 VALUES (1), (2)", "CREATE TABLE " + q + ".m2 LIKE " + q + ".m1", "CREATE TABLE " + q + ".merged (id INT NOT NULL, KEY(id)) ENGINE=MERGE UNION=(" + q + ".m1, " + q + ".m2) INSERT_METHOD=LAST", "INSERT INTO " + q + ".merged VALUES (3)"}},
		{"CREATE VIEW " + q + ".`a view` AS SELECT 1 AS one", nil},
		{"CREATE PROCEDURE " + q + ".p() SELECT 'ü'", nil},
		{"CREATE FUNCTION " + q + ".f() RETURNS INT DETERMINISTIC RETURN 7", nil},
		{"CREATE EVENT " + q + ".e ON SCHEDULE EVERY 1 YEAR STARTS '2035-01-01' DO SELECT 1", nil},
		{"CREATE TABLE " + q + ".parent (id INT PRIMARY KEY) ENGINE=InnoDB", []string{"CREATE TABLE " + q + ".child (id INT PRIMARY KEY, FOREIGN KEY (id) REFERENCES " + q + ".parent (id)) ENGINE=InnoDB", "INSERT INTO " + q + ".parent VALUES (1)", "INSERT INTO " + q + ".child VALUES (1)", "CREATE TRIGGER " + q + ".trg BEFORE INSERT ON " + q + ".parent FOR EACH ROW SET NEW.id = NEW.id"}},
		{"CREATE USER 'u" + fmt.Sprint(d.r.IntN(1000)) + "'@'%' IDENTIFIED BY 'x'", nil},
	}
	for _, o := range some(d.r, all, d.r.IntN(5)) {
		d.add(o)
	}
}
