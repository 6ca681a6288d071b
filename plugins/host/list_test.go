package host

import (
	"fmt"
	"strings"
	"testing"

	pb "github.com/remora-backup/remora/plugins/proto/v1"
)

// TestListBelievesNothing: a list is in order, of what was asked for, and ends.
func TestListBelievesNothing(t *testing.T) {
	for name, c := range map[string]struct {
		prefix string
		gives  []string
		wrong  string // part of the error; empty: none
	}{
		"right":              {"a/", []string{"a/b", "a/c", "a/c.d", "a/c/d"}, ""},
		"unreadable":         {"a/", []string{"a/b", "a/c/", "a/d"}, ""},
		"unreadable above":   {"a/b/c", []string{"a/b/"}, ""},
		"unreadable all":     {"a/b/c", []string{"/"}, "gave \"/\""},
		"unreadable else":    {"a/b/c", []string{"a/d/"}, "gave \"a/d/\""},
		"not asked for":      {"a/", []string{"b/c"}, "gave \"b/c\""},
		"above, readable":    {"a/b/c", []string{"a/b"}, "gave \"a/b\""},
		"out of order":       {"", []string{"b", "a"}, "in byte order"},
		"twice":              {"", []string{"a", "a"}, "in byte order"},
		"case without bytes": {"", []string{"a", "B"}, "in byte order"},
		"hostile":            {"", []string{"../x"}, "gave"},
	} {
		l := &lister{prefix: c.prefix}
		var err error
		for _, n := range c.gives {
			if err == nil {
				err = l.check([]*pb.Object{{Name: n}})
			}
		}
		if (err != nil) != (c.wrong != "") || err != nil && !strings.Contains(err.Error(), c.wrong) {
			t.Errorf("%s: got %v, want %q", name, err, c.wrong)
		}
	}
}

func TestListEnds(t *testing.T) {
	empty := &lister{}
	var err error
	for n := 0; err == nil; n++ {
		if err = empty.check(nil); n > 1000 {
			t.Fatal("messages without objects come for ever")
		}
	}
	if !strings.Contains(fmt.Sprint(err), "does not end") {
		t.Errorf("got %v", err)
	}
	full := &lister{count: endless}
	if err := full.check([]*pb.Object{{Name: "x"}}); err == nil {
		t.Error("objects come for ever")
	}
}
