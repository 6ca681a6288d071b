// Package heartbeat calls a URL after each good scheduled run, and never else.
//
// Whoever waits for the calls and misses one raises the alarm: it is raised as well when the
// sidecar, or its host, is dead and could not tell anybody.
package heartbeat

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"

	"github.com/remora-backup/remora/core/plug"
	"github.com/remora-backup/remora/plugins/sdk"
	"github.com/remora-backup/remora/plugins/webhook"
)

// Config is the plugin's part of the configuration. The URL is a secret and is never told.
type Config struct {
	URL        string   `json:"url"`
	Operations []string `json:"operations"` // whose good runs count; default ["backup"]
	Timeout    string   `json:"timeout"`    // of one request; default "5s"
}

// operations are those that a schedule can run.
var operations = []string{"backup", "verify"}

// Serve is the plugin's main function.
func Serve() {
	sdk.ServeNotify(func(raw json.RawMessage) (plug.Notify, error) {
		var c Config
		if err := sdk.Decode(raw, &c); err != nil {
			return nil, err
		}
		return Open(c)
	})
}

// Beat calls the URL. It is tried anew, ever more rarely, for some minutes.
type Beat struct {
	*webhook.Hook
	operations []string
}

// attempts at one call: the pauses between them add up to about four minutes.
const attempts = 12

// Open checks the settings. Drain ends what it starts.
func Open(c Config) (*Beat, error) {
	if len(c.Operations) == 0 {
		c.Operations = []string{"backup"}
	}
	for _, name := range c.Operations {
		if !slices.Contains(operations, name) {
			return nil, fmt.Errorf(`key "operations": want some of %q, have %q: %w`, operations, name, plug.ErrInvalid)
		}
	}
	h, err := webhook.Open(webhook.Config{URL: c.URL, Timeout: c.Timeout, Method: http.MethodGet, Queue: len(c.Operations), Attempts: attempts})
	if err != nil {
		return nil, err
	}
	return &Beat{Hook: h, operations: c.Operations}, nil
}

// Send is plug.Notify's. It calls for the end of a good scheduled run; what an operation that was
// asked for by hand did says nothing about whether the sidecar lives.
func (b *Beat) Send(ctx context.Context, n plug.Notice) error {
	var e struct {
		Event       string `json:"event"`
		Operation   string `json:"operation"`
		State       string `json:"state"`
		RequestedBy string `json:"requested_by"`
	}
	if len(n.Event) == 0 || json.Unmarshal(n.Event, &e) != nil { // what a script sends has none
		return context.Cause(ctx)
	}
	good := e.State == "complete" || e.State == "complete_with_warnings"
	if e.Event != "end" || !good || e.RequestedBy != "schedule" || !slices.Contains(b.operations, e.Operation) {
		return context.Cause(ctx)
	}
	return b.Hook.Send(ctx, n)
}
