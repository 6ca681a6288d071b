package mysqld

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// stuckAfter is how long a server may do nothing that can be seen before it is given up: it says
// nothing, and reads and writes nothing. It bounds every wait for what a server is to say.
const stuckAfter = 30 * time.Minute

// look is how often it is looked at.
const look = 100 * time.Millisecond

// settled returns true when the server has answered and has rolled back what was not committed,
// or when it is gone; false when it does nothing any more. Before that nobody knows whether it
// can: the undo of a table that it cannot open is left out. doings is what it has done so far.
//
// That it has answered its log says, and the file of the last answer shows, whatever its log
// says. How much there was to be rolled back then is one of the answers: rollbacks of DDL come
// before it, and are not announced.
func (w *watch) settled(gone <-chan struct{}, doings func() string) bool {
	if !w.until(gone, doings, func() bool { return happened(w.asked) || answered(w.opts.Home) }) {
		return false
	}
	return w.until(gone, doings, func() bool {
		return happened(w.ended) || !happened(w.began) && unresolved(w.opts.Home) <= int(w.prepared.Load())
	})
}

// until waits for something; false if the server is stuck before.
func (w *watch) until(gone <-chan struct{}, doings func() string, done func() bool) bool {
	tick := time.NewTicker(look)
	defer tick.Stop()
	last, since := "", time.Now()
	for !done() {
		if now := fmt.Sprint(w.lines.Load(), " ", doings()); now != last {
			last, since = now, time.Now()
		}
		if time.Since(since) >= stuckAfter {
			w.stuck = true
			return false
		}
		select {
		case <-gone:
			return true
		case <-tick.C:
		}
	}
	return true
}

// answered reports whether the last answer is there, whole.
func answered(home string) bool {
	b, err := os.ReadFile(filepath.Join(home, gtidName))
	return err == nil && strings.HasSuffix(string(b), "\n")
}

// unresolved is how many transactions that a recovery found were neither committed nor rolled
// back when the server was asked, prepared ones among them; 1<<20 if it has not told.
func unresolved(home string) int {
	lines, err := answer(home, unresolvedName, 1)
	if err == nil && len(lines) == 1 {
		if n, err := strconv.Atoi(lines[0][0]); err == nil {
			return n
		}
	}
	return 1 << 20
}

// doings returns what a process has read from disk and written, which is "" where that cannot be seen.
func doings(pid int) func() string {
	name := fmt.Sprintf("/proc/%d/io", pid)
	return func() string {
		b, _ := os.ReadFile(name)
		_, disk, _ := strings.Cut(string(b), "\nread_bytes")
		return disk
	}
}
