package cmd

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/remora-backup/remora/core/plug"
	"github.com/remora-backup/remora/core/repo"
)

// listed is a backup as list --json prints it; the names are those of the end event.
type listed struct {
	ID             string    `json:"id"`
	State          string    `json:"state"` // "complete", "damaged" or "unreadable"
	Started        time.Time `json:"started,omitzero"`
	Finished       time.Time `json:"finished,omitzero"`
	ServerUUID     string    `json:"server_uuid,omitempty"`
	ServerVersion  string    `json:"server_version,omitempty"`
	Bytes          int64     `json:"bytes,omitempty"`
	StoredBytes    int64     `json:"stored_bytes"`
	LockMS         float64   `json:"lock_ms,omitempty"`
	BinlogFile     string    `json:"binlog_file,omitempty"`
	BinlogPosition uint64    `json:"binlog_position,omitempty"`
	GTIDExecuted   string    `json:"gtid_executed,omitempty"`
	LSN            uint64    `json:"lsn,omitempty"`
	VPTime         time.Time `json:"vp_time,omitzero"`   // the moment whose data it holds
	DataTime       time.Time `json:"data_time,omitzero"` // how new the data are
	Bases          []string  `json:"bases,omitempty"`
	Excluded       []string  `json:"excluded_engines,omitempty"` // whose data was left out on purpose
	Error          string    `json:"error,omitempty"`
}

func listedOf(s repo.Summary) listed {
	m := s.Manifest
	l := listed{
		ID: s.ID, State: "complete", Started: m.Started, Finished: m.Finished, ServerUUID: m.Server.UUID, ServerVersion: m.Server.Version,
		Bytes: m.Totals.Plain, StoredBytes: s.Size, LockMS: m.Lock.Held, BinlogFile: m.Binlog.File, BinlogPosition: m.Binlog.Position,
		GTIDExecuted: m.GTIDExecuted, LSN: m.LSN.End, VPTime: m.VPTime, DataTime: m.DataTime, Bases: m.Bases,
	}
	for _, e := range m.Engines {
		if e.Excluded {
			l.Excluded = append(l.Excluded, e.Name)
		}
	}
	if s.Err != nil {
		l.State, l.Error = "damaged", s.Err.Error()
	}
	if errors.Is(s.Err, plug.ErrPermission) {
		l.State = "unreadable"
	}
	return l
}

func (a *app) list() *cobra.Command {
	var asJSON bool
	c := a.configured(&cobra.Command{
		Use:   "list",
		Short: "List the backups in the storage, oldest first",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return a.withRepo(c.Context(), func(ctx context.Context, r *repo.Repo) error {
				found, err := r.List(ctx)
				if err != nil {
					return err
				}
				if !r.Exists() {
					fmt.Fprintln(a.env.Stderr, "hint: the storage has never had a backup: is it the right one, and mounted?")
				}
				var all []listed
				for _, s := range found {
					all = append(all, listedOf(s))
				}
				if asJSON {
					return encodeAll(a, all)
				}
				a.printList(all)
				return nil
			})
		},
	})
	c.Flags().BoolVar(&asJSON, "json", false, "one JSON object per line")
	return c
}

func (a *app) printList(all []listed) {
	t := tabwriter.NewWriter(a.env.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "ID\tSTATE\tDATA OF\tSERVER\tDATA\tSTORED\tTOOK\tLOCKED\tPOSITION")
	for _, l := range all {
		if l.Error != "" {
			fmt.Fprintf(t, "%s\t%s\t-\t-\t-\t%s\t-\t-\t%s\n", l.ID, l.State, size(l.StoredBytes), printable(l.Error))
			continue
		}
		position := fmt.Sprintf("LSN %d", l.LSN)
		if l.BinlogFile != "" {
			position = fmt.Sprintf("%s:%d", l.BinlogFile, l.BinlogPosition)
		}
		state := l.State
		if len(l.Excluded) > 0 {
			state += " without " + strings.Join(l.Excluded, ", ")
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%.1f ms\t%s\n", l.ID, printable(state), dataOf(l.DataTime), printable(l.ServerVersion), size(l.Bytes), size(l.StoredBytes),
			took(l.Finished.Sub(l.Started)), l.LockMS, printable(position))
	}
	t.Flush()
}

// dataOf says how new the data of a backup are.
func dataOf(t time.Time) string {
	if t.IsZero() {
		return "not known"
	}
	return stamp(t)
}
