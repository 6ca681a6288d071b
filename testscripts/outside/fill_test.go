package outside

import (
	"context"
	"strings"
)

// always are the tables of every server: numbers to make rows from, those that events work on
// (outside_ev), and what the writers write (outside_noise), with an event that writes each second.
const always = `
SET cte_max_recursion_depth = 100000;
CREATE DATABASE outside_numbers;
CREATE TABLE outside_numbers.n (i INT PRIMARY KEY) ENGINE=InnoDB;
INSERT INTO outside_numbers.n WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i < 4000) SELECT i FROM n;

CREATE DATABASE outside_ev ENCRYPTION 'N';
CREATE TABLE outside_ev.plain (id INT PRIMARY KEY, v VARCHAR(100)) ENGINE=InnoDB;
INSERT INTO outside_ev.plain SELECT i + 5000, SHA2(i, 224) FROM outside_numbers.n WHERE i < 900;
CREATE TABLE outside_ev.parts (id INT PRIMARY KEY, v VARCHAR(100)) ENGINE=InnoDB
	PARTITION BY RANGE (id) (PARTITION p0 VALUES LESS THAN (5000), PARTITION p1 VALUES LESS THAN (9000));
INSERT INTO outside_ev.parts SELECT i + 3000, SHA2(i, 224) FROM outside_numbers.n WHERE i < 4000;
CREATE TABLE outside_ev.big (id INT AUTO_INCREMENT PRIMARY KEY, v BLOB) ENGINE=InnoDB;
CREATE TABLE outside_ev.my (id INT AUTO_INCREMENT PRIMARY KEY, v VARCHAR(100), KEY (v)) ENGINE=MyISAM;
INSERT INTO outside_ev.my (v) SELECT SHA2(i, 224) FROM outside_numbers.n WHERE i < 900;

CREATE DATABASE outside_noise ENCRYPTION 'N';
CREATE TABLE outside_noise.log (n INT PRIMARY KEY, v VARCHAR(255), executed TEXT) ENGINE=InnoDB;
CREATE TABLE outside_noise.account (id INT PRIMARY KEY, money INT) ENGINE=InnoDB;
INSERT INTO outside_noise.account SELECT i, 1000 FROM outside_numbers.n WHERE i <= 40;
CREATE TABLE outside_noise.counter (id INT PRIMARY KEY, n INT) ENGINE=InnoDB;
INSERT INTO outside_noise.counter VALUES (1, 0);
CREATE TABLE outside_noise.my (n INT PRIMARY KEY, v VARCHAR(255), KEY (v(50))) ENGINE=MyISAM;
CREATE TABLE outside_noise.tick (n INT AUTO_INCREMENT PRIMARY KEY) ENGINE=InnoDB;
CREATE EVENT outside_noise.clock ON SCHEDULE EVERY 1 SECOND DO INSERT INTO outside_noise.tick VALUES ()`

// fill makes the objects. What this server does not allow is left out, and said.
func (w *world) fill(ctx context.Context) error {
	if err := w.sql(ctx, strings.Split(always, ";")...); err != nil {
		return err
	}
	for _, o := range w.d.objects {
		for _, q := range append([]string{o.create}, o.fill...) {
			if err := w.sql(ctx, "SET sql_mode = ''", w.in(q)); err != nil {
				w.t.Logf("left out: %v", err)
				break
			}
		}
	}
	if w.d.replica {
		return w.sql(ctx, "CHANGE REPLICATION SOURCE TO SOURCE_HOST='127.0.0.1', SOURCE_PORT=1, SOURCE_USER='nobody', SOURCE_PASSWORD='x', SOURCE_CONNECT_RETRY=1, SOURCE_RETRY_COUNT=100000", "START REPLICA")
	}
	return nil
}
