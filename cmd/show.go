package cmd

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/remora-backup/remora/core/code"
	"github.com/remora-backup/remora/core/operate"
	"github.com/remora-backup/remora/core/repo"
	"github.com/remora-backup/remora/core/run"
	"github.com/remora-backup/remora/core/state"
)

// shown is all that is known of an id: of the backup, of the operation, or both.
type shown struct {
	ID        string           `json:"id"`
	Backup    *repo.Manifest   `json:"backup,omitempty"`
	Operation *state.Operation `json:"operation,omitempty"`
	Progress  []state.Progress `json:"progress,omitempty"`
}

func (a *app) show() *cobra.Command {
	var asJSON bool
	c := a.configured(&cobra.Command{
		Use:   "show ID|latest",
		Short: "Show a backup or operation: phases, timings, lock window, sizes, positions",
		Args:  cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			s, err := a.gather(c.Context(), args[0])
			if err != nil {
				return err
			}
			if asJSON {
				return json.NewEncoder(a.env.Stdout).Encode(s)
			}
			printShown(a.env.Stdout, s)
			return nil
		},
	})
	c.Flags().BoolVar(&asJSON, "json", false, "as a JSON object")
	return c
}

// gather asks the storage, then the history. One of them must know the id; a restore
// and a failed backup are known to the history only.
func (a *app) gather(ctx context.Context, id string) (shown, error) {
	s := shown{ID: id}
	err := a.withRepo(ctx, func(ctx context.Context, r *repo.Repo) error {
		m, err := r.Manifest(ctx, id)
		if err == nil {
			s.ID, s.Backup = m.ID, &m
		}
		return err
	})
	if err != nil && (code.Of(err) != code.Usage || id == repo.Latest) {
		return s, err
	}
	settings, failed := a.settings()
	if failed != nil {
		return s, failed
	}
	store, failed := existing(ctx, settings)
	if failed != nil || store == nil {
		return s, either(s, err, failed)
	}
	defer store.Close()
	found, failed := operate.Settled(ctx, settings.State.Dir, store, func() ([]state.Operation, error) {
		o, steps, err := store.Show(ctx, s.ID)
		s.Progress = steps
		return []state.Operation{o}, err
	})
	if failed != nil {
		return s, either(s, err, failed)
	}
	s.Operation = &found[0]
	return s, nil
}

// either is no error if the backup is known: it shows without its history.
func either(s shown, fromStorage, fromHistory error) error {
	switch {
	case s.Backup != nil:
		return nil
	case fromHistory != nil && code.Of(fromHistory) != code.Usage:
		return fromHistory
	}
	return fromStorage
}

func printShown(w io.Writer, s shown) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	defer t.Flush()
	row := func(name, format string, args ...any) {
		if text := fmt.Sprintf(format, args...); text != "" {
			fmt.Fprintf(t, "%s\t%s\n", name, printable(text))
		}
	}
	row("id", "%s", s.ID)
	if s.Backup != nil {
		printManifest(row, *s.Backup)
	}
	if s.Operation != nil {
		printOperation(row, *s.Operation, s.Backup != nil)
		printTimings(row, *s.Operation, s.Progress)
	}
}

func printManifest(row func(string, string, ...any), m repo.Manifest) {
	row("taken", "%s to %s (%s)", stamp(m.Started), stamp(m.Finished), took(m.Finished.Sub(m.Started)))
	row("data of", "%s", dataOf(m.DataTime))
	if !m.VPTime.IsZero() && !m.VPTime.Equal(m.DataTime) {
		row("sync point", "%s", stamp(m.VPTime))
	}
	row("server", "%s %s", m.Server.Version, m.Server.UUID)
	row("databases", "%s (%d)", strings.Join(m.Databases, ", "), len(m.Databases))
	row("data", "%s in %d files", size(m.Totals.Plain), m.Totals.Files)
	row("stored", "%s, %s, %d packs", size(m.Totals.Stored), m.Compression, m.Packs.Count)
	row("superseded", "%s", size(m.Totals.Superseded))
	row("locked", "%.1f ms, after %.1f ms of waiting", m.Lock.Held, m.Lock.Waited)
	row("redo", "from checkpoint %d to LSN %d", m.LSN.Checkpoint, m.LSN.End)
	if m.Binlog.File != "" {
		row("binlog", "%s:%d", m.Binlog.File, m.Binlog.Position)
	}
	row("gtid executed", "%s", m.GTIDExecuted)
	for _, c := range m.Channels {
		row("channel", "%q at %s:%d of %s, %s", c.Name, c.SourceLogFile, c.SourceLogPos, c.SourceHost, condition(c))
	}
	for _, e := range m.Engines {
		row("not in it", "%s", e.Unheld())
	}
	row("bases", "%s", strings.Join(m.Bases, ", "))
	for _, p := range m.Phases {
		row("phase", "%s %s", p.Name, took(time.Duration(p.Seconds*float64(time.Second))))
	}
	for _, n := range m.Notes {
		row("note", "%s", n)
	}
}

// condition says how a replication channel was.
func condition(c repo.Channel) string {
	text := fmt.Sprintf("receiver %s, applier %s", cmp.Or(c.Receiver, "not known"), cmp.Or(c.Applier, "not known"))
	if c.Lag != nil {
		text += fmt.Sprintf(", %.0f s behind", *c.Lag)
	}
	if c.Delay > 0 {
		text += fmt.Sprintf(", delayed by %.0f s on purpose", c.Delay)
	}
	if c.Error != "" {
		text += ": " + c.Error
	}
	return text
}

func printOperation(row func(string, string, ...any), o state.Operation, known bool) {
	row("operation", "%s: %s", o.Operation, o.State)
	if !known {
		row("started", "%s", stamp(o.Started))
		row("phase", "%s", o.Phase)
	}
	if !o.Ended.IsZero() {
		row("ended", "%s (%s)", stamp(o.Ended), took(o.Ended.Sub(o.Started)))
	}
	row("backup", "%s", o.BackupID)
	row("target", "%s", o.Target)
	for _, e := range o.Errors {
		row("error", "%s", e)
	}
	row("interrupted by", "%s", o.InterruptedBy)
	if o.Destructive && o.Code != 0 || o.Destructive && o.State == run.Crashed {
		row("data", "might be corrupted in %s", o.Target)
	}
	row("left", "%s", strings.Join(o.Leftovers, ", "))
	row("by", "remora %s, pid %d on %s", o.RemoraVersion, o.PID, o.Host)
	row("plugins", "%s", strings.Join(o.Plugins, ", "))
}

// printTimings says when each phase was entered, counted from the start.
func printTimings(row func(string, string, ...any), o state.Operation, steps []state.Progress) {
	for _, p := range steps {
		if p.Event == run.KindPhase {
			row("entered", "%s after %s", p.Phase, took(p.Time.Sub(o.Started)))
		}
	}
}

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") }
