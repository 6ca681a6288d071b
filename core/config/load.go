package config

import (
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"

	"github.com/BurntSushi/toml"

	"github.com/remora-backup/remora/core/code"
)

// Find returns the file to read: flag if it is not empty, else $REMORA_CONFIG, else
// DefaultPath.
func Find(flag string, getenv func(string) string) string {
	if flag != "" {
		return flag
	}
	if env := getenv("REMORA_CONFIG"); env != "" {
		return env
	}
	return DefaultPath
}

// Load reads and checks the file. Errors carry code.Usage.
func Load(path string) (Settings, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return Settings{}, code.Hint(code.Usage, "name the file with --config or $REMORA_CONFIG", "read configuration: %w", err)
	}
	return Parse(path, string(text))
}

// Parse reads the text of a file; path is named in errors only.
func Parse(path, text string) (Settings, error) {
	var tree map[string]any
	if _, err := toml.Decode(text, &tree); err != nil {
		var syntax toml.ParseError
		if errors.As(err, &syntax) {
			return Settings{}, code.New(code.Usage, "%s:%d: %s", path, syntax.Position.Line, explain(syntax, text))
		}
		return Settings{}, code.New(code.Usage, "%s: %w", path, err)
	}
	s := defaults()
	s.Path = path
	d := &decoder{path: path, text: text}
	s.Storage.d, s.Storage.at = d, keys{"storage"}
	s.Lock.d, s.Lock.at = d, keys{"lock"}
	var err error
	if s.Warnings, err = d.rename(tree); err != nil {
		return Settings{}, err
	}
	if err := d.table(nil, tree, &s); err != nil {
		return Settings{}, err
	}
	if err := d.check(&s); err != nil {
		return Settings{}, err
	}
	return s, nil
}

// renamed are keys that have another name since the last release. The old ones work until the
// next, with a warning, so that a new binary can come before the new configuration.
func renamed() []rename {
	return []rename{{"backup", "lock_wait_timeout", "lock_patience"}}
}

type rename struct{ table, old, now string }

// rename gives renamed keys of tree their names, and returns what to warn of.
func (d *decoder) rename(tree map[string]any) (warnings []string, err error) {
	for _, r := range renamed() {
		table, ok := tree[r.table].(map[string]any)
		if !ok {
			continue
		}
		v, ok := table[r.old]
		if !ok {
			continue
		}
		at := keys{r.table, r.old}
		if _, both := table[r.now]; both {
			return nil, d.errorf(at, "keep "+r.now, "[%s] %s is the old name of %s, and both are set", r.table, r.old, r.now)
		}
		warnings = append(warnings, d.place(at)+": ["+r.table+"] "+r.old+" is called "+r.now+" now; the old name works in this release only")
		table[r.now] = v
		delete(table, r.old)
	}
	return warnings, nil
}

// The words of the TOML reader for what stands in the file twice.
var definedTwice = regexp.MustCompile(`^Key '([^']+)' has already been defined`)

// explain adds where a key or table stood first that is there again.
func explain(e toml.ParseError, text string) string {
	m := definedTwice.FindStringSubmatch(e.Message)
	if m == nil {
		return e.Message
	}
	lines := strings.Split(text, "\n")
	above := lines[:min(max(e.Position.Line-1, 0), len(lines))]
	if first := lineOf(strings.Join(above, "\n"), parts(m[1])); first > 0 {
		return fmt.Sprintf("%s was set before, on line %d: keep one of them", m[1], first)
	}
	return m[1] + " was set before: keep one of them"
}

var quotedKey = regexp.MustCompile(`key "([^"]+)"`)

// Explain says where in the file the settings stand that the plugin refused with err:
// the key it names (as in: key "url"), else its table. The code and hint of err remain.
func (p Plugin) Explain(err error) error {
	if err == nil || p.d == nil {
		return err
	}
	table := p.at.with("config")
	named := table
	if m := quotedKey.FindStringSubmatch(err.Error()); m != nil {
		named = table.with(m[1])
	}
	return fmt.Errorf("%s: [%s]: %w", p.d.place(named), strings.Join(table.names(), "."), err)
}
