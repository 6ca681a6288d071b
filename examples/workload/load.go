// Package workload fills a server with data and keeps it busy.
//
// The quickstart, the benchmark and the tests use it. The tables are of every kind that
// lies differently on disk, in several schemas, some with names that need care; most of the
// bytes are in tables of the shape that sysbench made common.
package workload

import (
	"context"
	"database/sql"
	"fmt"
	"math/rand/v2"
	"strings"

	"golang.org/x/sync/errgroup"
)

// Options say how much to load.
type Options struct {
	Tables int   // big tables, at least 1
	Rows   int   // of each big table; about 210 bytes of plain data a row
	Seed   int64 // of what is random
	Plain  bool  // big tables only
}

// BigTable returns the name of big table n, from 1 on, quoted.
func BigTable(n int) string { return fmt.Sprintf("`bench`.`sbtest%d`", n) }

// shapes are tables and schemas of kinds that differ on disk or in their names.
var shapes = []string{
	"CREATE DATABASE `shop`",
	"CREATE DATABASE `nothing here`",
	"CREATE DATABASE `a.b-c`",
	"CREATE DATABASE `größe`",
	"CREATE TABLE `shop`.`orders` (id BIGINT PRIMARY KEY AUTO_INCREMENT, customer INT NOT NULL, total DECIMAL(10,2), note VARCHAR(200), placed TIMESTAMP DEFAULT CURRENT_TIMESTAMP, KEY (customer)) ROW_FORMAT=DYNAMIC",
	"CREATE TABLE `shop`.`items` (id BIGINT PRIMARY KEY AUTO_INCREMENT, order_id BIGINT NOT NULL, name VARCHAR(100), FOREIGN KEY (order_id) REFERENCES `shop`.`orders` (id) ON DELETE CASCADE) ROW_FORMAT=COMPACT",
	"CREATE TABLE `shop`.`select` (`from` INT PRIMARY KEY AUTO_INCREMENT, `where` VARCHAR(100)) ROW_FORMAT=REDUNDANT",
	"CREATE TABLE `shop`.`packed` (id INT PRIMARY KEY AUTO_INCREMENT, body TEXT) ROW_FORMAT=COMPRESSED KEY_BLOCK_SIZE=8",
	"CREATE TABLE `shop`.`thin` (id INT PRIMARY KEY AUTO_INCREMENT, body TEXT) COMPRESSION='zlib'",
	"CREATE TABLE `shop`.`papers` (id INT PRIMARY KEY AUTO_INCREMENT, body TEXT, FULLTEXT (body))",
	"CREATE TABLE `shop`.`places` (id INT PRIMARY KEY AUTO_INCREMENT, at POINT NOT NULL SRID 0, SPATIAL INDEX (at))",
	"CREATE TABLE `shop`.`documents` (id INT PRIMARY KEY AUTO_INCREMENT, doc JSON, owner VARCHAR(50) AS (doc->>'$.owner') VIRTUAL, KEY (owner))",
	"CREATE TABLE `shop`.`blobs` (id INT PRIMARY KEY AUTO_INCREMENT, data LONGBLOB)",
	"CREATE TABLE `shop`.`years` (id INT AUTO_INCREMENT, y INT, v VARCHAR(50), PRIMARY KEY (id, y)) PARTITION BY RANGE (y) (PARTITION p0 VALUES LESS THAN (2000), PARTITION p1 VALUES LESS THAN (2020), PARTITION `p max` VALUES LESS THAN MAXVALUE)",
	"CREATE TABLE `a.b-c`.`d/e?f` (id INT PRIMARY KEY AUTO_INCREMENT, v VARCHAR(100))",
	"CREATE TABLE `größe`.`straße 東京` (id INT PRIMARY KEY AUTO_INCREMENT, v VARCHAR(100))",
	"CREATE TABLESPACE `shared one` ADD DATAFILE 'shared_one.ibd'",
	"CREATE TABLE `shop`.`guest` (id INT PRIMARY KEY AUTO_INCREMENT, v VARCHAR(100)) TABLESPACE `shared one`",
	"CREATE TABLE `shop`.`tenant` (id INT PRIMARY KEY AUTO_INCREMENT, v VARCHAR(100)) TABLESPACE `innodb_system`",
}

// Load creates the schemas and tables and fills them.
func Load(ctx context.Context, db *sql.DB, o Options) error {
	statements := []string{"CREATE DATABASE `bench`"}
	if !o.Plain {
		statements = append(statements, shapes...)
	}
	for n := range o.Tables {
		statements = append(statements, "CREATE TABLE "+BigTable(n+1)+" (id INT PRIMARY KEY AUTO_INCREMENT, k INT NOT NULL, c CHAR(120) NOT NULL, pad CHAR(60) NOT NULL, KEY (k)) CHARACTER SET latin1")
	}
	for _, s := range statements {
		if _, err := db.ExecContext(ctx, s); err != nil {
			return fmt.Errorf("%.80s: %w", s, err)
		}
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(2)
	for n := range o.Tables {
		g.Go(func() error { return fill(ctx, db, n+1, o) })
	}
	if !o.Plain {
		g.Go(func() error { return fillShapes(ctx, db, o.Seed) })
	}
	return g.Wait()
}

const batch = 1000 // rows of an INSERT

func fill(ctx context.Context, db *sql.DB, table int, o Options) error {
	r := rand.New(rand.NewPCG(uint64(o.Seed), uint64(table)))
	var q strings.Builder
	for done := 0; done < o.Rows; {
		n := min(batch, o.Rows-done)
		q.Reset()
		fmt.Fprintf(&q, "INSERT INTO %s (k, c, pad) VALUES ", BigTable(table))
		for i := range n {
			if i > 0 {
				q.WriteByte(',')
			}
			fmt.Fprintf(&q, "(%d,'", r.IntN(o.Rows)+1)
			digits(&q, r, 10)
			q.WriteString("','")
			digits(&q, r, 5)
			q.WriteString("')")
		}
		if _, err := db.ExecContext(ctx, q.String()); err != nil {
			return fmt.Errorf("fill %s: %w", BigTable(table), err)
		}
		done += n
	}
	return nil
}

// digits writes groups of eleven random digits, as sysbench does.
func digits(q *strings.Builder, r *rand.Rand, groups int) {
	for g := range groups {
		if g > 0 {
			q.WriteByte('-')
		}
		v := r.Uint64()
		for range 11 {
			q.WriteByte('0' + byte(v%10))
			v /= 10
		}
	}
}

func fillShapes(ctx context.Context, db *sql.DB, seed int64) error {
	r := rand.New(rand.NewPCG(uint64(seed), 0))
	for range 200 {
		for _, w := range writes {
			if _, err := db.ExecContext(ctx, w.make(r)); err != nil {
				return fmt.Errorf("fill: %w", err)
			}
		}
	}
	return nil
}
