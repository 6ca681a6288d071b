package server

import (
	"fmt"
	"strconv"
)

// nullString scans NULL as "".
type nullString struct{ to *string }

func (n nullString) Scan(v any) error {
	switch v := v.(type) {
	case nil:
		*n.to = ""
	case []byte:
		*n.to = string(v)
	default:
		*n.to = fmt.Sprint(v)
	}
	return nil
}

func nullStrings(values []string) []any {
	dest := make([]any, len(values))
	for i := range values {
		dest[i] = nullString{&values[i]}
	}
	return dest
}

// channel reads a row of SHOW REPLICA STATUS. Columns exist under a new name, with "Source" and "Replica",
// and under an old one, with "Master" and "Slave"; a server has one of them.
func channel(columns, values []string) (Channel, error) {
	row := make(map[string]string, len(columns))
	for i, name := range columns {
		row[name] = values[i]
	}
	var bad error
	text := func(names ...string) string {
		for _, name := range names {
			if v, ok := row[name]; ok {
				return v
			}
		}
		bad = fmt.Errorf("no column %s", names[0])
		return ""
	}
	number := func(names ...string) uint64 {
		n, err := strconv.ParseUint(text(names...), 10, 64)
		if err != nil {
			bad = fmt.Errorf("%s: %w", names[0], err)
		}
		return n
	}
	c := Channel{
		Name:           text("Channel_Name"),
		RelayLogFile:   text("Relay_Log_File"),
		RelayLogPos:    number("Relay_Log_Pos"),
		SourceLogFile:  text("Relay_Source_Log_File", "Relay_Master_Log_File"),
		SourceLogPos:   number("Exec_Source_Log_Pos", "Exec_Master_Log_Pos"),
		SourceHost:     text("Source_Host", "Master_Host"),
		SourceUUID:     text("Source_UUID", "Master_UUID"),
		AutoPosition:   text("Auto_Position") == "1",
		ApplierRunning: text("Replica_SQL_Running", "Slave_SQL_Running") == "Yes",
	}
	return c, bad
}
