package restore

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"github.com/remora-backup/remora/core/code"
	"github.com/remora-backup/remora/core/inert"
	"github.com/remora-backup/remora/core/mysqld"
	"github.com/remora-backup/remora/core/repo"
	"github.com/remora-backup/remora/core/run"
	"github.com/remora-backup/remora/core/staging"
)

// quiet persists what the role of the restored server needs, and leaves the record of what was
// restored.
func (r recovery) quiet(done mysqld.RecoverResult) (inert.Record, error) {
	m := &r.from.manifest
	set, err := inert.Quiet(r.dir.Root(), staging.Data, r.as, m.ChannelNames(), time.Now())
	if err != nil {
		return inert.Record{}, fmt.Errorf("make the restored server %s: %w", r.as, code.Full(err))
	}
	record := inert.Record{
		Restored: time.Now().UTC(), As: r.as, Backup: m.ID, Repository: m.Repository, SourceUUID: m.Server.UUID,
		GTIDExecuted: m.GTIDExecuted, LSN: m.LSN.End, Tablespaces: tablespaces(r.from.reader.Files()), Set: set, Lift: inert.Statements(set),
	}
	if record.PreparedXA = done.PreparedXA; record.PreparedXA > 0 {
		if record.XA, err = inert.PreparedXA(r.dir.Root(), r.from.tree.undo(), m.Server.PageSize); err != nil {
			return record, err
		}
	}
	for _, e := range m.Engines {
		if e.Excluded {
			continue
		}
		for _, table := range e.Tables {
			record.Emptied = append(record.Emptied, run.Quoted([]string{table.Schema})+"."+run.Quoted([]string{table.Name}))
		}
	}
	return record, code.Full(record.Write(r.dir.Root(), staging.Data))
}

// tellEmptied names the MEMORY tables: a server writes TRUNCATE TABLE to its own binary log when
// it first opens one after a start, also one that is read only, and in a session without a log.
func (p publish) tellEmptied(t *run.Task) {
	if tables := p.dir.record.Emptied; len(tables) > 0 {
		t.Note("MEMORY table(s) %s are empty: whoever opens one first after a start makes the server write a transaction of its own; `remora adopt` opens them and takes that out again", strings.Join(tables, ", "))
	}
}

func tablespaces(files []repo.File) (all []inert.Tablespace) {
	for _, f := range files {
		if f.Kind == repo.KindTablespace {
			all = append(all, inert.Tablespace{Space: f.SpaceID, Path: f.Path})
		}
	}
	return all
}

// recorded is what an earlier run left, which had the files ready: they are of one role only.
func (r recovery) recorded() (inert.Record, error) {
	record, err := inert.ReadRecord(r.dir.DataPath())
	if errors.Is(err, fs.ErrNotExist) { // it has moved already
		record, err = inert.ReadRecord(r.from.target.Path)
	}
	if err != nil {
		return record, err
	}
	if record.As != r.as {
		return record, code.Hint(code.Target, fmt.Sprintf("--as %s goes on; to begin anew: rm -r %s", record.As, code.Word(r.from.target.Path)),
			"go on with the restore: an earlier run has made the files those of a server --as %s", record.As)
	}
	return record, nil
}

// tellRole says what the server will be when it is started, and how that is lifted.
func (p publish) tellRole(t *run.Task) {
	r := &p.dir.record
	if r.As == "" {
		t.Note("an export is as its source was: a server started on it runs its events and replicates; `remora prepare --as inert` keeps it quiet")
		return
	}
	for _, line := range inert.Told(r.As, p.from.target.Path, r.Set) {
		t.Note("%s", line)
	}
	if r.PreparedXA > 0 {
		t.Warn("%s", inert.ToldXA(r.PreparedXA, r.XA))
	}
	p.tellEmptied(t)
	if r.As == inert.Replica && len(p.from.manifest.Channels) == 0 {
		t.Note("the source replicated from nowhere; to follow it: %s", follow(&p.from.manifest))
	}
}

// follow is how to make a replica of the source of the backup.
func follow(m *repo.Manifest) string {
	at := "SOURCE_AUTO_POSITION = 1"
	if m.GTIDExecuted == "" {
		at = fmt.Sprintf("SOURCE_LOG_FILE = '%s', SOURCE_LOG_POS = %d", m.Binlog.File, m.Binlog.Position)
	}
	return "CHANGE REPLICATION SOURCE TO SOURCE_HOST = '...', SOURCE_USER = '...', SOURCE_PASSWORD = '...', " + at + "; START REPLICA;"
}
