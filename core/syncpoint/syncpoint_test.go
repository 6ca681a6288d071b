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

// Between notices an interruption that came while the point was held, with or without a
// controller; what the controller says comes first.
func TestBetweenLooksForAnInterruption(t *testing.T) {
	stop, refused := errors.New("stop"), errors.New("refused")
	ctx, cancel := context.WithCancelCause(t.Context())
	if err := Between(ctx, CopyExtent); err != nil {
		t.Errorf("uninterrupted: got %v", err)
	}
	cancel(stop)
	for name, c := range map[string]struct {
		ctx  context.Context
		want error
	}{"no controller": {ctx, stop}, "held": {With(ctx, refuse{nil}), stop}, "refused": {With(ctx, refuse{refused}), refused}} {
		if err := Between(c.ctx, CopyExtent); !errors.Is(err, c.want) {
			t.Errorf("%s: got %v, want %v", name, err, c.want)
		}
	}
}
