package syncpoint

import (
	"context"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"regexp"
	"slices"
	"strconv"
	"testing"
)

// Every constant is in the list, once, and well named.
func TestListIsComplete(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "points.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var declared []Point
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok || len(spec.Values) != 1 {
			return true
		}
		if lit, ok := spec.Values[0].(*ast.BasicLit); ok {
			name, err := strconv.Unquote(lit.Value)
			if err != nil {
				t.Fatal(err)
			}
			declared = append(declared, Point(name))
		}
		return true
	})
	if len(declared) == 0 || !slices.Equal(declared, All()) {
		t.Errorf("declared are %q, listed %q", declared, All())
	}
	seen := map[Point]bool{}
	for _, p := range All() {
		if seen[p] || !regexp.MustCompile(`^[a-z]+\.[a-z_]+$`).MatchString(string(p)) {
			t.Errorf("point %q is listed twice or badly named", p)
		}
		seen[p] = true
	}
	if Known("copy.nothing") || !Known(CopyExtent) {
		t.Error("Known does not follow the list")
	}
}

type refuse struct{ err error }

func (r refuse) At(context.Context, Point) error { return r.err }

func TestAtAsksTheController(t *testing.T) {
	if err := At(t.Context(), CopyExtent); err != nil {
		t.Errorf("without a controller: %v", err)
	}
	want := errors.New("no")
	if err := At(With(t.Context(), refuse{want}), CopyExtent); !errors.Is(err, want) {
		t.Errorf("got %v, want %v", err, want)
	}
}
