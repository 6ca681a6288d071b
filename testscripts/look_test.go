package testscripts

import (
	"bytes"
	"database/sql"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"
	_ "modernc.org/sqlite" // the driver "sqlite"
)

// objects decodes one JSON object per line; a line that is none fails the story.
func objects(text string) ([]map[string]any, error) {
	var all []map[string]any
	for line := range strings.Lines(text) {
		d := json.NewDecoder(strings.NewReader(line))
		d.UseNumber() // an LSN must not lose digits
		var o map[string]any
		if err := d.Decode(&o); err != nil {
			return nil, fmt.Errorf("line %q is no JSON object: %w", line, err)
		}
		all = append(all, o)
	}
	return all, nil
}

func lastObject(text string, into any) error {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return json.Unmarshal([]byte(lines[len(lines)-1]), into)
}

func fields(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) < 2 {
		ts.Fatalf("usage: fields FILE [KEY=VALUE...] KEY...")
	}
	all, err := objects(ts.ReadFile(args[0]))
	ts.Check(err)
	keys, where := split(args[1:])
	out := ts.Stdout()
	for _, o := range all {
		if !fits(o, where) {
			continue
		}
		var words []string
		for _, key := range keys {
			words = append(words, text(o, key))
		}
		fmt.Fprintln(out, strings.Join(words, " "))
	}
}

func split(args []string) (keys []string, where map[string]string) {
	where = map[string]string{}
	for _, a := range args {
		if key, value, ok := strings.Cut(a, "="); ok {
			where[key] = value
		} else {
			keys = append(keys, a)
		}
	}
	return keys, where
}

func keys(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) == 0 {
		ts.Fatalf("usage: keys FILE [KEY=VALUE...]")
	}
	all, err := objects(ts.ReadFile(args[0]))
	ts.Check(err)
	_, where := split(args[1:])
	var last map[string]any
	for _, o := range all {
		if fits(o, where) {
			last = o
		}
	}
	out := ts.Stdout()
	for _, key := range slices.Sorted(maps.Keys(last)) {
		fmt.Fprintln(out, key)
	}
}

func fits(o map[string]any, where map[string]string) bool {
	for key, value := range where {
		if text(o, key) != value {
			return false
		}
	}
	return true
}

func text(o map[string]any, key string) string {
	switch v := o[key].(type) {
	case nil:
		return "-"
	case string:
		return v
	default:
		var b bytes.Buffer
		e := json.NewEncoder(&b)
		e.SetEscapeHTML(false)
		_ = e.Encode(v) // it was JSON a moment ago
		return strings.TrimSpace(b.String())
	}
}

func capture(ts *testscript.TestScript, _ bool, args []string) {
	want(ts, args, "VARIABLE")
	value := strings.TrimSpace(ts.ReadFile("stdout"))
	if value == "" {
		ts.Fatalf("nothing to capture")
	}
	ts.Setenv(args[0], value)
}

// climbs holds the rule that a person watches: no percent at first, then each whole
// percent at most once, never backwards, 100 last.
func climbs(ts *testscript.TestScript, _ bool, args []string) {
	want(ts, args)
	lines := strings.Fields(ts.ReadFile("stdout"))
	if len(lines) < 3 || lines[0] != "-" {
		ts.Fatalf("percents are %v, want a dash first and some after", lines)
	}
	last := -1
	for _, line := range lines[1:] {
		n, err := strconv.Atoi(line)
		if err != nil || n <= last || n > 100 {
			ts.Fatalf("percent %s after %d", line, last)
		}
		last = n
	}
	if lines[1] != "0" || last != 100 {
		ts.Fatalf("percents go from %s to %d, want 0 to 100", lines[1], last)
	}
}

func count(ts *testscript.TestScript, _ bool, args []string) {
	want(ts, args, "N", "FILE")
	if got := strings.Count(ts.ReadFile(args[1]), "\n"); strconv.Itoa(got) != args[0] {
		ts.Fatalf("%s has %d lines, want %s", args[1], got, args[0])
	}
}

func onSQLite(ts *testscript.TestScript, _ bool, args []string) {
	want(ts, args, "FILE", "STATEMENT")
	db, err := sql.Open("sqlite", "file:"+ts.MkAbs(args[0])+"?mode=rw&_pragma=busy_timeout(5000)")
	ts.Check(err)
	defer db.Close()
	rows, err := db.Query(args[1])
	ts.Check(err)
	defer rows.Close()
	ts.Check(printRows(ts, rows))
}

func flip(ts *testscript.TestScript, _ bool, args []string) {
	want(ts, args, "FILE")
	path := ts.MkAbs(args[0])
	b, err := os.ReadFile(path)
	ts.Check(err)
	if len(b) == 0 {
		ts.Fatalf("%s is empty", args[0])
	}
	b[len(b)/2] ^= 0x01
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	ts.Check(err)
	defer f.Close()
	_, err = f.WriteAt(b[len(b)/2:len(b)/2+1], int64(len(b)/2))
	ts.Check(err)
}
