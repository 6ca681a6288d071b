package cmd

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/remora-backup/remora/core/code"
	"github.com/remora-backup/remora/core/config"
	"github.com/remora-backup/remora/core/plug/plugtest"
	"github.com/remora-backup/remora/plugins/host"
	"github.com/remora-backup/remora/plugins/sdk"
)

// candidate is a plugin to check and how to start it.
type candidate struct {
	kind   string
	plugin config.Plugin
	server *sdk.Server // for a lock
}

func (a *app) checkPlugin() *cobra.Command {
	var kind, mtls string
	var set map[string]string
	var asJSON bool
	c := a.configured(&cobra.Command{
		Use:   "check PATH",
		Short: "Start a plugin and ask for every promise of its contract",
		Long: "Check starts the plugin with its part of the configuration file, if that names it, or with the\n" +
			"settings given by --set. A storage is used below a name of its own, which is removed again;\n" +
			"a lock plugin locks its server briefly; a notify plugin really sends.",
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			found, err := a.candidate(args[0], set)
			if err != nil {
				return err
			}
			found.kind = cmp.Or(kind, found.kind, host.Storage)
			found.plugin.MTLS = cmp.Or(mtls, found.plugin.MTLS)
			results, err := a.tryPlugin(c.Context(), found)
			if err != nil {
				return err
			}
			return a.printResults(args[0], results, asJSON)
		},
	})
	c.Flags().StringVar(&kind, "kind", "", "storage, lock or notify (default: as configured, or storage)")
	c.Flags().StringVar(&mtls, "mtls", "", "auto or off")
	c.Flags().StringToStringVar(&set, "set", nil, "a setting of the plugin, `key=value`; no configuration file is read")
	c.Flags().BoolVar(&asJSON, "json", false, "one JSON object per line")
	return c
}

// candidate looks the plugin up in the configuration, if there is one.
func (a *app) candidate(name string, set map[string]string) (candidate, error) {
	plain := candidate{plugin: config.Plugin{Plugin: name}}
	path := config.Find(a.config, a.env.Getenv)
	if _, err := os.Stat(path); len(set) > 0 || err != nil && path == config.DefaultPath {
		text, err := json.Marshal(set)
		plain.plugin.Config = text
		if len(set) == 0 {
			plain.plugin.Config = json.RawMessage("{}")
		}
		return plain, err
	}
	s, err := a.settings()
	if err != nil {
		return plain, err
	}
	if s.Storage.Plugin == name {
		return candidate{kind: host.Storage, plugin: s.Storage}, nil
	}
	if i := slices.IndexFunc(s.Notify, func(n config.Plugin) bool { return n.Plugin == name }); i >= 0 {
		return candidate{kind: host.Notify, plugin: s.Notify[i]}, nil
	}
	plain.plugin.Config = json.RawMessage("{}")
	if s.Lock.Plugin == name {
		plain = candidate{kind: host.Lock, plugin: s.Lock}
	}
	plain.server, err = serverOf(s.MySQL)
	return plain, err
}

func (a *app) tryPlugin(ctx context.Context, c candidate) (results []plugtest.Result, err error) {
	p := &plugins{app: a, log: logger(config.Log{Level: "warn"}, a.env.Stderr)}
	defer func() { err = cmp.Or(err, p.Close(context.WithoutCancel(ctx))) }()
	if c.kind != host.Lock {
		c.server = nil
	}
	started, err := p.start(ctx, c.kind, c.plugin, c.server)
	if err != nil {
		return nil, err
	}
	switch c.kind {
	case host.Storage:
		return plugtest.CheckStorage(ctx, started.Storage()), ctx.Err()
	case host.Lock:
		return plugtest.CheckLock(ctx, started.Lock()), ctx.Err()
	}
	return plugtest.CheckNotify(ctx, started.Notify()), ctx.Err()
}

func (a *app) printResults(name string, results []plugtest.Result, asJSON bool) error {
	failed := 0
	for _, r := range results {
		if !r.OK {
			failed++
		}
		if asJSON {
			text, err := json.Marshal(map[string]any{"check": r.Name, "ok": r.OK, "detail": r.Detail})
			if err != nil {
				return err
			}
			fmt.Fprintf(a.env.Stdout, "%s\n", text)
			continue
		}
		if r.OK {
			fmt.Fprintf(a.env.Stdout, "ok    %s\n", r.Name)
			continue
		}
		fmt.Fprintf(a.env.Stdout, "FAIL  %s: %s\n", r.Name, printable(strings.ReplaceAll(r.Detail, "\n", " | ")))
	}
	if failed > 0 {
		return code.New(code.Plugin, "plugin %s breaks %d of %d promises", name, failed, len(results))
	}
	if !asJSON {
		fmt.Fprintf(a.env.Stdout, "all %d promises are kept\n", len(results))
	}
	return nil
}
