package workload

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync/atomic"

	"github.com/go-sql-driver/mysql"
	"golang.org/x/sync/errgroup"
)

// ddlKinds are statements that change which files a server has, or what is in them
// without a trace in the redo. Each works in the schema of one writer, s, whose tables t0 to
// t9 may or may not exist: an error that says so is part of the load.
var ddlKinds = []struct {
	name string
	make func(r *rand.Rand, s string) []string
}{
	{"create", func(r *rand.Rand, s string) []string {
		return []string{fmt.Sprintf("CREATE TABLE %s (id INT PRIMARY KEY AUTO_INCREMENT, a INT, v VARCHAR(200))", table(r, s))}
	}},
	{"create as select", func(r *rand.Rand, s string) []string {
		return []string{fmt.Sprintf("CREATE TABLE %s (id INT PRIMARY KEY AUTO_INCREMENT, a INT, v VARCHAR(200)) SELECT k AS a, c AS v FROM %s LIMIT 2000", table(r, s), BigTable(1))}
	}},
	{"create redundant", func(r *rand.Rand, s string) []string {
		return []string{fmt.Sprintf("CREATE TABLE %s (id INT PRIMARY KEY AUTO_INCREMENT, a INT, v VARCHAR(200)) ROW_FORMAT=REDUNDANT", table(r, s))}
	}},
	{"create compressed", func(r *rand.Rand, s string) []string {
		return []string{fmt.Sprintf("CREATE TABLE %s (id INT PRIMARY KEY AUTO_INCREMENT, a INT, v VARCHAR(200)) ROW_FORMAT=COMPRESSED KEY_BLOCK_SIZE=4", table(r, s))}
	}},
	{"create partitioned", func(r *rand.Rand, s string) []string {
		return []string{fmt.Sprintf("CREATE TABLE %s (id INT PRIMARY KEY AUTO_INCREMENT, a INT, v VARCHAR(200)) PARTITION BY HASH (id) PARTITIONS 3", table(r, s))}
	}},
	{"create fulltext", func(r *rand.Rand, s string) []string {
		return []string{fmt.Sprintf("CREATE TABLE %s (id INT PRIMARY KEY AUTO_INCREMENT, a INT, v VARCHAR(200), FULLTEXT (v))", table(r, s))}
	}},
	{"create like", func(r *rand.Rand, s string) []string {
		return []string{fmt.Sprintf("CREATE TABLE %s LIKE %s", table(r, s), table(r, s))}
	}},
	{"drop", func(r *rand.Rand, s string) []string { return []string{"DROP TABLE " + table(r, s)} }},
	{"drop and create", func(r *rand.Rand, s string) []string {
		t := table(r, s)
		return []string{"DROP TABLE " + t, "CREATE TABLE " + t + " (id INT PRIMARY KEY AUTO_INCREMENT, a INT, v VARCHAR(200))"}
	}},
	{"rename", func(r *rand.Rand, s string) []string {
		return []string{fmt.Sprintf("RENAME TABLE %s TO %s", table(r, s), table(r, s))}
	}},
	{"swap", func(r *rand.Rand, s string) []string {
		a, b := table(r, s), table(r, s)
		return []string{fmt.Sprintf("RENAME TABLE %s TO %s.swap, %s TO %s, %s.swap TO %s", a, s, b, a, s, b)}
	}},
	{"rename to other schema", func(r *rand.Rand, s string) []string {
		return []string{fmt.Sprintf("RENAME TABLE %s TO `%s`.`t%d`", table(r, s), s[1:len(s)-1]+"_far", r.IntN(10))}
	}},
	{"rename back", func(r *rand.Rand, s string) []string {
		return []string{fmt.Sprintf("RENAME TABLE `%s`.`t%d` TO %s", s[1:len(s)-1]+"_far", r.IntN(10), table(r, s))}
	}},
	{"truncate", func(r *rand.Rand, s string) []string { return []string{"TRUNCATE TABLE " + table(r, s)} }},
	{"add index", func(r *rand.Rand, s string) []string {
		return []string{fmt.Sprintf("ALTER TABLE %s ADD INDEX i%d (a, v(20)), ALGORITHM=INPLACE", table(r, s), r.IntN(3))}
	}},
	{"drop index", func(r *rand.Rand, s string) []string {
		return []string{fmt.Sprintf("ALTER TABLE %s DROP INDEX i%d", table(r, s), r.IntN(3))}
	}},
	{"add column instant", func(r *rand.Rand, s string) []string {
		return []string{fmt.Sprintf("ALTER TABLE %s ADD COLUMN c%d INT DEFAULT 7, ALGORITHM=INSTANT", table(r, s), r.IntN(5))}
	}},
	{"drop column instant", func(r *rand.Rand, s string) []string {
		return []string{fmt.Sprintf("ALTER TABLE %s DROP COLUMN c%d, ALGORITHM=INSTANT", table(r, s), r.IntN(5))}
	}},
	{"add column rebuild", func(r *rand.Rand, s string) []string {
		return []string{fmt.Sprintf("ALTER TABLE %s ADD COLUMN c%d INT DEFAULT 8, ALGORITHM=INPLACE", table(r, s), r.IntN(5))}
	}},
	{"rebuild", func(r *rand.Rand, s string) []string { return []string{"ALTER TABLE " + table(r, s) + " FORCE"} }},
	{"copy", func(r *rand.Rand, s string) []string {
		return []string{"ALTER TABLE " + table(r, s) + " FORCE, ALGORITHM=COPY"}
	}},
	{"optimize", func(r *rand.Rand, s string) []string { return []string{"OPTIMIZE TABLE " + table(r, s)} }},
	{"row format", func(r *rand.Rand, s string) []string {
		f := []string{"DYNAMIC", "COMPACT", "REDUNDANT", "COMPRESSED"}[r.IntN(4)]
		return []string{fmt.Sprintf("ALTER TABLE %s ROW_FORMAT=%s", table(r, s), f)}
	}},
	{"partition truncate", func(r *rand.Rand, s string) []string {
		return []string{fmt.Sprintf("ALTER TABLE %s TRUNCATE PARTITION p%d", table(r, s), r.IntN(3))}
	}},
	{"partition exchange", func(r *rand.Rand, s string) []string {
		return []string{fmt.Sprintf("ALTER TABLE %s EXCHANGE PARTITION p%d WITH TABLE %s", table(r, s), r.IntN(3), table(r, s))}
	}},
	{"partition reorganize", func(r *rand.Rand, s string) []string {
		return []string{fmt.Sprintf("ALTER TABLE %s %s", table(r, s), []string{"ADD PARTITION PARTITIONS 1", "COALESCE PARTITION 1", "REMOVE PARTITIONING"}[r.IntN(3)])}
	}},
	{"add fulltext", func(r *rand.Rand, s string) []string {
		return []string{fmt.Sprintf("ALTER TABLE %s ADD FULLTEXT INDEX ft (v)", table(r, s))}
	}},
	{"page compression", func(r *rand.Rand, s string) []string {
		return []string{fmt.Sprintf("ALTER TABLE %s COMPRESSION='zlib'", table(r, s)), "OPTIMIZE TABLE " + table(r, s)}
	}},
	{"move to general tablespace", func(r *rand.Rand, s string) []string {
		n := s[1 : len(s)-1]
		return []string{
			fmt.Sprintf("CREATE TABLESPACE `ts_%s` ADD DATAFILE 'ts_%s.ibd'", n, n),
			fmt.Sprintf("ALTER TABLE %s TABLESPACE `ts_%s`", table(r, s), n),
		}
	}},
	{"move out of it", func(r *rand.Rand, s string) []string {
		return []string{
			fmt.Sprintf("ALTER TABLE %s TABLESPACE `innodb_file_per_table`", table(r, s)),
			fmt.Sprintf("DROP TABLESPACE `ts_%s`", s[1:len(s)-1]),
		}
	}},
	{"system tablespace", func(r *rand.Rand, s string) []string {
		t := table(r, s)
		return []string{"ALTER TABLE " + t + " TABLESPACE `innodb_system`", "ALTER TABLE " + t + " ADD INDEX i1 (a), ALGORITHM=INPLACE"}
	}},
	{"schema", func(r *rand.Rand, s string) []string {
		n := s[1:len(s)-1] + "_gone"
		return []string{
			fmt.Sprintf("CREATE DATABASE `%s`", n), fmt.Sprintf("CREATE TABLE `%s`.x (id INT PRIMARY KEY)", n),
			[]string{fmt.Sprintf("DROP DATABASE `%s`", n), "SELECT 1"}[r.IntN(2)],
		}
	}},
	{"drop schema", func(r *rand.Rand, s string) []string {
		return []string{fmt.Sprintf("DROP DATABASE `%s`", s[1:len(s)-1]+"_gone")}
	}},
	{"undo tablespace", func(r *rand.Rand, s string) []string {
		n := s[1 : len(s)-1]
		return []string{fmt.Sprintf("CREATE UNDO TABLESPACE `undo_%s` ADD DATAFILE 'undo_%s.ibu'", n, n)}
	}},
	{"undo tablespace inactive", func(r *rand.Rand, s string) []string {
		return []string{fmt.Sprintf("ALTER UNDO TABLESPACE `undo_%s` SET %s", s[1:len(s)-1], []string{"INACTIVE", "ACTIVE"}[r.IntN(2)])}
	}},
	{"undo tablespace drop", func(r *rand.Rand, s string) []string {
		return []string{fmt.Sprintf("DROP UNDO TABLESPACE `undo_%s`", s[1:len(s)-1])}
	}},
	{"user", func(r *rand.Rand, s string) []string {
		n := s[1:len(s)-1] + "_user"
		return []string{fmt.Sprintf("CREATE USER IF NOT EXISTS '%s'@'localhost'", n), fmt.Sprintf("DROP USER '%s'@'localhost'", n)}
	}},
	{"view and routine", func(r *rand.Rand, s string) []string {
		return []string{
			fmt.Sprintf("CREATE OR REPLACE VIEW %s.`seen` AS SELECT 1 AS one", s),
			fmt.Sprintf("DROP FUNCTION IF EXISTS %s.`f`", s), fmt.Sprintf("CREATE FUNCTION %s.`f`() RETURNS INT DETERMINISTIC RETURN %d", s, r.IntN(100)),
		}
	}},
}

func table(r *rand.Rand, schema string) string { return fmt.Sprintf("%s.`t%d`", schema, r.IntN(10)) }

// Altered counts what the DDL writers did.
type Altered struct {
	Done    atomic.Int64 // statements that succeeded
	Refused atomic.Int64 // statements that the server refused, as for a table that is not there
}

// PrepareAlter creates the schemas of n DDL writers.
func PrepareAlter(ctx context.Context, db *sql.DB, n int) error {
	for i := range n {
		for _, s := range []string{schemaOf(i), schemaOf(i)[:len(schemaOf(i))-1] + "_far`"} {
			if _, err := db.ExecContext(ctx, "CREATE DATABASE "+s); err != nil {
				return fmt.Errorf("create %s: %w", s, err)
			}
		}
	}
	return nil
}

func schemaOf(i int) string { return fmt.Sprintf("`ddl%d`", i) }

// Alter keeps n sessions changing definitions until ctx ends; between the statements they
// write rows into their tables. PrepareAlter must have been called.
func Alter(ctx context.Context, db *sql.DB, n int, seed int64, a *Altered) error {
	g, gctx := errgroup.WithContext(ctx)
	for i := range n {
		g.Go(func() error {
			r := rand.New(rand.NewPCG(uint64(seed)+2, uint64(i)))
			for gctx.Err() == nil {
				if err := alterOnce(gctx, db, r, schemaOf(i), a); err != nil && gctx.Err() == nil {
					return fmt.Errorf("DDL writer %d: %w", i, err)
				}
			}
			return nil
		})
	}
	return g.Wait()
}

func alterOnce(ctx context.Context, db *sql.DB, r *rand.Rand, schema string, a *Altered) error {
	kind := ddlKinds[r.IntN(len(ddlKinds))]
	statements := kind.make(r, schema)
	for range 2 {
		statements = append(statements, fmt.Sprintf("INSERT INTO %s (a, v) VALUES (%d, '%s'), (%d, '%s')",
			table(r, schema), r.IntN(100), words(r, 6), r.IntN(100), words(r, 6)))
	}
	for _, s := range statements {
		_, err := db.ExecContext(ctx, s)
		var refused *mysql.MySQLError
		switch {
		case err == nil:
			a.Done.Add(1)
		case errors.As(err, &refused):
			a.Refused.Add(1)
		default:
			return fmt.Errorf("%s: %.100s: %w", kind.name, s, err)
		}
	}
	return nil
}
