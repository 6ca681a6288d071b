package config

import (
	"regexp"
	"strconv"
	"strings"
)

const oneKey = `(?:[A-Za-z0-9_-]+|"[^"]*"|'[^']*')`

var (
	dotted     = oneKey + `(?:\s*\.\s*` + oneKey + `)*`
	headerLine = regexp.MustCompile(`^\s*(\[\[?)\s*(` + dotted + `)\s*\]`)
	keyLine    = regexp.MustCompile(`^\s*(` + dotted + `)\s*=\s*(.*)`)
	keyParts   = regexp.MustCompile(oneKey)
)

// lineOf returns the line on which the value at was set, counted from 1, or the line of
// the closest thing around it, or 0. The TOML reader keeps positions to itself, so the
// text is searched again; a text it has accepted needs no second parser.
func lineOf(text string, at keys) int {
	var table keys
	best, depth := 0, 0
	counts := map[string]int{}
	closing := "" // of the multi-line string we are in
	for i, line := range strings.Split(text, "\n") {
		if closing != "" {
			if strings.Contains(line, closing) {
				closing = ""
			}
			continue
		}
		path := table
		if m := headerLine.FindStringSubmatch(line); m != nil {
			table = openTable(counts, parts(m[2]), m[1] == "[[")
			path = table
		} else if m := keyLine.FindStringSubmatch(line); m != nil {
			path = append(append(keys{}, table...), parts(m[1])...)
			closing = opensString(m[2])
		} else {
			continue
		}
		if n := common(path, at); n == len(path) && n > depth {
			best, depth = i+1, n
		}
	}
	return best
}

// openTable resolves a header to a way: names of arrays of tables are followed by the
// position of their latest element.
func openTable(counts map[string]int, names []string, array bool) keys {
	var way keys
	for i, name := range names {
		way = append(way, name)
		id := strings.Join(way, "\x00")
		if array && i == len(names)-1 {
			counts[id]++
		}
		if n := counts[id]; n > 0 {
			way = append(way, strconv.Itoa(n-1))
		}
	}
	return way
}

func parts(dottedKey string) []string {
	found := keyParts.FindAllString(dottedKey, -1)
	for i, s := range found {
		if s[0] == '"' || s[0] == '\'' {
			found[i] = s[1 : len(s)-1]
		}
	}
	return found
}

// opensString returns the end to look for if value begins a string of several lines.
func opensString(value string) string {
	for _, quotes := range []string{`"""`, `'''`} {
		if rest, ok := strings.CutPrefix(value, quotes); ok && !strings.Contains(rest, quotes) {
			return quotes
		}
	}
	return ""
}

func common(a, b keys) int {
	n := 0
	for n < len(a) && n < len(b) && a[n] == b[n] {
		n++
	}
	return n
}
