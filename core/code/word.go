package code

import (
	"regexp"
	"strings"
)

// Word quotes a path for the shell: people copy what we tell them to type.
func Word(path string) string {
	if plain.MatchString(path) {
		return path
	}
	return "'" + strings.ReplaceAll(path, "'", `'\''`) + "'"
}

var plain = regexp.MustCompile(`^[A-Za-z0-9_./@%+=:,-]+$`)
