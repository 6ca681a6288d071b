package prepare

import (
	"fmt"
	"os"

	"github.com/remora-backup/remora/core/code"
	"github.com/remora-backup/remora/core/repo"
	"github.com/remora-backup/remora/core/run"
)

// aborted is the last line of a run that failed.
func (w *work) aborted() string {
	if w.changing.Load() {
		return run.Corrupted(w.source.databases, w.path)
	}
	return "Operation aborted"
}

// whatIsLeft says how to go on, or to begin anew. The directory tells it: a run that could
// not write its journal knows less.
func (w *work) whatIsLeft() run.Left {
	nothing := run.Left{Text: "Nothing was changed."}
	if !w.opened.Load() {
		return nothing
	}
	stage, err := stageOf(w.path)
	if err != nil {
		return run.Left{Text: fmt.Sprintf("Whether %s was changed is left open: %v", w.path, err), Names: []string{w.path}}
	}
	left := run.Left{Names: []string{w.path}}
	switch stage {
	case applying:
		left.Text = fmt.Sprintf("%s is left as the backup has it, or on the way to what a server recovers. To go on: %s", w.path, w.again())
	case recovering:
		left.Text = fmt.Sprintf("%s is left recovered in part and is of no use. %s", w.path, w.anew())
	case recovered:
		left.Text = fmt.Sprintf("%s is left recovered, with files of the server that did it. To finish: %s", w.path, w.again())
	default: // nothing was begun, or there was nothing to do
		return nothing
	}
	return left
}

// stageOf reads how far a prepare of the directory came; "" if none was begun.
func stageOf(dir string) (stage, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return "", err
	}
	defer root.Close()
	j, err := readJournal(root)
	if err != nil || j == nil {
		return "", err
	}
	return j.Stage, j.close()
}

// again is the command that goes on.
func (w *work) again() string {
	text := "remora prepare " + code.Word(w.path)
	if w.cfg.Incremental != "" {
		text += " --incremental " + code.Word(w.cfg.Incremental)
	}
	return text
}

// anew is how to come to the files that the backup has.
func (w *work) anew() string {
	e, err := repo.ReadExport(w.path)
	if err != nil { // not made by an export
		return "Copy the backup there anew, then: " + w.again()
	}
	dir := code.Word(w.path)
	return fmt.Sprintf("To take it from the backup again: rm -r %s && remora export %s %s && %s", dir, e.Manifest.ID, dir, w.again())
}
