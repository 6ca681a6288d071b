package restore

import (
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"github.com/remora-backup/remora/core/code"
	"github.com/remora-backup/remora/core/repo"
	"github.com/remora-backup/remora/core/run"
	"github.com/remora-backup/remora/core/staging"
)

// story is what a run that failed says of what it leaves. It may be asked at any moment,
// while phases still tell it what they do.
type story struct {
	again func(backup, target string) string // the command that goes on

	mu        sync.Mutex
	backup    string
	databases []string
	target    string // absolute
	staged    bool   // there are files of ours in the target
	changing  bool   // they are being moved to where a server would look
}

func (s *story) concerns(m *repo.Manifest) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.backup, s.databases = m.ID, m.Databases
}

func (s *story) goesTo(target string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.target = target
}

func (s *story) stages() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.staged = true
}

func (s *story) changes() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.staged, s.changing = true, true
}

// aborted is the last line of a run that failed. What lies in the target changes from the
// first move into it on; before, and in a target that holds nothing but our own directory,
// no data is there that could be corrupted.
func (s *story) aborted() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.changing:
		return run.Corrupted(s.databases, s.target)
	case s.staged:
		return fmt.Sprintf("Operation aborted. Incomplete files in %s; the server cannot start from them", s.incomplete())
	}
	return "Operation aborted"
}

func (s *story) incomplete() string { return filepath.Join(s.target, staging.Name) }

// undone says how to go on, or to go back.
func (s *story) undone() run.Left {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.staged {
		return run.Left{Text: "Nothing was written."}
	}
	l := run.Left{Names: []string{s.incomplete()}}
	again := s.again(s.backup, s.target)
	if !s.changing {
		l.Text = fmt.Sprintf("Incomplete files are left in %s; no server can start from %s. To go on with what is whole: %s. To remove them: rm -r %s",
			s.incomplete(), s.target, again, code.Word(s.incomplete()))
		return l
	}
	l.Names = append(l.Names, s.target)
	if _, err := os.Lstat(filepath.Join(s.target, staging.Dictionary)); err == nil {
		l.Text = fmt.Sprintf("All files are in %s, but would perhaps not survive a power failure. To make sure: %s", s.target, again)
	} else {
		l.Text = fmt.Sprintf("Part of the files is in %s, without mysql.ibd: no server can start from it. To go on: %s. To remove them: rm -r %s",
			s.target, again, code.Word(s.target))
	}
	return l
}
