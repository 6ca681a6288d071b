package outside

import (
	"fmt"
	"math/rand/v2"
	"strings"

	"github.com/remora-backup/remora/core/inert"
	"github.com/remora-backup/remora/core/syncpoint"
)

// draw is all that is drawn. OUT in a statement or argument stands for a directory beside the
// data directory.
type draw struct {
	seed      uint64
	r         *rand.Rand
	initArgs  []string // for making the data directory, and for every server on it
	args      []string // of the source only
	keyring   bool
	grants    []string
	objects   []object
	settings  int // how many variables get odd values before the backup
	writers   bool
	open      bool       // a transaction stays open during the backup
	replica   bool       // replication is configured
	role      inert.Role // of the restored server
	happening []happening
	storage   map[string]string // faults
	small     bool
}

// happening is an event at a sync point of the backup.
type happening struct {
	at    syncpoint.Point
	event event
}

func (d *draw) chance(percent int) bool { return d.r.IntN(100) < percent }

func pick[T any](r *rand.Rand, from []T) T { return from[r.IntN(len(from))] }

// some returns up to n different ones, in the order of from.
func some[T any](r *rand.Rand, from []T, n int) (out []T) {
	for i, v := range from {
		if r.IntN(len(from)-i) < n {
			out, n = append(out, v), n-1
		}
	}
	return out
}

func (d *draw) String() string {
	var text strings.Builder
	fmt.Fprintf(&text, "seed %d: init %q, args %q, keyring %v, settings %d, writers %v, open transaction %v, replica %v, storage %v, restored as %s\n",
		d.seed, d.initArgs, d.args, d.keyring, d.settings, d.writers, d.open, d.replica, d.storage, d.role)
	for _, h := range d.happening {
		fmt.Fprintf(&text, "\tat %s: %s\n", h.at, h.event.name)
	}
	for _, o := range d.objects {
		fmt.Fprintf(&text, "\t%s\n", o.create)
	}
	return text.String()
}

// drawn draws; a small one has little of everything.
func drawn(seed uint64, small bool) *draw {
	d := &draw{seed: seed, r: rand.New(rand.NewPCG(seed, 1)), storage: map[string]string{}, small: small}
	d.layout()
	d.keyring = d.chance(25)
	d.logs()
	if small {
		// The scheduler, about to run an event, can wait for LOCK INSTANCE and keep FLUSH TABLES
		// WITH READ LOCK waiting: a refusal, of which this one must have none.
		d.args = append(d.args, "--event-scheduler=OFF")
	}
	d.grants = grants
	if d.chance(30) {
		d.grants = grants[:3]
	}
	d.drawObjects()
	if d.chance(50) {
		d.settings = 1 + d.r.IntN(12)
	}
	d.writers, d.open, d.replica = d.chance(70), d.chance(40), d.chance(15)
	d.role = pick(d.r, []inert.Role{inert.Inert, inert.Inert, inert.Inert, inert.Primary, inert.Replica})
	d.drawEvents()
	if d.chance(20) {
		fault := pick(d.r, []string{"fail_put", "fail_get", "short_put", "put_ms"})
		d.storage[fault] = fmt.Sprint(1 + d.r.IntN(12))
		if fault == "put_ms" {
			d.storage[fault] = "700"
		}
	}
	return d
}

// grants of the account; the first three are what it needs at least.
var grants = []string{
	"GRANT BACKUP_ADMIN, PROCESS, REPLICATION CLIENT ON *.* TO 'remora'@'localhost'",
	"GRANT SELECT, LOCK TABLES, FLUSH_TABLES ON *.* TO 'remora'@'localhost'",
	"GRANT SELECT ON performance_schema.log_status TO 'remora'@'localhost'",
	"GRANT SHOW DATABASES, RELOAD ON *.* TO 'remora'@'localhost'",
	"GRANT SELECT ON performance_schema.metadata_locks TO 'remora'@'localhost'",
	"GRANT SELECT ON performance_schema.threads TO 'remora'@'localhost'",
	"GRANT SELECT ON performance_schema.keyring_component_status TO 'remora'@'localhost'",
	"GRANT SELECT ON performance_schema.error_log TO 'remora'@'localhost'",
}

// layout draws page size and directories.
func (d *draw) layout() {
	if d.chance(25) {
		d.initArgs = append(d.initArgs, "--innodb-page-size="+pick(d.r, []string{"4096", "8192", "32768", "65536"}))
	}
	if d.chance(20) {
		d.initArgs = append(d.initArgs, "--lower-case-table-names=1")
	}
	if d.chance(30) {
		d.initArgs = append(d.initArgs, "--innodb-data-file-path="+pick(d.r, []string{"ibdata1:12M;ibdata2:16M:autoextend", "shop.ibd:14M:autoextend", "system space:12M:autoextend"}))
	}
	for _, a := range []string{
		"--innodb-data-home-dir=OUT/home", "--innodb-undo-directory=OUT/undo", "--innodb-log-group-home-dir=OUT/redo", "--innodb-doublewrite-dir=OUT/dblwr",
		"--innodb-temp-tablespaces-dir=OUT/temp", "--innodb-temp-data-file-path=mytmp:12M:autoextend", "--innodb-file-per-table=OFF", "--tmpdir=OUT/tmp",
	} {
		if d.chance(15) {
			d.args = append(d.args, a)
		}
	}
	d.args = append(d.args, "--innodb-directories=OUT/ext", "--innodb-redo-log-capacity="+pick(d.r, []string{"8M", "16M", "100M", "1G"}))
}

// logs draws what is logged where, and what is encrypted.
func (d *draw) logs() {
	more := map[string]int{
		"--log-bin=OUT/binlog/mysql-bin": 20, "--log-bin=odd.name": 10, "--skip-log-bin": 8, "--relay-log=OUT/binlog/relay": 10, "--binlog-format=STATEMENT": 5,
		"--general-log=ON --log-output=TABLE": 8, "--slow-query-log=ON --long-query-time=0 --log-output=TABLE,FILE": 8, "--innodb-checksum-algorithm=strict_crc32": 5,
		"--gtid-mode=OFF_PERMISSIVE": 5, "--gtid-mode=OFF --enforce-gtid-consistency=OFF": 8, "--binlog-transaction-compression=ON": 10, "--max-binlog-size=4096": 8,
		"--log-error-verbosity=1": 10, "--innodb-log-checksums=OFF": 5, "--default-time-zone=+13:00": 5, "--performance-schema=OFF": 3, "--innodb-doublewrite=OFF": 5,
		"--character-set-server=latin1": 5, "--big-tables=ON": 3, "--sql-mode=ANSI_QUOTES": 5, "--lower-case-file-system=ON": 0, "--event-scheduler=OFF": 10, "--explicit-defaults-for-timestamp=OFF": 3,
	}
	for _, a := range sorted(more) {
		if d.chance(more[a]) {
			d.args = append(d.args, strings.Fields(a)...)
		}
	}
	if d.keyring {
		for _, a := range []string{"--innodb-redo-log-encrypt=ON", "--innodb-undo-log-encrypt=ON", "--default-table-encryption=ON", "--binlog-encryption=ON"} {
			if d.chance(25) {
				d.args = append(d.args, a)
			}
		}
	}
}
