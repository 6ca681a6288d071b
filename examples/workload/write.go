package workload

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync/atomic"

	"github.com/go-sql-driver/mysql"
	"golang.org/x/sync/errgroup"
)

// write makes one statement that changes one of the shapes.
type write struct{ make func(r *rand.Rand) string }

func words(r *rand.Rand, n int) string {
	list := []string{"remora", "shark", "redo", "page", "extent", "lock", "undo", "binlog", "prepare", "checkpoint", "purge", "trx"}
	var b strings.Builder
	for i := range n {
		if i > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(list[r.IntN(len(list))])
		if r.IntN(4) == 0 {
			fmt.Fprint(&b, r.IntN(1000))
		}
	}
	return b.String()
}

var writes = []write{
	{func(r *rand.Rand) string {
		return fmt.Sprintf("INSERT INTO shop.orders (customer, total, note) VALUES (%d, %d.%02d, '%s')", r.IntN(5000), r.IntN(900), r.IntN(100), words(r, 8))
	}},
	{func(r *rand.Rand) string {
		return fmt.Sprintf("INSERT INTO shop.items (order_id, name) SELECT id, '%s' FROM shop.orders WHERE customer > %d LIMIT 3", words(r, 3), r.IntN(4000))
	}},
	{func(r *rand.Rand) string {
		return fmt.Sprintf("INSERT INTO shop.`select` (`where`) VALUES ('%s')", words(r, 6))
	}},
	{func(r *rand.Rand) string {
		return fmt.Sprintf("INSERT INTO shop.packed (body) VALUES ('%s')", words(r, 150))
	}},
	{func(r *rand.Rand) string {
		return fmt.Sprintf("INSERT INTO shop.thin (body) VALUES ('%s')", words(r, 150))
	}},
	{func(r *rand.Rand) string {
		return fmt.Sprintf("INSERT INTO shop.papers (body) VALUES ('%s')", words(r, 40))
	}},
	{func(r *rand.Rand) string {
		return fmt.Sprintf("INSERT INTO shop.places (at) VALUES (ST_GeomFromText('POINT(%d %d)'))", r.IntN(1000), r.IntN(1000))
	}},
	{func(r *rand.Rand) string {
		return fmt.Sprintf(`INSERT INTO shop.documents (doc) VALUES ('{"owner": "%s", "size": %d, "text": "%s"}')`, words(r, 1), r.IntN(10000), words(r, 20))
	}},
	{func(r *rand.Rand) string {
		return fmt.Sprintf("INSERT INTO shop.blobs (data) VALUES (REPEAT('%s', %d))", words(r, 4), 10+r.IntN(2000))
	}},
	{func(r *rand.Rand) string {
		return fmt.Sprintf("INSERT INTO shop.years (y, v) VALUES (%d, '%s')", 1990+r.IntN(40), words(r, 3))
	}},
	{func(r *rand.Rand) string {
		return fmt.Sprintf("INSERT INTO `a.b-c`.`d/e?f` (v) VALUES ('%s')", words(r, 8))
	}},
	{func(r *rand.Rand) string {
		return fmt.Sprintf("INSERT INTO `größe`.`straße 東京` (v) VALUES ('%s')", words(r, 8))
	}},
	{func(r *rand.Rand) string {
		return fmt.Sprintf("INSERT INTO shop.guest (v) VALUES ('%s')", words(r, 8))
	}},
	{func(r *rand.Rand) string {
		return fmt.Sprintf("INSERT INTO shop.tenant (v) VALUES ('%s')", words(r, 8))
	}},
	{func(r *rand.Rand) string {
		return fmt.Sprintf("UPDATE shop.orders SET total = total + 1 WHERE customer = %d", r.IntN(5000))
	}},
	{func(r *rand.Rand) string {
		return fmt.Sprintf("UPDATE shop.packed SET body = '%s' WHERE id = %d", words(r, 100), r.IntN(400))
	}},
	{func(r *rand.Rand) string {
		return fmt.Sprintf("UPDATE shop.documents SET doc = JSON_SET(doc, '$.size', %d) WHERE id = %d", r.IntN(10000), r.IntN(400))
	}},
	{func(r *rand.Rand) string {
		return fmt.Sprintf("DELETE FROM shop.orders WHERE customer = %d LIMIT 2", r.IntN(5000))
	}},
	{func(r *rand.Rand) string {
		return fmt.Sprintf("DELETE FROM shop.blobs WHERE id = %d", r.IntN(400))
	}},
}

// Written counts what the writers did; read it at any time.
type Written struct {
	Transactions atomic.Int64
	RolledBack   atomic.Int64
}

// Write keeps n sessions writing until ctx ends: single statements, transactions over
// several tables, some rolled back, some large. Deadlocks and lock waits are part of the
// load; any other error ends it. o must be what Load was given.
func Write(ctx context.Context, db *sql.DB, n int, o Options, w *Written) error {
	g, gctx := errgroup.WithContext(ctx)
	for i := range n {
		g.Go(func() error {
			r := rand.New(rand.NewPCG(uint64(o.Seed)+1, uint64(i)))
			for gctx.Err() == nil {
				err := transaction(gctx, db, r, o, w)
				if err != nil && gctx.Err() == nil && !passing(err) {
					return fmt.Errorf("writer %d: %w", i, err)
				}
			}
			return nil
		})
	}
	return g.Wait()
}

// passing reports errors that a busy server gives to innocent sessions: deadlock, lock
// wait timeout, and the change of a table's definition under a transaction.
func passing(err error) bool {
	var e *mysql.MySQLError
	return errors.As(err, &e) && (e.Number == 1213 || e.Number == 1205 || e.Number == 1412)
}

func transaction(ctx context.Context, db *sql.DB, r *rand.Rand, o Options, w *Written) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	for range 1 + r.IntN(8) {
		if _, err := tx.ExecContext(ctx, statement(r, o)); err != nil {
			return err
		}
	}
	if r.IntN(10) == 0 {
		w.RolledBack.Add(1)
		return tx.Rollback()
	}
	w.Transactions.Add(1)
	return tx.Commit()
}

func statement(r *rand.Rand, o Options) string {
	if !o.Plain && r.IntN(2) == 0 {
		return writes[r.IntN(len(writes))].make(r)
	}
	table, id := BigTable(1+r.IntN(o.Tables)), 1+r.IntN(max(o.Rows, 1))
	var q strings.Builder
	switch r.IntN(5) {
	case 0:
		fmt.Fprintf(&q, "UPDATE %s SET k = k + 1 WHERE id = %d", table, id)
	case 1, 2:
		fmt.Fprintf(&q, "UPDATE %s SET c = '", table)
		digits(&q, r, 10)
		fmt.Fprintf(&q, "' WHERE id = %d", id)
	case 3:
		fmt.Fprintf(&q, "DELETE FROM %s WHERE id = %d", table, id)
	default:
		fmt.Fprintf(&q, "INSERT INTO %s (k, c, pad) VALUES (%d, '", table, id)
		digits(&q, r, 10)
		q.WriteString("', '")
		digits(&q, r, 5)
		q.WriteString("')")
	}
	return q.String()
}
