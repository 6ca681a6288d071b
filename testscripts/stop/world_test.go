package stop

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	_ "github.com/remora-backup/remora/cmd" // so that a changed program is tested again
	"github.com/remora-backup/remora/core/mysqld/lab"
	"github.com/remora-backup/remora/core/mysqld/mysqldtest"
)

var (
	faulty  = flag.Bool("faults", false, "every scenario, and the matrix's core; without it a few of each")
	full    = flag.Bool("matrix.full", false, "all runs, not only the core")
	only    = flag.String("matrix.only", "", "runs whose names match this regular expression")
	workers = flag.Int("matrix.workers", atOnce, "runs at a time")
	every   = flag.Int("matrix.compare", 20, "compare a restored backup with the source after every n-th run")
)

// patience bounds whatever a test waits for; nothing should come near it.
const patience = 90 * time.Second

// world is what all tests share: the built program, one good backup, and what was made of it.
var world struct {
	dir, remora string
	good        func() (string, error) // the directory whose repo holds a backup of a source
	sums        map[string]string      // of the source's tables; valid after good
	raw         func() (string, error) // an export of the good backup
	foreign     func() (string, error) // the same as XtraBackup would have it
}

func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == "odd-storage" {
		serveOdd()
		return
	}
	if len(os.Args) == 2 && os.Args[1] == "odd-notify" {
		serveOddNotify()
		return
	}
	os.Exit(prepareAndRun(m))
}

func prepareAndRun(m *testing.M) int {
	if flag.Parse(); testing.Short() {
		return m.Run() // which stops nothing
	}
	dir, err := os.MkdirTemp("/tmp", "rs-") // short: a socket's path has at most 107 bytes
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	world.dir, world.remora = dir, filepath.Join(dir, "remora")
	args := []string{"build", "-o", world.remora}
	if raceDetector {
		args = append(args, "-race")
	}
	build := exec.Command("go", append(args, "github.com/remora-backup/remora/cmd/remora")...)
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build remora: %v\n%s", err, out)
		return 1
	}
	world.good, world.raw, world.foreign = sync.OnceValues(makeGood), sync.OnceValues(makeRaw), sync.OnceValues(makeForeign)
	return m.Run()
}

// source is a small server that is backed up, and may be killed.
type source struct{ *lab.Server }

// account is the least a backup needs, with what MyISAM needs.
var account = []string{
	"CREATE USER 'remora'@'localhost' IDENTIFIED BY 'stop-it'",
	"GRANT BACKUP_ADMIN, PROCESS, RELOAD, REPLICATION CLIENT, SHOW DATABASES ON *.* TO 'remora'@'localhost'",
	"GRANT SELECT ON performance_schema.log_status TO 'remora'@'localhost'",
	"GRANT SELECT, LOCK TABLES ON shop.* TO 'remora'@'localhost'",
	"GRANT SELECT ON performance_schema.metadata_locks TO 'remora'@'localhost'",
	"GRANT SELECT ON performance_schema.threads TO 'remora'@'localhost'",
}

func startSource(ctx context.Context) (*source, error) {
	s, err := lab.Start(ctx, lab.Options{Args: []string{
		"--innodb-flush-method=nosync", "--sync-binlog=0", "--innodb-buffer-pool-size=16M", "--innodb-redo-log-capacity=8M",
		"--innodb-flush-log-at-trx-commit=2",
	}})
	if err != nil {
		return nil, err
	}
	tables := []string{
		"CREATE DATABASE shop", "CREATE DATABASE probe", "USE shop",
		"CREATE TABLE shop.orders (id INT AUTO_INCREMENT PRIMARY KEY, v VARCHAR(200))",
		"INSERT INTO shop.orders (v) WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i < 900) SELECT REPEAT(HEX(i), 9) FROM n",
		"CREATE TABLE shop.old (id INT PRIMARY KEY, v VARCHAR(20)) ENGINE=MyISAM", "INSERT INTO shop.old VALUES (1, 'one'), (2, 'two')",
	}
	if err := s.Exec(ctx, append(tables, account...)...); err != nil {
		return nil, errors.Join(err, s.Remove())
	}
	return &source{s}, nil
}

// home is the directory of one run: configuration, state and repository are below it.
type home struct{ dir string }

func (h home) path(name string) string { return filepath.Join(h.dir, name) }
func (h home) state() string           { return h.path("state") }
func (h home) config() string          { return h.path("remora.toml") }

// newHome makes a run's directory. The socket is that of a server that need not be there.
func newHome(dir, socket, repo, more string) (home, error) {
	h := home{dir}
	bin, err := lab.MySQL(context.Background())
	if err != nil {
		return h, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return h, err
	}
	text := fmt.Sprintf("[mysql]\nsocket = %q\nuser = \"remora\"\npassword_file = %q\nmysqld = %q\nmysqld_args = [\"--innodb-flush-method=nosync\"]\n"+
		"[state]\ndir = %q\n[storage]\nplugin = \"fs\"\n[storage.config]\npath = %q\n[[notify]]\nplugin = \"log\"\n%s",
		socket, h.path("password"), bin, h.state(), repo, more)
	for name, text := range map[string]string{"remora.toml": text, "password": "stop-it\n"} {
		if err := os.WriteFile(h.path(name), []byte(text), 0o600); err != nil {
			return h, err
		}
	}
	return h, nil
}

// makeGood takes the backup that all restores read.
func makeGood() (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
	defer cancel()
	s, err := startSource(ctx)
	if err != nil {
		return "", err
	}
	h, err := newHome(filepath.Join(world.dir, "good"), s.Socket, filepath.Join(world.dir, "good/repo"), "")
	if err != nil {
		return "", errors.Join(err, s.Remove())
	}
	p := begin(h, "backup")
	answer, err := p.wait(ctx)
	if err == nil && answer.code != 0 {
		err = fmt.Errorf("the good backup: exit code %d\n%s", answer.code, answer)
	}
	if err == nil {
		world.sums, err = lab.Checksums(ctx, s.DB())
	}
	return h.path("repo"), errors.Join(err, s.Remove())
}

func goodRepo(t testing.TB) string {
	t.Helper()
	mysqldtest.Binary(t)
	repo, err := world.good()
	if err != nil {
		t.Fatal(err)
	}
	return repo
}
