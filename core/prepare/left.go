package prepare

import (
	"fmt"
	"os"
	"sync/atomic"

	"github.com/remora-backup/remora/core/code"
	"github.com/remora-backup/remora/core/repo"
	"github.com/remora-backup/remora/core/run"
)

// lastWords is what a run that failed says at its end, which may be asked for at any moment.
type lastWords struct {
	incremental string                   // as it was named
	path        atomic.Pointer[string]   // of the directory, once it is open
	databases   atomic.Pointer[[]string] // concerned
	changing    atomic.Bool              // a server is let to change the data, now or in an earlier run
}

// aborted is the last line of a run that failed.
func (w *lastWords) aborted() string {
	if w.changing.Load() {
		var databases []string
		if named := w.databases.Load(); named != nil {
			databases = *named
		}
		return run.Corrupted(databases, *w.path.Load())
	}
	return "Operation aborted"
}

// whatIsLeft says how to go on, or to begin anew. The directory tells it: a run that could
// not write its journal knows less.
func (w *lastWords) whatIsLeft() run.Left {
	nothing := run.Left{Text: "Nothing was changed."}
	open := w.path.Load()
	if open == nil {
		return nothing
	}
	path := *open
	stage, err := stageOf(path)
	if err != nil {
		return run.Left{Text: fmt.Sprintf("Whether %s was changed is left open: %v", path, err), Names: []string{path}}
	}
	left := run.Left{Names: []string{path}}
	switch stage {
	case applying:
		left.Text = fmt.Sprintf("%s is left as the backup has it, or on the way to what a server recovers. To go on: %s", path, w.again(path))
	case recovering:
		left.Text = fmt.Sprintf("%s is left recovered in part and is of no use. %s", path, w.anew(path))
	case recovered:
		left.Text = fmt.Sprintf("%s is left recovered, with files of the server that did it. To finish: %s", path, w.again(path))
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
func (w *lastWords) again(path string) string {
	text := "remora prepare " + code.Word(path)
	if w.incremental != "" {
		text += " --incremental " + code.Word(w.incremental)
	}
	return text
}

// anew is how to come to the files that the backup has.
func (w *lastWords) anew(path string) string {
	e, err := repo.ReadExport(path)
	if err != nil { // not made by an export
		return "Copy the backup there anew, then: " + w.again(path)
	}
	dir := code.Word(path)
	return fmt.Sprintf("To take it from the backup again: rm -r %s && remora export %s %s && %s", dir, e.Manifest.ID, dir, w.again(path))
}
