package core

import (
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// A knot is a set of files of one package that all reach each other: each uses names of the
// next, and the last those of the first. None of them can be understood before the others.

// mostFiles is how many files a knot may have where the table says nothing else.
const mostFiles = 6

// knots is what may be larger, or must be smaller. A line that allows more than there is fails
// as well: it shrinks with its knot, and goes when the knot is of no more than mostFiles.
var knots = map[string]struct {
	files int
	why   string
}{
	"core/backup": {3, "each phase is to be read alone"},
}

// TestKnots holds the table against what the type checker says of each package, tests and
// generated files left out.
func TestKnots(t *testing.T) {
	own, exports := compiled(t)
	for name := range knots {
		if !slices.ContainsFunc(own, func(p listed) bool { return p.name() == name }) {
			t.Errorf("the table has a line for %s, which is no package", name)
		}
	}
	for _, p := range own {
		most, line := mostFiles, knots[p.name()]
		if line.files != 0 {
			most = line.files
		}
		uses, size := usesOf(t, p, exports), 0
		for _, knot := range circles(uses) {
			size = max(size, len(knot))
			if len(knot) > most {
				t.Errorf("%s: %d files reach each other, %d may:\n%s", p.name(), len(knot), most, arrowsWithin(knot, uses))
			}
		}
		if line.files > mostFiles && size < line.files {
			t.Errorf("%s: the largest knot has %d files, the table allows %d (%s): tighten its line", p.name(), size, line.files, line.why)
		}
	}
}

// uses is which file uses which names of which file.
type uses map[string]map[string][]string

// circles returns the sets of more than one file in which every file reaches every other one.
func circles(u uses) (knots [][]string) {
	reach := map[string]map[string]bool{}
	for from := range u {
		reach[from] = map[string]bool{}
		for next := []string{from}; len(next) > 0; {
			at := next[0]
			next = next[1:]
			for to := range u[at] {
				if !reach[from][to] {
					reach[from][to] = true
					next = append(next, to)
				}
			}
		}
	}
	done := map[string]bool{}
	for _, from := range slices.Sorted(maps.Keys(u)) {
		if done[from] || !reach[from][from] {
			continue
		}
		var knot []string
		for _, to := range slices.Sorted(maps.Keys(reach[from])) {
			if reach[to][from] {
				knot = append(knot, to)
				done[to] = true
			}
		}
		knots = append(knots, knot)
	}
	return knots
}

// arrowsWithin names the arrows of a knot, those of the fewest names first: they are the ones
// that are easily turned.
func arrowsWithin(knot []string, u uses) string {
	type arrow struct {
		from, to string
		names    []string
	}
	var all []arrow
	for _, from := range knot {
		for _, to := range knot {
			if names := u[from][to]; len(names) > 0 {
				all = append(all, arrow{from, to, names})
			}
		}
	}
	slices.SortStableFunc(all, func(a, b arrow) int { return len(a.names) - len(b.names) })
	var text strings.Builder
	for _, a := range all {
		fmt.Fprintf(&text, "\t%s uses of %s: %s\n", a.from, a.to, strings.Join(a.names, ", "))
	}
	return text.String()
}

// compiled returns the packages of this module, and for every package where the compiler left
// what it exports.
func compiled(t *testing.T) (own []listed, exports map[string]string) {
	t.Helper()
	exports = map[string]string{}
	for _, p := range list(t, "-deps", "-export", "-json=ImportPath,Dir,Export,GoFiles") {
		exports[p.ImportPath] = p.Export
		if strings.HasPrefix(p.ImportPath, module) {
			own = append(own, p)
		}
	}
	return own, exports
}

// usesOf asks the type checker which file uses names, methods and fields of which other file.
func usesOf(t *testing.T, p listed, exports map[string]string) uses {
	t.Helper()
	fset := token.NewFileSet()
	var files []*ast.File
	written := uses{}
	for _, name := range p.GoFiles {
		f, err := parser.ParseFile(fset, filepath.Join(p.Dir, name), nil, parser.SkipObjectResolution|parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, f)
		if !ast.IsGenerated(f) {
			written[name] = map[string][]string{}
		}
	}
	lookup := func(path string) (io.ReadCloser, error) { return os.Open(exports[path]) }
	info := &types.Info{Uses: map[*ast.Ident]types.Object{}}
	conf := types.Config{Importer: importer.ForCompiler(fset, "gc", lookup)}
	if _, err := conf.Check(p.ImportPath, fset, files, info); err != nil {
		t.Fatal(err)
	}
	for at, of := range info.Uses {
		if of.Pkg() == nil || of.Pkg().Path() != p.ImportPath {
			continue
		}
		from, to := filepath.Base(fset.Position(at.Pos()).Filename), filepath.Base(fset.Position(of.Pos()).Filename)
		if from == to || written[from] == nil || written[to] == nil {
			continue
		}
		if names := written[from][to]; !slices.Contains(names, at.Name) {
			written[from][to] = append(names, at.Name)
		}
	}
	for _, to := range written {
		for _, names := range to {
			slices.Sort(names)
		}
	}
	return written
}
