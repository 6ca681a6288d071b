package mysqld_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/remora-backup/remora/core/mysqld"
)

var update = flag.Bool("update", false, "rewrite the expected progress beside the logs")

// The logs named after a version are real (8.0.30 was built from its source): a server killed under load, recovered with a small and with a
// big buffer pool. 8.0-order is one of them, with its last batch where 8.0 and 8.4 apply it and its percents as
// a batch of more than ten quiet seconds has them.
func TestProgressOfLogs(t *testing.T) {
	logs, err := filepath.Glob("testdata/*.log")
	if err != nil || len(logs) < 4 {
		t.Fatalf("logs: got %d, want at least 4 (%v)", len(logs), err)
	}
	for _, log := range logs {
		t.Run(filepath.Base(log), func(t *testing.T) {
			lines := readLines(t, log)
			got := trace(lines, lastScanned(t, lines))
			golden := strings.TrimSuffix(log, ".log") + ".progress"
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("progress of %s: got\n%s\nwant\n%s", log, got, want)
			}
		})
	}
}

// Whatever a log says: percents start at 0, grow, and end at 100 if and only if the target was reached.
func TestProgressIsMonotone(t *testing.T) {
	logs, _ := filepath.Glob("testdata/*.log")
	for _, log := range logs {
		lines := readLines(t, log)
		end := lastScanned(t, lines)
		for _, target := range []uint64{1, end - 1, end, end + 1<<20} {
			percents := percentsOf(lines, target)
			if len(percents) == 0 || percents[0] != 0 {
				t.Errorf("%s up to %d: percents %v do not start at 0", log, target, percents)
			}
			for i := 1; i < len(percents); i++ {
				if percents[i] <= percents[i-1] {
					t.Errorf("%s up to %d: %d follows %d", log, target, percents[i], percents[i-1])
				}
			}
			if last := percents[len(percents)-1]; (last == 100) != (target <= end) {
				t.Errorf("%s up to %d: last percent %d, the log ends at %d", log, target, last, end)
			}
		}
	}
}

// The redo log of an idle server can be scanned in one step: 0 and 100 must both be seen.
func TestProgressOfOneScan(t *testing.T) {
	lines := []string{
		note("MY-012550", "Doing recovery: scanned up to log sequence number 5000"),
		note("MY-012976", "8.4.3 started; log sequence number 5010"),
		note("MY-012976", "8.4.3 started; log sequence number 5010"),
	}
	if got, want := fmt.Sprint(percentsOf(lines, 5000)), "[0 100]"; got != want {
		t.Errorf("percents: got %s, want %s", got, want)
	}
}

func TestETA(t *testing.T) {
	now := time.Unix(0, 0)
	m := mysqld.NewMeter(1100, func() time.Time { return now })
	m.Line(note("MY-012550", "Doing recovery: scanned up to log sequence number 100"))
	now = now.Add(10 * time.Second)
	p, changed := m.Line(note("MY-012550", "Doing recovery: scanned up to log sequence number 600"))
	if !changed || *p.Percent != 25 || p.ETA != 30*time.Second {
		t.Errorf("half scanned, nothing applied after 10 s: got %v%%, ETA %v; want 25%%, 30s", *p.Percent, p.ETA)
	}
}

func FuzzMeter(f *testing.F) {
	f.Add(note("MY-012533", "1e+02%"), uint64(1))
	f.Add(note("MY-012550", "scanned up to log sequence number 18446744073709551615"), uint64(1<<63))
	f.Fuzz(func(t *testing.T, log string, target uint64) {
		last := -1
		for _, p := range percentsOf(strings.Split(log, "\n"), target) {
			if p <= last || p > 100 {
				t.Fatalf("percent %d after %d", p, last)
			}
			last = p
		}
	})
}

func note(code, text string) string {
	return "2026-01-02T03:04:05.678901Z 1 [Note] [" + code + "] [InnoDB] " + text
}

func readLines(t *testing.T, path string) []string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(string(b), "\n")
}

func lastScanned(t *testing.T, lines []string) uint64 {
	t.Helper()
	var lsn uint64
	for _, line := range lines {
		if _, rest, ok := strings.Cut(line, "scanned up to log sequence number "); ok {
			if _, err := fmt.Sscan(rest, &lsn); err != nil {
				t.Fatal(err)
			}
		}
	}
	return lsn
}

// trace is the progress of a log, one report per line.
func trace(lines []string, target uint64) string {
	m := mysqld.NewMeter(target, func() time.Time { return time.Time{} })
	out := fmt.Sprintf("- %s\n", m.Start().Stage)
	for _, line := range lines {
		if p, changed := m.Line(line); changed {
			out += fmt.Sprintf("%d %s %d\n", *p.Percent, p.Stage, p.LSN)
		}
	}
	return out
}

func percentsOf(lines []string, target uint64) []int {
	m := mysqld.NewMeter(target, func() time.Time { return time.Time{} })
	var percents []int
	for _, line := range lines {
		if p, changed := m.Line(line); changed {
			percents = append(percents, *p.Percent)
		}
	}
	return percents
}
