package outside

import (
	"context"
	"database/sql"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/remora-backup/remora/core/mysqld/lab"
)

// write commits transactions whose traces fit together until ctx ends: the log's numbers have
// no gap and end at the counter's, no money is made, and each line says what was executed
// before it.
func (w *world) write(ctx context.Context) {
	r := rand.New(rand.NewPCG(w.d.seed, 3))
	for ctx.Err() == nil {
		err := w.conn(ctx, func(c *sql.Conn) error {
			for {
				var n int
				if err := c.QueryRowContext(ctx, "SELECT n FROM outside_noise.counter").Scan(&n); err != nil {
					return err
				}
				list := []string{"START TRANSACTION", fmt.Sprintf("INSERT INTO outside_noise.log VALUES (%d, REPEAT(SHA2(%d, 224), 3), @@GLOBAL.gtid_executed)", n+1, n), "UPDATE outside_noise.counter SET n = n + 1",
					fmt.Sprintf("UPDATE outside_noise.account SET money = money - 3 WHERE id = %d", 1+r.IntN(20)), fmt.Sprintf("UPDATE outside_noise.account SET money = money + 3 WHERE id = %d", 21+r.IntN(20)), "COMMIT"}
				if n%10 == 0 && !w.d.rough() {
					list = append(list, "INSERT INTO outside_noise.my SELECT COUNT(*) + 1, REPEAT(SHA2(COUNT(*), 224), 4) FROM outside_noise.my")
				}
				for _, q := range list {
					if _, err := c.ExecContext(ctx, q); err != nil {
						_, _ = c.ExecContext(context.WithoutCancel(ctx), "ROLLBACK")
						return err
					}
				}
			}
		})
		if err != nil && ctx.Err() == nil {
			select {
			case <-time.After(50 * time.Millisecond): // it is locked, read only, or not there
			case <-ctx.Done():
			}
		}
	}
}

// holdOpen begins a transaction that changes rows everywhere and does not end. Its pages are
// flushed like any others.
func (w *world) holdOpen(ctx context.Context) {
	tx, err := w.source.DB().BeginTx(ctx, nil)
	if err != nil {
		w.t.Logf("open transaction: %v", err)
		return
	}
	w.opened = tx
	rows, err := tx.QueryContext(ctx, "SELECT table_schema, table_name FROM information_schema.tables WHERE engine = 'InnoDB' AND table_schema NOT LIKE 'outside%' AND table_schema NOT IN ('mysql', 'sys')")
	if err != nil {
		w.t.Logf("open transaction: %v", err)
		return
	}
	var names []string
	for rows.Next() {
		var s, n string
		if rows.Scan(&s, &n) == nil {
			names = append(names, lab.Quote(s)+"."+lab.Quote(n))
		}
	}
	rows.Close()
	for _, name := range names {
		_, _ = tx.ExecContext(ctx, "UPDATE "+name+" SET v = CONCAT('never ', v) WHERE id % 2 = 0") // some have no v
		_, _ = tx.ExecContext(ctx, "DELETE FROM "+name+" WHERE id % 7 = 1")
	}
	_ = w.sql(ctx, "SET GLOBAL innodb_max_dirty_pages_pct = 0")
}

// nothingLost asks the source which lines of its log must be in a backup with gtids. That of
// number n was executed for sure when the one after it was written.
func (w *world) nothingLost(ctx context.Context, restored *sql.Conn, gtids string) {
	if gtids == "" || w.d.happens(resetOfBinlogs) {
		return
	}
	var must string
	err := w.conn(ctx, func(c *sql.Conn) (err error) {
		must, err = value(ctx, c, "SELECT COALESCE(MAX(n), 1) - 1 FROM outside_noise.log WHERE executed <> '' AND GTID_SUBSET(executed, '"+gtids+"')")
		return err
	})
	if err != nil {
		w.t.Errorf("ask the source for its log: %v", err)
	}
	if n, err := value(ctx, restored, "SELECT COUNT(*) >= "+must+" FROM outside_noise.log"); err != nil || n != "1" {
		w.t.Errorf("the transaction that wrote line %s of the log is in gtid_executed of the backup, and was not restored (%v)", must, err)
	}
}

// consistent holds what the writers wrote against itself.
func (w *world) consistent(ctx context.Context, c *sql.Conn) {
	const q = `SELECT (SELECT n FROM outside_noise.counter), COUNT(*), COALESCE(MAX(n), 0), (SELECT SUM(money) FROM outside_noise.account),
		(SELECT COUNT(*) FROM outside_noise.my), (SELECT COALESCE(MAX(n), 0) FROM outside_noise.my) FROM outside_noise.log`
	err := rows(ctx, c, q, func(r []string) {
		w.t.Logf("noise: %v", r)
		if r[0] != r[1] || r[1] != r[2] || r[3] != "40000" || r[4] != r[5] {
			w.t.Errorf("counter, rows and last number of the log, money, rows and last number of MyISAM: got %v", r)
		}
	})
	if err != nil {
		w.t.Errorf("the writers' tables: %v", err)
	}
	for _, name := range []string{"log", "account", "counter", "my"} {
		st := state{}
		st.table(ctx, c, "outside_noise."+name, "")
		if got := st["check of outside_noise."+name]; got != "OK" {
			w.t.Errorf("CHECK TABLE outside_noise.%s: %s", name, got)
		}
	}
}
