package hooks

import (
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"github.com/remora-backup/remora/core/run"
)

// preparing is the restore's phase whose percents are told.
const preparing = "preparing_backup"

// function returns the name of the function that an event calls, or "".
func function(e run.Event) string {
	switch e.Kind {
	case run.KindPhase:
		return onPhase
	case run.KindProgress:
		if e.Phase == preparing {
			return onProgress
		}
	case run.KindStall:
		return onStall
	case run.KindEnd:
		return onEnd
	}
	return ""
}

// payload is an event as scripts see it: its JSON and what is handier in Lua, where a
// number beyond 2^53 loses digits.
func payload(e run.Event) (json.RawMessage, error) {
	plain, err := json.Marshal(e)
	if err != nil {
		return nil, fmt.Errorf("encode event for hooks: %w", err)
	}
	fields := map[string]json.RawMessage{}
	if err := json.Unmarshal(plain, &fields); err != nil {
		return nil, fmt.Errorf("encode event for hooks: %w", err)
	}
	more := map[string]any{"time": e.Time.UTC().Format(time.RFC3339), "unix": e.Time.Unix()}
	if e.LSN > 0 {
		more["lsn_text"] = strconv.FormatUint(e.LSN, 10)
	}
	if e.TargetLSN > 0 {
		more["target_lsn_text"] = strconv.FormatUint(e.TargetLSN, 10)
	}
	if len(e.Databases) == 0 {
		more["databases"] = []string{}
	}
	if e.Kind == run.KindEnd {
		more["duration"] = e.Duration
		if len(e.Errors) == 0 {
			more["errors"] = []string{}
		}
	}
	for name, value := range more {
		if fields[name], err = json.Marshal(value); err != nil {
			return nil, fmt.Errorf("encode event for hooks: %w", err)
		}
	}
	return json.Marshal(fields)
}
