package cmd

import (
	"fmt"
	"strings"
	"time"

	"github.com/remora-backup/remora/core/run"
)

// databasesText says which databases an operation is about.
func databasesText(operation string, names []string) string {
	verb := map[string]string{"backup": "Backing up", "restore": "Restoring", "export": "Exporting", "prepare": "Preparing"}[operation]
	return fmt.Sprintf("%s database(s) %s (%d)", verb, run.Quoted(names), len(names))
}

// printable keeps what came from elsewhere from steering a terminal.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' && r != '\t' || r == 0x7f || r >= 0x80 && r < 0xa0 {
			return '?'
		}
		return r
	}, s)
}

// size says a number of bytes: 1.50 GiB.
func size(n int64) string {
	const units = "KMGTPE"
	if n < 1024 {
		return fmt.Sprintf("%d B", n)
	}
	f, unit := float64(n)/1024, 0
	for f >= 1000 && unit < len(units)-1 {
		f, unit = f/1024, unit+1
	}
	return fmt.Sprintf("%.3g %ciB", f, units[unit])
}

func took(d time.Duration) string {
	if d < 10*time.Second {
		return d.Round(10 * time.Millisecond).String()
	}
	return d.Round(time.Second).String()
}
