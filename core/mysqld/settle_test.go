package mysqld

import (
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"
)

// The wait for answers ends with the answers, whatever the log says, and with a server that does nothing.
func TestSettled(t *testing.T) {
	write := func(home, name, text string) {
		if err := os.WriteFile(filepath.Join(home, name), []byte(text), 0o600); err != nil {
			t.Error(err)
		}
	}
	for name, c := range map[string]struct {
		gtids, left string
		busy        time.Duration // so long it does something
		settled     bool
		least, most time.Duration // that it takes
	}{
		"answers without a message":       {"\n", "0\n", time.Hour, true, 0, time.Second},
		"the last answer is cut":          {"616", "0\n", 0, false, stuckAfter, stuckAfter + time.Second},
		"no answer, and nothing done":     {"", "", 0, false, stuckAfter, stuckAfter + time.Second},
		"no answer, nothing after a time": {"", "", 5 * time.Hour, false, 5*time.Hour + stuckAfter, 5*time.Hour + stuckAfter + time.Second},
		"transactions that stay":          {"\n", "1\n", 0, false, stuckAfter, stuckAfter + time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			home := t.TempDir()
			write(home, gtidName, c.gtids)
			write(home, unresolvedName, c.left)
			synctest.Test(t, func(t *testing.T) {
				w, began := newWatch(RecoverOptions{Home: home}), time.Now()
				got := w.settled(nil, func() string { return min(time.Since(began), c.busy).String() })
				if took := time.Since(began); got != c.settled || w.stuck == got || took < c.least || took > c.most {
					t.Errorf("got %v (stuck: %v) after %v, want %v after %v to %v", got, w.stuck, took, c.settled, c.least, c.most)
				}
			})
		})
	}
}
