package operate

import (
	"fmt"
	"strings"
	"time"

	"github.com/remora-backup/remora/core/run"
)

// The three levels of a line for people.
const (
	Note    = "[Note]"
	Warning = "[Warning]"
	Failure = "[ERROR]"
)

// Line is one message for people: [Note]    Backup: Releasing locks.
type Line struct {
	Level     string // Note, Warning or Failure
	Operation string // "Backup"
	Text      string
}

func (l Line) String() string {
	return fmt.Sprintf("%-9s %s: %s", l.Level, l.Operation, l.Text)
}

// LineOf says an event in words; the text is empty if it is nothing for people.
func LineOf(e run.Event) Line {
	l := Line{Level: Note, Operation: title(e.Operation), Text: e.Message}
	switch e.Kind {
	case run.KindPhase:
		l.Text = e.Phase + " ..."
		if Over(e.Phase) {
			l.Text = "" // the end says so
		}
	case run.KindProgress:
		l.Text = progressText(e)
	case run.KindWarning:
		l.Level = Warning
	case run.KindStall:
		l.Level, l.Text = Warning, fmt.Sprintf("%s: nothing moved for %v", e.Phase, time.Duration(e.IdleSeconds)*time.Second)
	case run.KindError:
		l.Level, l.Text = Failure, fmt.Sprintf("%d %s", e.Code, e.Error)
		if e.InterruptedBy != "" {
			l.Level, l.Text = Note, fmt.Sprintf("Operation has been interrupted. (%s)", e.InterruptedBy)
		}
	case run.KindEnd:
		l.Text = sentence(e.Message)
		if e.State != run.Complete && e.State != run.CompleteWithWarnings {
			l.Level = Warning
		}
	}
	return l
}

// Over reports whether the phase is one in which operations end.
func Over(phase string) bool {
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
