// Package builtin lists the plugins that are part of the program.
package builtin

import (
	"github.com/remora-backup/remora/core/code"
	"github.com/remora-backup/remora/plugins/fs"
	"github.com/remora-backup/remora/plugins/heartbeat"
	"github.com/remora-backup/remora/plugins/mysqllock"
	"github.com/remora-backup/remora/plugins/notifylog"
	"github.com/remora-backup/remora/plugins/webhook"
)

// Plugin is one of them. Serve is its main function.
type Plugin struct {
	Kind, Name string
	Serve      func()
}

// List returns all.
func List() []Plugin {
	return []Plugin{
		{"storage", "fs", fs.Serve},
		{"lock", "mysql", mysqllock.Serve},
		{"notify", "log", notifylog.Serve},
		{"notify", "webhook", webhook.Serve},
		{"notify", "heartbeat", heartbeat.Serve},
	}
}

// Names returns the names by kind, as the host wants them.
func Names() map[string][]string {
	names := map[string][]string{}
	for _, p := range List() {
		names[p.Kind] = append(names[p.Kind], p.Name)
	}
	return names
}

// Serve is what "remora plugin KIND NAME" does: it returns when the host has ended it.
func Serve(kind, name string) error {
	for _, p := range List() {
		if p.Kind == kind && p.Name == name {
			p.Serve()
			return nil
		}
	}
	return code.New(code.Usage, "unknown %s plugin %q; known: %v", kind, name, Names()[kind])
}
