package stop

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/remora-backup/remora/core/plug"
	"github.com/remora-backup/remora/core/syncpoint"
	"github.com/remora-backup/remora/plugins/sdk"
)

// oddNotify is a notify plugin that hangs, dies, or writes more to its log than anybody reads.
type oddNotify struct {
	Does string `json:"does"`
}

func serveOddNotify() {
	sdk.ServeNotify(func(config json.RawMessage) (plug.Notify, error) {
		o := &oddNotify{}
		return o, sdk.Decode(config, o)
	})
}

func (o *oddNotify) Send(context.Context, plug.Notice) error {
	switch o.Does {
	case "hang":
		select {}
	case "die":
		os.Exit(3)
	case "flood":
		line := strings.Repeat("x", 1000) + "\n"
		for range 5000 {
			fmt.Fprint(os.Stderr, line)
		}
	}
	return nil
}

// badNotifiers takes a backup with notify plugins that hang, die, and flood, and one without.
func badNotifiers(t *testing.T, b *bench) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	more := ""
	for _, does := range []string{"hang", "die", "flood"} {
		more += fmt.Sprintf("[[notify]]\nplugin = %q\nargs = [\"odd-notify\"]\n[notify.config]\ndoes = %q\n", self, does)
	}
	took := map[string]float64{}
	for name, more := range map[string]string{"good": "", "bad": more} {
		dir := filepath.Join(b.dir, fmt.Sprint("notify", numbers.Add(1)))
		h, err := newHome(dir, b.server(t).Socket, filepath.Join(dir, "repo"), more)
		if err != nil {
			t.Fatal(err)
		}
		defer os.RemoveAll(dir)
		begun := time.Now()
		p := begin(h, "backup")
		a, err := p.wait(t.Context())
		if err != nil || a.code != 0 || a.end() == nil {
			t.Fatalf("with %s notifiers: %v, exit code %d\n%s", name, err, a.code, a)
		}
		took[name] = a.end().Duration
		t.Logf("with %s notifiers: the backup took %.2fs, all %v", name, a.end().Duration, time.Since(begun))
		if len(a.err) > 8<<20 {
			t.Errorf("with %s notifiers: %d bytes of log", name, len(a.err))
		}
		if n := strings.Count(a.err, "notice not taken"); name == "bad" && (n < 2 || n > 3*4) {
			t.Errorf("%d notices were not taken, want some, and of each plugin no more than three and the end", n)
		}
		c := &check{t: t, b: b, home: h, p: p, o: one{"backup", syncpoint.StoreDone, "", 1000}}
		if got := c.listed(); len(got) != 1 {
			t.Errorf("listed are %v", got)
		}
	}
	// A single notice that was waited for would take five seconds.
	if took["bad"]-took["good"] > 4 {
		t.Errorf("the backup took %.2fs with bad notifiers, %.2fs without", took["bad"], took["good"])
	}
}
