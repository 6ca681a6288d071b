package repo

import (
	"fmt"
	"time"
)

// Manifest is what a backup is: where it comes from, what it holds, which position it has.
// Seal fills Format, ID, Repository, Compression, Totals, Packs, Index, Files, Digest, and
// Finished if it is zero.
type Manifest struct {
	Format     int    `json:"format"`
	ID         string `json:"id"`
	Repository string `json:"repository"`
	Remora     string `json:"remora"` // version of the program that wrote it

	Started     time.Time   `json:"started"`
	Finished    time.Time   `json:"finished"`
	VPTime      time.Time   `json:"vp_time,omitzero"`   // validity point: the moment whose data it holds, by our clock
	DataTime    time.Time   `json:"data_time,omitzero"` // how new the data are: see DataOf
	Compression Compression `json:"compression"`
	Bases       []string    `json:"bases,omitempty"` // backups whose packs the index refers to

	Server       Server    `json:"server"`
	LSN          LSN       `json:"lsn"`
	Binlog       Binlog    `json:"binlog"`
	GTIDExecuted string    `json:"gtid_executed"`
	GTIDPurged   string    `json:"gtid_purged,omitempty"`
	Keys         Keys      `json:"keys,omitzero"`
	Channels     []Channel `json:"channels,omitempty"`
	Lock         Lock      `json:"lock"`
	Phases       []Phase   `json:"phases,omitempty"`
	Databases    []string  `json:"databases,omitempty"`
	Engines      []Engine  `json:"engines,omitempty"` // whose rows it does not hold

	Totals Totals   `json:"totals"`
	Packs  Part     `json:"packs"`
	Index  Part     `json:"index"`
	Files  Part     `json:"files"`
	Notes  []string `json:"notes,omitempty"`
	Digest string   `json:"digest"` // see sealed.go; last
}

// Server is the server a backup was taken from.
type Server struct {
	UUID                string `json:"uuid"`
	Version             string `json:"version"`
	VersionComment      string `json:"version_comment,omitempty"`
	PageSize            int    `json:"page_size"` // bytes
	DataFilePath        string `json:"data_file_path,omitempty"`
	TempDataFilePath    string `json:"temp_data_file_path,omitempty"`
	DataHomeDir         string `json:"data_home_dir,omitempty"`
	UndoDirectory       string `json:"undo_directory,omitempty"`
	LowerCaseTableNames int    `json:"lower_case_table_names"`
	ChecksumAlgorithm   string `json:"checksum_algorithm,omitempty"`
	LogChecksums        bool   `json:"log_checksums"`

	Paths Paths `json:"paths,omitzero"`

	// Variables holds further settings a restore may need, by their MySQL names.
	Variables map[string]string `json:"variables,omitempty"`
}

// RedoHome is among Variables if the redo log did not lie in the data directory.
const RedoHome = "innodb_log_group_home_dir"

// LSN is the redo of a backup: it was found at Checkpoint, is kept from Start, and ends
// with End, the position of the backup.
type LSN struct {
	Checkpoint uint64 `json:"checkpoint"`
	Start      uint64 `json:"start"`
	End        uint64 `json:"end"`
}

// Binlog is a position in the source's binary log; empty if it had none.
type Binlog struct {
	File     string `json:"file"`
	Position uint64 `json:"position"` // bytes
}

// DataOf is how new the data are: on a replica when the newest transaction that it had applied
// was committed at its origin, elsewhere the validity point. A backup that does not know it is
// taken for as new as its validity point.
func (m *Manifest) DataOf() time.Time {
	for _, t := range []time.Time{m.DataTime, m.VPTime} {
		if !t.IsZero() {
			return t
		}
	}
	return m.Started
}

// Keys are what a server must have in its keyring to open the backup.
type Keys struct {
	Needed  bool     `json:"needed,omitempty"`  // something in the backup is encrypted
	Keyring string   `json:"keyring,omitempty"` // component or plugin that the source had
	IDs     []string `json:"ids,omitempty"`     // of the source's keys
	Known   bool     `json:"known,omitempty"`   // IDs could be seen
	// Sealed has by the id of each master key that something in the backup is sealed with one key
	// so sealed, in hex, as the header of a redo log has it: who can open these can open all.
	Sealed map[string]string `json:"sealed,omitempty"`
}

// Channel is where a replication channel of the source had got to.
type Channel struct {
	Name           string `json:"name"`
	RelayLogFile   string `json:"relay_log_file,omitempty"`
	RelayLogPos    uint64 `json:"relay_log_position,omitempty"`
	SourceLogFile  string `json:"source_log_file,omitempty"`
	SourceLogPos   uint64 `json:"source_log_position,omitempty"`
	SourceHost     string `json:"source_host,omitempty"`
	SourcePort     uint16 `json:"source_port,omitempty"`
	SourceUUID     string `json:"source_uuid,omitempty"`
	ExecutedGTIDs  string `json:"executed_gtids,omitempty"`
	RetrievedGTIDs string `json:"retrieved_gtids,omitempty"`

	// How it was at about the sync point.
	Receiver string    `json:"receiver,omitempty"` // Yes, No, Connecting
	Applier  string    `json:"applier,omitempty"`  // Yes, No
	Error    string    `json:"error,omitempty"`    // the last one of either
	Lag      *float64  `json:"lag_seconds,omitempty"`
	Delay    float64   `json:"delay_seconds,omitempty"` // that is configured
	Applied  time.Time `json:"applied,omitzero"`        // when the newest transaction applied was committed at its origin
}

// ChannelNames returns the names of the replication channels that the source had.
func (m *Manifest) ChannelNames() (names []string) {
	for _, c := range m.Channels {
		names = append(names, c.Name)
	}
	return names
}

// Lock is how long the server was locked, and how long it took to get there; milliseconds.
type Lock struct {
	Held   float64 `json:"lock_ms"`
	Waited float64 `json:"lock_wait_ms"`
	Tables float64 `json:"tables_lock_ms,omitempty"`   // those of other engines than InnoDB, against writes
	Stall  float64 `json:"ddl_stall_ms_max,omitempty"` // the longest that anybody's DDL could have waited for us
}

// Phase is how long a phase of the backup took.
type Phase struct {
	Name    string    `json:"name"`
	Started time.Time `json:"started"`
	Seconds float64   `json:"seconds"`
}

// Totals counts what a backup holds; bytes. Superseded are stored bytes of copies that
// were replaced by later ones: they are in packs, not in the backup.
type Totals struct {
	Files      int64 `json:"files"`
	Plain      int64 `json:"plain_bytes"`
	Stored     int64 `json:"stored_bytes"`
	Superseded int64 `json:"superseded_bytes"`
}

// Part is one kind of object of a backup: how many objects, or for Files how many entries
// in the one object; bytes stored; and BLAKE3-256 of these bytes, hex, but for packs, whose
// digests are in the index.
type Part struct {
	Count  int64  `json:"count"`
	Size   int64  `json:"size"`
	Digest string `json:"digest,omitempty"`
}

// check returns what a manifest with a good digest can still have wrong.
func (m *Manifest) check(id, repository string) error {
	switch {
	case m.ID != id:
		return fmt.Errorf("it is the manifest of backup %.40q", m.ID)
	case m.Repository != repository:
		return fmt.Errorf("it belongs to repository %.40q, this is %q", m.Repository, repository)
	case !m.Compression.valid():
		return fmt.Errorf("unknown compression %.40q", m.Compression)
	case m.Files.Count < 0 || m.Files.Count > maxFiles:
		return fmt.Errorf("it counts %d files", m.Files.Count)
	case m.Index.Count < 1 || m.Index.Count > maxObjects || m.Index.Size < 0:
		return fmt.Errorf("it counts %d index objects", m.Index.Count)
	case m.Packs.Count < 0 || m.Packs.Count > maxObjects:
		return fmt.Errorf("it counts %d packs", m.Packs.Count)
	}
	for _, base := range m.Bases {
		if !ValidID(base) || base >= id {
			return fmt.Errorf("backup %.40q cannot be its base", base)
		}
	}
	return nil
}

const (
	maxFiles   = 16 << 20
	maxObjects = 16 << 20
)

// Compression is how extents are stored. An extent that would grow is stored as it is.
type Compression string

// The compressions.
const (
	None Compression = "none"
	Zstd Compression = "zstd"
)

func (c Compression) valid() bool { return c == None || c == Zstd }
