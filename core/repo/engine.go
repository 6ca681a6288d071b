package repo

import (
	"fmt"
	"strings"
)

// Engine is an engine whose rows the backup does not hold. Its tables are in the dictionary of
// the server that is restored.
type Engine struct {
	Name     string  `json:"name"`
	Excluded bool    `json:"excluded,omitempty"` // left out on purpose; else it is MEMORY, whose rows no restart keeps
	Tables   []Table `json:"tables,omitempty"`   // those that are known
}

// Table names a table of the source.
type Table struct {
	Schema string `json:"schema"`
	Name   string `json:"name"`
}

func (t Table) String() string { return t.Schema + "." + t.Name }

// mostNamed is how many tables are named in a message.
const mostNamed = 5

// Unheld says what the backup does not hold, for people.
func (e Engine) Unheld() string {
	if e.Excluded {
		return "left out on purpose: " + e.String()
	}
	return "the rows are not in the backup, as no restart keeps them: " + e.String()
}

// String names the engine and some of its tables.
func (e Engine) String() string {
	if len(e.Tables) == 0 {
		return e.Name
	}
	var names []string
	for _, t := range e.Tables[:min(len(e.Tables), mostNamed)] {
		names = append(names, t.String())
	}
	if more := len(e.Tables) - len(names); more > 0 {
		names = append(names, fmt.Sprintf("and %d more", more))
	}
	return fmt.Sprintf("%s (%s)", e.Name, strings.Join(names, ", "))
}
