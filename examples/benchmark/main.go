// Benchmark compares Remora with what everybody has, on one server and in one run.
//
// It is the program behind ./examples/benchmark/run. Absolute times are of this machine
// and this moment; only the ratios mean something elsewhere.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/remora-backup/remora/core/mysqld/lab"
	"github.com/remora-backup/remora/examples/workload"
)

func main() {
	remora := flag.String("remora", "", "the remora `binary`")
	gb := flag.Float64("gb", 3, "size of the tables")
	repeat := flag.Int("repeat", 2, "how often each thing is measured; the best counts")
	dir := flag.String("dir", "/var/tmp", "a `directory` on the disk to measure")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	b := &bench{remora: *remora, repeat: *repeat, under: *dir, gb: *gb}
	err := b.run(ctx)
	if err = errors.Join(err, b.remove()); err != nil {
		fmt.Fprintln(os.Stderr, "benchmark: failed:", err)
		stop()
		os.Exit(1)
	}
}

type bench struct {
	remora string
	repeat int
	under  string
	gb     float64

	dir    string
	source *lab.Server
	peaks  map[string]int64 // kB of memory, by process
}

// measure is one thing that is timed. before is not.
type measure struct {
	name   string
	before func(context.Context) error
	do     func(context.Context) error
	best   time.Duration
	cpu    time.Duration // the least that a run's processes used; 0 for what the server does
}

func (b *bench) run(ctx context.Context) error {
	if err := b.start(ctx); err != nil {
		return err
	}
	clone := &measure{name: "CLONE LOCAL", before: b.gone("clone"), do: b.clone}
	plain := &measure{name: "remora backup, none", before: b.fresh("none"), do: b.backup("none")}
	tar := &measure{name: "tar | zstd -1 -T2", before: b.gone("tar.zst"), do: b.tar}
	zstd := &measure{name: "remora backup, zstd", before: b.fresh("zstd"), do: b.backup("zstd")}
	if err := b.measure(ctx, clone, plain, tar, zstd); err != nil {
		return err
	}
	stored, err := size(b.path("repo-zstd"))
	if err != nil {
		return err
	}
	tarred, err := size(b.path("tar.zst"))
	if err != nil {
		return err
	}
	b.source.Kill() // the data as a crash leaves it
	copied := &measure{name: "cp + crash recovery", before: b.gone("copy"), do: b.copyAndRecover}
	restored := &measure{name: "remora restore", before: b.gone("restored"), do: b.restore}
	if err := b.measure(ctx, copied, restored); err != nil {
		return err
	}
	fmt.Println("\nratios, of the best of", b.repeat)
	ratio := func(what string, a, of float64, limit float64) {
		verdict := "ok"
		if a/of > limit {
			verdict = "MISSED"
		}
		fmt.Printf("  %-42s %5.2f   (at most %.2f: %s)\n", what, a/of, limit, verdict)
	}
	ratio("backup (none) wall / CLONE LOCAL wall", plain.best.Seconds(), clone.best.Seconds(), 1.0)
	ratio("backup (zstd) wall / tar|zstd wall", zstd.best.Seconds(), tar.best.Seconds(), 1.0)
	ratio("backup (zstd) CPU / tar|zstd CPU", zstd.cpu.Seconds(), tar.cpu.Seconds(), 1.0)
	ratio("backup (zstd) bytes / tar|zstd bytes", float64(stored), float64(tarred), 1.0)
	ratio("restore wall / (cp + recovery) wall", restored.best.Seconds(), copied.best.Seconds(), 1.3)
	for _, name := range sorted(b.peaks) {
		ratio("peak memory of "+name+" / 256 MB", float64(b.peaks[name])/1024, 256, 1.0)
	}
	return b.locks(ctx)
}

// measure times all of them in turn, repeat times, each from a cold cache if that can be.
func (b *bench) measure(ctx context.Context, all ...*measure) error {
	for n := range b.repeat {
		for _, m := range all {
			if err := m.before(ctx); err != nil {
				return fmt.Errorf("before %s: %w", m.name, err)
			}
			cold := dropCaches()
			began, used := time.Now(), childrenCPU()
			if err := m.do(ctx); err != nil {
				return fmt.Errorf("%s: %w", m.name, err)
			}
			took, used := time.Since(began), childrenCPU()-used
			if m.best == 0 || took < m.best {
				m.best = took
			}
			if m.cpu == 0 || used < m.cpu {
				m.cpu = used
			}
			fmt.Printf("  run %d  %-22s %7.2f s, %6.2f s of CPU  (cache %s)\n", n+1, m.name, took.Seconds(), used.Seconds(), map[bool]string{true: "cold", false: "warm"}[cold])
		}
	}
	return nil
}

// childrenCPU is the CPU time of all processes that were started and have ended, with
// theirs. On a busy machine it says more than the time on the clock.
func childrenCPU() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_CHILDREN, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func (b *bench) path(name string) string { return filepath.Join(b.dir, name) }

func (b *bench) gone(name string) func(context.Context) error {
	return func(context.Context) error { return os.RemoveAll(b.path(name)) }
}

func (b *bench) start(ctx context.Context) (err error) {
	if b.dir, err = os.MkdirTemp(b.under, "remora-bench-"); err != nil {
		return err
	}
	b.peaks = map[string]int64{}
	rows := int(b.gb * 1e9 / 8 / 250)
	o := workload.Options{Tables: 8, Rows: rows, Seed: 1, Plain: true}
	fmt.Printf("loading %d tables of %d rows\n", o.Tables, o.Rows)
	b.source, err = lab.Start(ctx, lab.Options{Args: []string{
		"--innodb-flush-method=O_DIRECT", "--innodb-buffer-pool-size=1G", "--innodb-redo-log-capacity=1G", "--sync-binlog=0",
		"--innodb-flush-log-at-trx-commit=2",
	}})
	if err != nil {
		return err
	}
	if err := workload.Load(ctx, b.source.DB(), o); err != nil {
		return err
	}
	// All pages to the files, and a fresh binlog, so that every competitor reads the same.
	if err := b.source.Exec(ctx, "FLUSH BINARY LOGS", "SELECT innodb_redo_log_sharp_checkpoint()", "INSTALL PLUGIN clone SONAME 'mysql_clone.so'"); err != nil {
		return err
	}
	bytes, err := size(b.source.Dir)
	fmt.Printf("data directory: %.2f GB\n", float64(bytes)/1e9)
	return err
}

func (b *bench) clone(ctx context.Context) error {
	return b.source.Exec(ctx, fmt.Sprintf("CLONE LOCAL DATA DIRECTORY = '%s'", b.path("clone")))
}

// tar packs what a backup packs: the tablespaces.
func (b *bench) tar(ctx context.Context) error {
	return shell(ctx, fmt.Sprintf(`cd %q && tar -cf - --exclude='#*' --exclude='binlog.*' --exclude=ibtmp1 . | zstd -q -1 -T2 -o %q && sync %q`,
		b.source.Dir, b.path("tar.zst"), b.path("tar.zst")))
}

func (b *bench) copyAndRecover(ctx context.Context) error {
	if err := shell(ctx, fmt.Sprintf("cp -r --reflink=never %q %q && sync -f %q", b.source.Dir, b.path("copy"), b.path("copy"))); err != nil {
		return err
	}
	s, err := lab.Start(ctx, lab.Options{DataDir: b.path("copy"), Args: []string{"--innodb-buffer-pool-size=1G"}})
	if err != nil {
		return err
	}
	return s.Remove()
}

func shell(ctx context.Context, script string) error {
	c := exec.CommandContext(ctx, "bash", "-c", "set -o pipefail; "+script)
	c.Stderr = os.Stderr
	return c.Run()
}

func (b *bench) remove() error {
	var errs []error
	if b.source != nil {
		errs = append(errs, b.source.Remove())
	}
	if b.dir != "" {
		errs = append(errs, os.RemoveAll(b.dir))
	}
	return errors.Join(errs...)
}
