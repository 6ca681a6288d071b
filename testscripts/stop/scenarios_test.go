package stop

import (
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/remora-backup/remora/core/needs"
)

// scenario is one of the faults A1 to A18, B1 to B20, C1 to C28 and E1 to E14. It is run here,
// by a test elsewhere, or not at all.
type scenario struct {
	id, what  string
	run       func(t *testing.T, b *bench) // here
	elsewhere []string                     // "directory TestName", of the module
	not       string                       // why it is not run
	partly    string                       // what of it is not
	waits     bool                         // most of the time: it runs beside the others
}

// few are the scenarios that are run without -faults: a host that dies, one that is asked to stop, a lock that is lost,
// storage that dies, a lock file that stayed.
var few = []string{"A1", "A3", "B3", "C1", "E2"}

// TestScenarios runs those that are run here, makes sure that the tests of the others are
// there, and prints what is missing.
func TestScenarios(t *testing.T) {
	needs.Server(t)
	list := scenarios()
	if !*faulty {
		list = slices.DeleteFunc(list, func(s scenario) bool { return !slices.Contains(few, s.id) })
	}
	slices.SortStableFunc(list, func(a, b scenario) int { return count(b.waits) - count(a.waits) })
	repo := goodRepo(t)
	var mu sync.Mutex
	ran, passed, elsewhere := 0, 0, 0
	var missing, parts []string
	queue, waiting := make(chan scenario), make(chan scenario, len(list))
	var wg sync.WaitGroup
	for w := range *workers + 1 {
		queue := queue
		if w == *workers {
			queue = waiting
		}
		wg.Go(func() {
			b := &bench{repo: repo, dir: filepath.Join(world.dir, fmt.Sprint("s", w)), tally: new(tally)}
			defer b.close(t)
			for s := range queue {
				done := false // also when -run leaves it out
				ok := t.Run(s.id+" "+s.what, func(t *testing.T) { done = true; s.do(t, b) })
				if !done {
					continue
				}
				mu.Lock()
				switch {
				case s.run == nil && ok:
					elsewhere++
				case s.run != nil:
					ran, passed = ran+1, passed+count(ok)
				}
				mu.Unlock()
			}
		})
	}
	for _, s := range list {
		if s.partly != "" {
			parts = append(parts, fmt.Sprintf("%-4s %s: %s", s.id, s.what, s.partly))
		}
		if s.not != "" {
			missing = append(missing, fmt.Sprintf("%-4s %s: %s", s.id, s.what, s.not))
			continue
		}
		if s.waits {
			waiting <- s
			continue
		}
		queue <- s
	}
	close(queue)
	close(waiting)
	wg.Wait()
	fmt.Printf("scenarios run/passed: %d/%d here; %d more are tests of other packages, which run with those; %d are not run, of %d\n", ran, passed, elsewhere, len(missing), len(list))
	for _, p := range parts {
		fmt.Println("scenario run in part:", p)
	}
	for _, m := range missing {
		fmt.Println("scenario not run:", m)
	}
}

func scenarios() []scenario { return slices.Concat(deaths(), servers(), plugins(), ours14()) }

// TestCatalogue needs no server: each scenario is there once, and so is each test that is said
// to run one.
func TestCatalogue(t *testing.T) {
	list := scenarios()
	complete(t, list)
	for _, s := range list {
		for _, test := range s.elsewhere {
			dir, name, _ := strings.Cut(test, " ")
			if err := testExists(dir, name); err != nil {
				t.Errorf("%s: %v", s.id, err)
			}
		}
	}
}

func (s scenario) do(t *testing.T, b *bench) {
	for _, test := range s.elsewhere {
		dir, name, _ := strings.Cut(test, " ")
		if err := testExists(dir, name); err != nil {
			t.Error(err)
		}
	}
	if s.run != nil {
		s.run(t, b)
	}
}

// testExists looks for a test function, or a story, in a directory of the module.
func testExists(dir, name string) error {
	root := filepath.Join("..", "..", dir)
	if strings.HasSuffix(name, ".txtar") {
		_, err := os.Stat(filepath.Join(root, name))
		return err
	}
	files, err := filepath.Glob(filepath.Join(root, "*_test.go"))
	for _, file := range files {
		parsed, perr := parser.ParseFile(token.NewFileSet(), file, nil, 0)
		if perr != nil {
			return perr
		}
		for _, d := range parsed.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && f.Name.Name == name {
				return nil
			}
		}
	}
	return errors.Join(err, fmt.Errorf("there is no test %s in %s", name, dir))
}

// complete makes sure that each identifier is there once.
func complete(t *testing.T, list []scenario) {
	var want, got []string
	for _, group := range []struct {
		letter string
		n      int
	}{{"A", 18}, {"B", 20}, {"C", 28}, {"E", 14}} {
		for i := range group.n {
			want = append(want, fmt.Sprintf("%s%d", group.letter, i+1))
		}
	}
	for _, s := range list {
		got = append(got, s.id)
		if (s.run != nil || len(s.elsewhere) > 0) == (s.not != "") {
			t.Errorf("%s is run and not run, or neither", s.id)
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("scenarios are %v, want %v", got, want)
	}
}
