package outside

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	_ "github.com/remora-backup/remora/cmd" // so that a changed program is tested again
	"github.com/remora-backup/remora/core/needs"
)

var (
	firstSeed = flag.Uint64("outside.seed", 0, "seed of the first draw; 0 draws one")
	drawCount = flag.Int("outside.count", 0, "how many draws, each with the next seed; 0 makes one small draw, always the same")
	settings  = flag.String("outside.settings", "", "which variables TestEverySetting sets: dangerous or all; without it, none")
)

// smallSeed is the draw of a test without flags: with writers and a transaction that stays open,
// and whole.
const smallSeed = 79

// patience bounds whatever is waited for.
const patience = 4 * time.Minute

func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == storageWord {
		serveStorage()
		return
	}
	os.Exit(runTests(m))
}

// program builds remora when it is first asked for, and returns its path.
var program func() (string, error)

func runTests(m *testing.M) int {
	dir, err := os.MkdirTemp("", "remora-outside-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	program = sync.OnceValues(func() (string, error) {
		bin := filepath.Join(dir, "remora")
		out, err := exec.Command("go", "build", "-o", bin, "github.com/remora-backup/remora/cmd/remora").CombinedOutput()
		if err != nil {
			return "", fmt.Errorf("build remora: %w\n%s", err, out)
		}
		return bin, nil
	})
	return m.Run()
}

func built(t *testing.T) string {
	t.Helper()
	bin, err := program()
	if err != nil {
		t.Fatal(err)
	}
	return bin
}

func TestOutside(t *testing.T) {
	needs.Server(t)
	bin := built(t)
	if *firstSeed == 0 && *drawCount == 0 {
		if v := drawn(smallSeed, true).run(t, bin); v.kind != whole {
			t.Errorf("%s %s; this one must be whole", v.kind, v.why)
		}
		return
	}
	var total tally
	seed := cmp.Or(*firstSeed, rand.Uint64N(1_000_000))
	for i := range max(*drawCount, 1) {
		d := drawn(seed+uint64(i), false)
		if !t.Run(fmt.Sprintf("seed=%d", d.seed), func(t *testing.T) { total.add(d.run(t, bin)) }) {
			total.add(verdict{"FAILED", fmt.Sprint("seed ", d.seed)})
		}
	}
	fmt.Print(&total)
}

// verdict is how a draw ended: "whole", or what refused it.
type verdict struct{ kind, why string }

const whole = "whole"

// tally counts verdicts.
type tally struct {
	count map[verdict]int
}

func (c *tally) add(v verdict) {
	if c.count == nil {
		c.count = map[verdict]int{}
	}
	if v.kind != "" {
		c.count[v]++
	}
}

// String has a line for each kind of end.
func (c *tally) String() string {
	var text strings.Builder
	for _, v := range slices.SortedFunc(maps.Keys(c.count), func(a, b verdict) int {
		return cmp.Or(c.count[b]-c.count[a], strings.Compare(a.kind+a.why, b.kind+b.why))
	}) {
		fmt.Fprintf(&text, "outside: %3d %s %s\n", c.count[v], v.kind, v.why)
	}
	return text.String()
}

// run makes the server, backs it up, restores it and compares. A test that fails has found a
// false success, and everything needed to see it again is in its log.
func (d *draw) run(t *testing.T, remora string) verdict {
	ctx, cancel := context.WithTimeout(t.Context(), 3*patience)
	defer cancel()
	t.Logf("%s", d)
	w := newWorld(t, d, remora)
	if err := w.begin(ctx); err != nil {
		return verdict{"not made:", firstLine(err.Error())}
	}
	a := w.backUp(ctx)
	if a.code != 0 {
		t.Logf("backup: exit code %d\n%s\n%s", a.code, a.said(), a.err)
		return verdict{fmt.Sprintf("backup refused with %d:", a.code), a.why()}
	}
	want, err := w.expected(ctx)
	if err != nil {
		return verdict{"the source cannot be asked:", firstLine(err.Error())}
	}
	target := filepath.Join(w.dir, "restored")
	r := w.restore(ctx, target)
	if r.code != 0 {
		if d.storage["short_put"] == "" {
			t.Errorf("a backup that says it is complete cannot be restored: exit code %d\n%s\nbackup:\n%s", r.code, r, a)
		}
		return verdict{fmt.Sprintf("restore refused with %d:", r.code), r.why()}
	}
	w.compare(ctx, target, want, a.end.GTIDExecuted)
	if t.Failed() {
		t.Logf("backup:\n%s\nrestore:\n%s", a, r)
		return verdict{}
	}
	return verdict{whole, ""}
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(s), "\n")
	return line
}
