package run

import (
	"fmt"
	"strings"
)

// Corrupted is the last line of a run that was changing target, with these databases, if
// they are known.
func Corrupted(databases []string, target string) string {
	const text = "Operation aborted - data might be corrupted."
	if len(databases) == 0 {
		return fmt.Sprintf("%s Target: %s", text, target)
	}
	return fmt.Sprintf("%s Affected database(s): %s (%d). Target: %s", text, Quoted(databases), len(databases), target)
}

// Quoted names databases for a person, the first twenty of them.
func Quoted(names []string) string {
	const most = 20
	var q []string
	for _, n := range names[:min(len(names), most)] {
		q = append(q, "`"+strings.ReplaceAll(n, "`", "``")+"`")
	}
	if len(names) > most {
		q = append(q, "...")
	}
	return strings.Join(q, ",")
}
