package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/remora-backup/remora/core/mysqld/lab"
)

// config writes a configuration with a repository of its own.
func (b *bench) config(compression string) (string, error) {
	bin, err := lab.MySQL(context.Background())
	if err != nil {
		return "", err
	}
	text := fmt.Sprintf(`[mysql]
socket = %q
user = "root"
mysqld = %q
[state]
dir = %q
[storage]
plugin = "fs"
[storage.config]
path = %q
[backup]
compression = %q
`, b.source.Socket, bin, b.path("state"), b.path("repo-"+compression), compression)
	path := b.path(compression + ".toml")
	return path, os.WriteFile(path, []byte(text), 0o600)
}

func (b *bench) fresh(compression string) func(context.Context) error {
	return func(context.Context) error { return os.RemoveAll(b.path("repo-" + compression)) }
}

func (b *bench) backup(compression string) func(context.Context) error {
	return func(ctx context.Context) error { return b.command(ctx, compression, "backup") }
}

func (b *bench) restore(ctx context.Context) error {
	return b.command(ctx, "zstd", "restore", "--target", b.path("restored"))
}

// command runs remora and watches the memory of its processes.
func (b *bench) command(ctx context.Context, compression string, args ...string) error {
	config, err := b.config(compression)
	if err != nil {
		return err
	}
	var out bytes.Buffer
	c := exec.CommandContext(ctx, b.remora, append(args, "--config", config, "--json")...)
	c.Stdout, c.Stderr = &out, &out
	if err := c.Start(); err != nil {
		return err
	}
	ended := make(chan struct{})
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		for {
			b.watchMemory(c.Process.Pid)
			select {
			case <-ended:
				return
			case <-time.After(50 * time.Millisecond):
			}
		}
	}()
	err = c.Wait()
	close(ended)
	<-watched
	if err != nil {
		return fmt.Errorf("remora %s: %w\n%s", strings.Join(args, " "), err, &out)
	}
	return nil
}

// watchMemory notes the peak resident memory of remora and its plugins, not of a mysqld.
func (b *bench) watchMemory(pid int) {
	procs, err := filepath.Glob("/proc/[0-9]*/status")
	if err != nil {
		return
	}
	for _, path := range procs {
		f := statusOf(path)
		name := ""
		switch {
		case f["Pid"] == strconv.Itoa(pid):
			name = "remora"
		case f["PPid"] == strconv.Itoa(pid) && f["Name"] == "remora":
			name = "a plugin"
		}
		kb, err := strconv.ParseInt(strings.TrimSuffix(f["VmHWM"], " kB"), 10, 64)
		if name != "" && err == nil {
			b.peaks[name] = max(b.peaks[name], kb)
		}
	}
}

func statusOf(path string) map[string]string {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil // it has ended
	}
	fields := map[string]string{}
	for line := range strings.Lines(string(text)) {
		if k, v, ok := strings.Cut(line, ":"); ok {
			fields[k] = strings.TrimSpace(v)
		}
	}
	return fields
}

// locks shows the lock window of every backup taken.
func (b *bench) locks(ctx context.Context) error {
	for _, compression := range []string{"none", "zstd"} {
		config, err := b.config(compression)
		if err != nil {
			return err
		}
		out, err := exec.CommandContext(ctx, b.remora, "list", "--json", "--config", config).Output()
		if err != nil {
			return err
		}
		for lines := bufio.NewScanner(bytes.NewReader(out)); lines.Scan(); {
			var l struct {
				LockMS float64 `json:"lock_ms"`
			}
			if err := json.Unmarshal(lines.Bytes(), &l); err != nil {
				return err
			}
			verdict := "ok"
			if l.LockMS > 50 {
				verdict = "MISSED"
			}
			fmt.Printf("  %-42s %5.1f ms   (at most 50: %s)\n", "lock window, "+compression, l.LockMS, verdict)
		}
	}
	return nil
}

// dropCaches makes the next reader read the disk; only root can.
func dropCaches() bool {
	syscall.Sync()
	return os.WriteFile("/proc/sys/vm/drop_caches", []byte("3"), 0) == nil
}

func size(path string) (bytes int64, err error) {
	err = filepath.WalkDir(path, func(_ string, d fs.DirEntry, err error) error {
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if d == nil || d.IsDir() {
			return nil
		}
		if st, err := d.Info(); err == nil {
			bytes += st.Size()
		}
		return nil
	})
	return bytes, err
}

func sorted(m map[string]int64) []string { return slices.Sorted(maps.Keys(m)) }
