package cmd

import (
	"fmt"
	"strings"
	"time"

	"github.com/remora-backup/remora/core/run"
)

// The three levels of a line for people.
const (
	note    = "[Note]"
	warning = "[Warning]"
	failure = "[ERROR]"
)

// line is one message for people: [Note]    Backup: Releasing locks.
type line struct {
	level, operation, text string
}

func (l line) String() string {
	return fmt.Sprintf("%-9s %s: %s", l.level, l.operation, l.text)
}

// lineOf says an event in words; the text is empty if it is nothing for people.
func lineOf(e run.Event) line {
	l := line{level: note, operation: title(e.Operation), text: e.Message}
	switch e.Kind {
	case run.KindPhase:
		l.text = e.Phase + " ..."
		if over(e.Phase) {
			l.text = "" // the end says so
		}
	case run.KindProgress:
		l.text = progressText(e)
	case run.KindWarning:
		l.level = warning
	case run.KindStall:
		l.level, l.text = warning, fmt.Sprintf("%s: nothing moved for %v", e.Phase, time.Duration(e.IdleSeconds)*time.Second)
	case run.KindError:
		l.level, l.text = failure, fmt.Sprintf("%d %s", e.Code, e.Error)
		if e.InterruptedBy != "" {
			l.level, l.text = note, fmt.Sprintf("Operation has been interrupted. (%s)", e.InterruptedBy)
		}
	case run.KindEnd:
		l.text = sentence(e.Message)
		if e.State != run.Complete && e.State != run.CompleteWithWarnings {
			l.level = warning
		}
	}
	return l
}

// over reports whether the phase is one in which operations end.
func over(phase string) bool {
	return phase == run.PhaseCompleted || phase == run.PhaseFailed || phase == run.PhaseCancelled
}

func progressText(e run.Event) string {
	if e.Percent == nil {
		return ""
	}
	text := fmt.Sprintf("%s %d%%", e.Phase, *e.Percent)
	if e.TargetLSN > 0 {
		text += fmt.Sprintf(", LSN %d of %d", e.LSN, e.TargetLSN)
	}
	if e.ETASeconds != nil {
		text += fmt.Sprintf(", %v left", time.Duration(*e.ETASeconds*float64(time.Second)).Round(time.Second))
	}
	return text
}

// databasesText names at most 20 databases, quoted as MySQL does.
func databasesText(operation string, names []string) string {
	verb := map[string]string{"backup": "Backing up", "restore": "Restoring", "export": "Exporting", "prepare": "Preparing"}[operation]
	var quoted []string
	for _, n := range names[:min(20, len(names))] {
		quoted = append(quoted, "`"+strings.ReplaceAll(n, "`", "``")+"`")
	}
	if len(names) > 20 {
		quoted = append(quoted, "...")
	}
	return fmt.Sprintf("%s database(s) %s (%d)", verb, strings.Join(quoted, ","), len(names))
}

func title(s string) string {
	if s == "" {
		return ""
	}
	return strings.ToUpper(s[:1]) + s[1:]
}

func sentence(s string) string {
	if s == "" || strings.HasSuffix(s, ".") {
		return s
	}
	return s + "."
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
