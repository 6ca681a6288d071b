package config

import (
	"errors"
	"fmt"
	"os"

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
			return Settings{}, code.New(code.Usage, "%s:%d: %s", path, syntax.Position.Line, syntax.Message)
		}
		return Settings{}, code.New(code.Usage, "%s: %w", path, err)
	}
	s := defaults()
	s.Path = path
	d := decoder{path: path, text: text}
	if err := d.table(nil, tree, &s); err != nil {
		return Settings{}, err
	}
	if err := d.check(&s); err != nil {
		return Settings{}, err
	}
	return s, nil
}

// decoder keeps what an error needs to name its place.
type decoder struct {
	path, text string
}

func (d *decoder) errorf(at keys, hint, format string, args ...any) error {
	where := d.path
	if n := lineOf(d.text, at); n > 0 {
		where = fmt.Sprintf("%s:%d", d.path, n)
	}
	return code.Hint(code.Usage, hint, "%s: %s", where, fmt.Sprintf(format, args...))
}
