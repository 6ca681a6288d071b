// Quickstart shows the main job of Remora on a real MySQL that is being written to.
//
// It is the program behind ./examples/quickstart/run and says at each step what it does.
package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/remora-backup/remora/core/mysqld/lab"
	"github.com/remora-backup/remora/examples/workload"
)

func main() {
	remora := flag.String("remora", "", "the remora `binary`")
	keep := flag.Bool("keep", false, "leave both servers running and say how to reach them")
	rows := flag.Int("rows", 350_000, "rows of each of the four big tables")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	q := &quickstart{remora: *remora, keep: *keep, load: workload.Options{Tables: 4, Rows: *rows, Seed: 42}}
	err := q.run(ctx)
	if !q.keep || err != nil {
		err = errors.Join(err, q.remove())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "quickstart: failed:", err)
		stop()
		os.Exit(1)
	}
	fmt.Println("quickstart: ok")
}

// quickstart is what the steps share.
type quickstart struct {
	remora string
	keep   bool
	load   workload.Options

	dir      string // for all that is made; short, as sockets lie in it
	config   string // remora's configuration file
	source   *lab.Server
	restored *lab.Server
	webhook  *webhook
	written  workload.Written
	stop     func() error // ends the writers
	result   result
}

// result is the last line of remora list --json.
type result struct {
	ID             string `json:"id"`
	BinlogFile     string `json:"binlog_file"`
	BinlogPosition uint64 `json:"binlog_position"`
}

func (q *quickstart) run(ctx context.Context) error {
	steps := []struct {
		title string
		do    func(context.Context) error
	}{
		{"start a private MySQL", q.start},
		{"load data of every kind", q.fill},
		{"create the least-privilege account and the configuration", q.configure},
		{"keep four writers running", q.write},
		{"remora backup", func(ctx context.Context) error { return q.command(ctx, "backup") }},
		{"remora list, remora show", q.look},
		{"remora restore", func(ctx context.Context) error { return q.command(ctx, "restore", "--target", q.target()) }},
		{"start MySQL on the result and let it replicate from the reported position", q.replicate},
		{"compare every table", q.compare},
		{"what the hook script and the webhook received", q.received},
	}
	for i, s := range steps {
		fmt.Printf("\n\033[1m== %d. %s\033[0m\n", i+1, s.title)
		began := time.Now()
		if err := s.do(ctx); err != nil {
			return fmt.Errorf("%s: %w", s.title, err)
		}
		fmt.Printf("   (%.1f s)\n", time.Since(began).Seconds())
	}
	if q.keep {
		return q.play()
	}
	return nil
}

func (q *quickstart) start(ctx context.Context) (err error) {
	if q.dir, err = os.MkdirTemp("", "remora-"); err != nil {
		return err
	}
	bin, err := lab.MySQL(ctx)
	if err != nil {
		return err
	}
	q.source, err = lab.Start(ctx, lab.Options{Bin: bin, TCP: true, Outlive: q.keep, Args: []string{
		"--innodb-buffer-pool-size=512M", "--innodb-redo-log-capacity=256M",
	}})
	if err != nil {
		return err
	}
	var version string
	if err := q.source.DB().QueryRowContext(ctx, "SELECT CONCAT(@@version, ' ', @@version_comment)").Scan(&version); err != nil {
		return err
	}
	fmt.Println("   MySQL", version)
	return nil
}

func (q *quickstart) fill(ctx context.Context) error {
	if err := workload.Load(ctx, q.source.DB(), q.load); err != nil {
		return err
	}
	var mib, tables, schemas int
	err := q.source.DB().QueryRowContext(ctx, `SELECT (SELECT ROUND(SUM(file_size) / 1048576) FROM information_schema.innodb_tablespaces),
		(SELECT COUNT(*) FROM information_schema.tables WHERE table_schema NOT IN ('mysql', 'sys', 'performance_schema', 'information_schema')),
		(SELECT COUNT(*) - 4 FROM information_schema.schemata)`).Scan(&mib, &tables, &schemas)
	fmt.Printf("   %d MiB in %d tables of %d schemas\n", mib, tables, schemas)
	return err
}

func (q *quickstart) write(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- workload.Write(ctx, q.source.DB(), 4, q.load, &q.written) }()
	q.stop = func() error {
		cancel()
		q.stop = nil
		return <-done
	}
	for q.written.Transactions.Load() < 100 {
		select {
		case err := <-done:
			done <- err
			return err
		case <-time.After(10 * time.Millisecond):
		}
	}
	return nil
}

func (q *quickstart) target() string { return filepath.Join(q.dir, "restored") }

// command runs remora as a person would, on the terminal there is.
func (q *quickstart) command(ctx context.Context, args ...string) error {
	before := q.written.Transactions.Load()
	args = append(args, "--config", q.config)
	fmt.Printf("   $ remora %s\n", quoteArgs(args))
	c := exec.CommandContext(ctx, q.remora, args...)
	c.Stdout, c.Stderr = os.Stdout, os.Stderr
	c.Cancel = func() error { return c.Process.Signal(os.Interrupt) }
	if err := c.Run(); err != nil {
		return err
	}
	fmt.Printf("   meanwhile the writers committed %d transactions\n", q.written.Transactions.Load()-before)
	return nil
}

func (q *quickstart) look(ctx context.Context) error {
	if err := q.command(ctx, "list"); err != nil {
		return err
	}
	out, err := exec.CommandContext(ctx, q.remora, "list", "--json", "--config", q.config).Output()
	if err != nil {
		return err
	}
	for lines := bufio.NewScanner(bytes.NewReader(out)); lines.Scan(); {
		if err := json.Unmarshal(lines.Bytes(), &q.result); err != nil {
			return err
		}
	}
	if q.result.BinlogFile == "" {
		return fmt.Errorf("remora list --json names no position: %s", out)
	}
	return q.command(ctx, "show", q.result.ID)
}

func (q *quickstart) replicate(ctx context.Context) (err error) {
	if err := q.stop(); err != nil {
		return fmt.Errorf("writers: %w", err)
	}
	bin, err := lab.MySQL(ctx)
	if err != nil {
		return err
	}
	q.restored, err = lab.Start(ctx, lab.Options{Bin: bin, DataDir: q.target(), TCP: true, Outlive: q.keep, Args: []string{"--innodb-buffer-pool-size=256M"}})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	fmt.Printf("   replicating from %s, position %d\n", q.result.BinlogFile, q.result.BinlogPosition)
	return lab.CatchUp(ctx, q.source, q.restored, q.result.BinlogFile, q.result.BinlogPosition)
}

func (q *quickstart) compare(ctx context.Context) error {
	want, err := lab.Checksums(ctx, q.source.DB())
	if err != nil {
		return err
	}
	got, err := lab.Checksums(ctx, q.restored.DB())
	if err != nil {
		return err
	}
	for _, table := range slices.Sorted(maps.Keys(want)) {
		if got[table] != want[table] {
			return fmt.Errorf("CHECKSUM TABLE %s: source %s, restored %q", table, want[table], got[table])
		}
	}
	if len(got) != len(want) {
		return fmt.Errorf("the source has %d tables, the restored server %d", len(want), len(got))
	}
	fmt.Printf("   CHECKSUM TABLE agrees for all %d tables; the writers committed %d transactions in all\n", len(want), q.written.Transactions.Load())
	return nil
}

func (q *quickstart) remove() error {
	var errs []error
	if q.stop != nil {
		errs = append(errs, q.stop())
	}
	for _, s := range []*lab.Server{q.restored, q.source} {
		if s != nil {
			errs = append(errs, s.Remove())
		}
	}
	if q.webhook != nil {
		errs = append(errs, q.webhook.close())
	}
	if q.dir != "" {
		errs = append(errs, os.RemoveAll(q.dir))
	}
	return errors.Join(errs...)
}
