package repo

// Paths are where a server kept its files: absolute, "" if it had none. A server that is
// started on a restored data directory with the same configuration looks there, and takes
// what another life left for its own.
type Paths struct {
	Data        string `json:"data,omitempty"`         // datadir
	Binlog      string `json:"binlog,omitempty"`       // log_bin_basename: the files are called so, with a number
	BinlogIndex string `json:"binlog_index,omitempty"` // log_bin_index
	RelayLog    string `json:"relay_log,omitempty"`    // relay_log_basename
	RelayIndex  string `json:"relay_index,omitempty"`  // relay_log_index
	Redo        string `json:"redo,omitempty"`         // innodb_log_group_home_dir
	Undo        string `json:"undo,omitempty"`         // innodb_undo_directory
	// External are the directories outside of Data in which tablespaces lay.
	External []string `json:"external,omitempty"`
}
