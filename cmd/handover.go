package cmd

import (
	"context"
	"encoding/json"

	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/remora-backup/remora/core/client"
	"github.com/remora-backup/remora/core/code"
	"github.com/remora-backup/remora/core/config"
	"github.com/remora-backup/remora/core/operate"
	"github.com/remora-backup/remora/core/run"
)

// sidecar is the one that will carry j out; nil if none runs, or none can.
func (a *app) sidecar(ctx context.Context, j job, s config.Settings, bad error) (*client.Client, error) {
	if bad != nil || j.handOver == nil || j.flags.debugSync != "" {
		return nil, nil
	}
	c, err := client.Find(ctx, s.State.Dir)
	if c == nil || err != nil {
		return nil, err
	}
	theirs, err := c.Configuration(ctx)
	if err != nil {
		return nil, err
	}
	if ours := absolute(s.Path); !sameFile(ours, theirs) { // another storage, another server
		return nil, code.Hint(code.Usage, "name that file, give this one a [state] dir of its own, or stop the sidecar",
			"the sidecar of %s works with the configuration %s, not with %s", s.State.Dir, theirs, ours)
	}
	return c, nil
}

// absolute is path as others can find it.
func absolute(path string) string {
	if abs, err := filepath.Abs(path); err == nil {
		return abs
	}
	return path
}

func sameFile(a, b string) bool {
	if a == b {
		return true
	}
	x, xerr := os.Stat(a)
	y, yerr := os.Stat(b)
	return xerr == nil && yerr == nil && os.SameFile(x, y)
}

// handOver lets the sidecar carry j out, shows what happens as if it happened here, and returns
// its one answer. The first Ctrl-C cancels the operation, the second leaves it to the sidecar.
func (a *app) handOver(ctx context.Context, c *client.Client, j job) error {
	started, err := j.handOver(ctx, c)
	if err != nil {
		return err
	}
	if j.flags.detach {
		return a.detached(started.ID, j.flags.asJSON)
	}
	ctx, leave := context.WithCancelCause(ctx)
	defer leave(nil)
	far := &remoteMeter{}
	tell := a.display(j.flags.asJSON, far)
	if a.env.Terminal {
		go far.poll(ctx, c, started.ID)
	}
	var signal run.Interrupted
	stop := a.watchSignals(func(why *run.Interrupted) {
		far.mu.Lock()
		signal = *why
		far.mu.Unlock()
		tell.Interrupted(why)
		if _, err := c.Cancel(context.WithoutCancel(ctx), started.ID); err != nil && !client.Gone(err) {
			fmt.Fprintf(tell.log(), "The sidecar was not reached: %v\n", err)
		}
	}, func() { leave(&run.Interrupted{By: "second signal", Code: code.Cancelled}) })
	defer stop()
	end, err := c.Follow(ctx, started.ID, func(e run.Event) {
		if e.Kind == run.KindStart {
			tell.Starts(factsOf(e))
			e.Result = nil // the display says it
		}
		far.see(e)
		tell.Event(ctx, e)
	})
	tell.Closed()
	far.mu.Lock()
	why := signal
	far.mu.Unlock()
	switch {
	case err != nil && why.By != "":
		return &code.Error{Code: why.Code, Err: fmt.Errorf("left while the sidecar cleans up: %w", err)}
	case err != nil:
		return err
	case end.Code == 0:
		return nil
	case end.State == run.Cancelled && why.By != "":
		end.Code = int(why.Code) // as if it had been interrupted here
	}
	return &reported{code.Hint(code.Code(end.Code), end.Hint, "%s", end.Error)}
}

func (a *app) detached(id string, asJSON bool) error {
	if asJSON {
		return json.NewEncoder(a.env.Stdout).Encode(map[string]string{"id": id})
	}
	_, err := fmt.Fprintln(a.env.Stdout, id)
	return err
}

// factsOf are those that a sidecar puts into the start event.
func factsOf(e run.Event) (f operate.Facts) {
	if text, ok := e.Result.(json.RawMessage); ok {
		_ = json.Unmarshal(text, &f) // an older sidecar may say less
	}
	f.ID = e.ID
	return f
}

// remoteMeter shows how far an operation of the sidecar's is.
type remoteMeter struct {
	mu  sync.Mutex
	now run.Reading
}

// Read is what a bar asks for.
func (m *remoteMeter) Read() run.Reading {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.now
}

func (m *remoteMeter) see(e run.Event) {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch e.Kind {
	case run.KindPhase:
		m.now = run.Reading{Phase: e.Phase, Since: e.Time}
	case run.KindProgress:
		m.now.Percent = e.Percent
	}
}

// poll asks for what events do not tell: bytes.
func (m *remoteMeter) poll(ctx context.Context, c *client.Client, id string) {
	for ctx.Err() == nil {
		if st, err := c.Status(ctx); err == nil && st.ID == id {
			m.mu.Lock()
			if st.Phase == m.now.Phase {
				m.now.Percent, m.now.Done, m.now.Total = st.Percent, st.Bytes, st.TotalBytes
				m.now.ETA = time.Duration(st.ETASeconds * float64(time.Second))
			}
			m.mu.Unlock()
		}
		select {
		case <-time.After(2 * refresh):
		case <-ctx.Done():
		}
	}
}

// noSidecar is the answer to what only a sidecar can do.
func noSidecar(what string) error {
	return code.Hint(code.Usage, "remora serve starts one", "%s: no sidecar runs on this state directory", what)
}
