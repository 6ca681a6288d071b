// Package notifylog writes notices to a log, one line each.
package notifylog

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"

	"github.com/remora-backup/remora/core/plug"
	"github.com/remora-backup/remora/plugins/sdk"
)

// Config is the plugin's part of the configuration.
type Config struct {
	Path string `json:"path"` // absolute, JSON lines are appended to it; empty: remora's own log
}

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

// Log is where the notices go.
type Log struct {
	path string
	mu   sync.Mutex
}

// Open checks that the file can be written.
func Open(c Config) (*Log, error) {
	if c.Path == "" {
		return &Log{}, nil
	}
	if !strings.HasPrefix(c.Path, "/") {
		return nil, fmt.Errorf("path %q is not absolute: %w", c.Path, plug.ErrInvalid)
	}
	l := &Log{path: c.Path}
	return l, l.append(nil)
}

// Send is plug.Notify's.
func (l *Log) Send(ctx context.Context, n plug.Notice) error {
	if err := context.Cause(ctx); err != nil {
		return err
	}
	if l.path == "" {
		levels := map[string]slog.Level{"warning": slog.LevelWarn, "error": slog.LevelError}
		slog.Log(ctx, levels[n.Severity], n.Text, "operation", n.Operation, "id", n.ID)
		return nil
	}
	line, err := json.Marshal(n)
	if err != nil {
		return fmt.Errorf("encode the notice: %w: %w", plug.ErrInvalid, err)
	}
	return l.append(append(line, '\n'))
}

// append opens the file anew each time, so that it can be rotated.
func (l *Log) append(line []byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	f, err := os.OpenFile(l.path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return fmt.Errorf("open the log: %w", err)
	}
	_, err = f.Write(line)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return fmt.Errorf("write the log: %w", err)
	}
	return nil
}
