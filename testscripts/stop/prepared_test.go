package stop

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/remora-backup/remora/core/prepare"
	"github.com/remora-backup/remora/core/run"
	"github.com/remora-backup/remora/core/syncpoint"
)

// advised checks that the words before the end name what goes on, or begins anew.
func (c *check) advised(text string, end run.Event) {
	o := c.o
	want, left := "", false
	at := func(p syncpoint.Point) bool { return o.at() >= place(o.operation, p) }
	switch {
	case o.operation == "export" && at(syncpoint.FetchJournal):
		want, left = "remora export ", true
	case o.operation == "restore" && at(syncpoint.FetchJournal):
		want, left = "remora restore ", true
	case o.prepares() && at(syncpoint.ApplyingBegun):
		want, left = "remora prepare "+c.home.path("new"), true
	}
	if left && len(end.Leftovers) == 0 || !strings.Contains(text, want) {
		c.t.Errorf("before the end comes %q, left is %q; want the command %q", text, end.Leftovers, want)
	}
	if got, want := strings.Contains(text, "of no use"), c.ruined(); got != want {
		c.t.Errorf("before the end comes %q; does it say that the directory is of no use: %v, want %v", text, got, want)
	}
}

// ruined reports whether a server was, or may have been, changing the directory, and did not
// come to its end.
func (c *check) ruined() bool {
	o := c.o
	return o.prepares() && c.answer.code != 0 && o.trigger() == "" &&
		o.at() >= place(o.operation, syncpoint.PrepareSpawn) && o.at() < place(o.operation, syncpoint.PrepareKept)
}

// nextPrepare goes on with the preparation. Where there is no way on it must be refused, and
// the commands that are named instead must do.
func (c *check) nextPrepare(ctx context.Context) {
	target := c.home.path("new")
	whole := c.answer.code == 0 || c.o.fault == killHost && c.o.committed() && c.o.trigger() == ""
	if c.prepared() != whole {
		c.t.Errorf("the directory says that it is prepared: %v, want %v", c.prepared(), whole)
	}
	if c.ruined() {
		refusal := c.answers(ctx, 19, "prepare", target)
		if end := refusal.end(); end == nil || !strings.HasPrefix(end.Message, "Operation aborted - data might be corrupted") {
			c.t.Errorf("a directory that was recovered in part is refused with %+v", end)
		}
		c.anew(ctx, refusal)
	} else {
		c.again(ctx, "prepare", target)
	}
	if !c.prepared() || exists(filepath.Join(target, ".remora-prepare")) {
		c.t.Errorf("after the next prepare: prepared %v, remains %v", c.prepared(), exists(filepath.Join(target, ".remora-prepare")))
	}
	if *every > 0 && c.o.number%*every == 0 {
		c.same(ctx, target)
	}
}

// prepared reads the journal in the directory.
func (c *check) prepared() bool {
	text, err := os.ReadFile(filepath.Join(c.home.path("new"), prepare.JournalName))
	return err == nil && strings.Contains(string(text), `"stage":"prepared"`)
}

// anew does what the answer says. Nobody but its owner can copy a backup of another tool.
func (c *check) anew(ctx context.Context, a answer) {
	target := c.home.path("new")
	list := commands(a.words())
	if c.o.operation == foreign {
		from, err := original(c.o)
		if !strings.Contains(a.words(), "Copy the backup there anew, then: remora prepare "+target) || err != nil {
			c.t.Errorf("%v, the answer says %q", err, a.words())
			return
		}
		if err := os.RemoveAll(target); err != nil {
			c.t.Error(err)
		}
		if err := copyTree(from, target); err != nil {
			c.t.Error(err)
		}
		list = []string{"remora prepare " + target}
	}
	if len(list) == 0 {
		c.t.Errorf("the answer names no commands: %q", a.words())
	}
	for _, command := range list {
		words := strings.Fields(command)
		switch {
		case command == "rm -r "+target:
			if err := os.RemoveAll(target); err != nil {
				c.t.Error(err)
			}
		case words[0] == "remora":
			if a, err := begin(c.home, words[1:]...).wait(ctx); err != nil || a.code != 0 {
				c.t.Errorf("%s: %v, exit code %d\n%s", command, err, a.code, a)
			}
		default:
			c.t.Errorf("the answer names %q", command)
		}
	}
}

// words are what is said just before the end of a run that failed.
func (a answer) words() string {
	for i := len(a.events) - 1; i >= 0; i-- {
		if e := a.events[i]; e.Kind == run.KindNote {
			return e.Message
		}
	}
	return ""
}

// same starts a server on a directory and compares it with the source of the good backup.
func (c *check) same(ctx context.Context, target string) {
	if got := c.starts(ctx, target); fmt.Sprint(got) != fmt.Sprint(world.sums) {
		c.t.Errorf("the tables are %v, want %v", got, world.sums)
	}
}

// hooksTold makes sure that the scripts heard of every phase and of the end, by a process of
// its own after the first was killed.
func (c *check) hooksTold() {
	want := []string{"told the end, complete."}
	for _, e := range c.answer.events {
		if e.Kind == run.KindPhase {
			want = append(want, "told "+e.Phase+".")
		}
	}
	for _, text := range want {
		if !strings.Contains(c.answer.err, text) {
			c.t.Errorf("the hooks' log lacks %q:\n%s", text, c.answer.err)
		}
	}
}
