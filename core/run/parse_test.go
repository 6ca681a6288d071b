package run_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/remora-backup/remora/core/run"
)

// What is read and written again is the same.
func TestAnEventIsReadAsItWasWritten(t *testing.T) {
	half, eta, at := 50, 1.5, time.Date(2026, 11, 20, 22, 15, 0, 0, time.UTC)
	for _, e := range []run.Event{
		{Seq: 1, Time: at, Kind: run.KindStart, Operation: "backup", ID: "one", Result: map[string]any{"facts": []string{"id=one"}, "server_uuid": "u"}},
		{Seq: 2, Time: at, Kind: run.KindProgress, Percent: &half, ETASeconds: &eta, LSN: 7, TargetLSN: 9, Databases: []string{"a<b"}},
		{Seq: 3, Time: at, Kind: run.KindEnd, State: run.Complete, Duration: 2, Result: map[string]any{"lsn": 123, "bytes": 5, "lock_ms": 12.5, "gtid_executed": "a:1"}},
		{Seq: 3, Time: at, Kind: run.KindEnd, State: run.Failed, Code: 17, Error: "x", Hint: "y", Errors: []string{"x"}, Destructive: true},
	} {
		text, err := json.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		read, err := run.ParseEvent(text)
		if err != nil {
			t.Fatal(err)
		}
		again, err := json.Marshal(read)
		if err != nil || string(again) != string(text) {
			t.Errorf("got %s, %v, want %s", again, err, text)
		}
		if (read.Result == nil) != (e.Result == nil) {
			t.Errorf("the result is %s", read.Result)
		}
	}
	for _, bad := range []string{"", "1", "[]", "{", `{"seq":"x"}`, "null"} {
		if e, err := run.ParseEvent([]byte(bad)); err == nil && e.Kind != "" {
			t.Errorf("%q is taken for %+v", bad, e)
		}
	}
}
