package cmd

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/remora-backup/remora/core/code"
	"github.com/remora-backup/remora/core/config"
	"github.com/remora-backup/remora/core/plug/plugtest"
	"github.com/remora-backup/remora/plugins/host"
	"github.com/remora-backup/remora/plugins/kit"
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
	var only []string
	var asJSON bool
	c := a.configured(&cobra.Command{
		Use:   "check PATH",
		Short: "Start a plugin and ask for every promise of its contract",
		Long: "Check starts the plugin with its part of the configuration file, if that names it, or with the\n" +
			"settings given by --set. A storage is used below a name of its own, which is removed again;\n" +
			"a lock plugin locks its server briefly; a notify plugin really sends. Each result is printed when\n" +
			"it is known; a storage takes a minute or so, as an upload stands still for 15 s in the middle.\n\n" +
			"  remora plugin check ./storage.py --mtls off --set dir=/tmp/try --set port:=8080 --set verify:=false",
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			found, err := a.candidate(args[0], set)
			if err != nil {
				return err
			}
			found.kind = cmp.Or(kind, found.kind, host.Storage)
			found.plugin.MTLS = cmp.Or(mtls, found.plugin.MTLS)
			return a.tryPlugin(c.Context(), found, only, asJSON)
		},
	})
	c.Flags().StringVar(&kind, "kind", "", "storage, lock or notify (default: as configured, or storage)")
	c.Flags().StringVar(&mtls, "mtls", "", "auto or off")
	c.Flags().StringToStringVar(&set, "set", nil, "a setting of the plugin, `key=text` or key:=JSON; no configuration file is read")
	c.Flags().StringSliceVar(&only, "only", nil, "`names` of checks, as they are printed (default: all)")
	c.Flags().BoolVar(&asJSON, "json", false, "one JSON object per line")
	return c
}

// candidate looks the plugin up in the configuration, if there is one.
func (a *app) candidate(name string, set map[string]string) (candidate, error) {
	if strings.Contains(name, "/") {
		path, err := filepath.Abs(name)
		if err != nil {
			return candidate{}, usage(err)
		}
		name = path
	}
	plain := candidate{plugin: config.Plugin{Plugin: name}}
	path := config.Find(a.config, a.env.Getenv)
	_, err := os.Stat(path)
	if len(set) > 0 || err != nil && path == config.DefaultPath {
		plain.plugin.Config, err = given(set)
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

// given makes a plugin's configuration of what --set says: key=text, or key:=JSON.
func given(set map[string]string) (json.RawMessage, error) {
	all := map[string]any{}
	for key, value := range set {
		name, isJSON := strings.CutSuffix(key, ":")
		if !isJSON {
			all[key] = value
			continue
		}
		if !json.Valid([]byte(value)) {
			return nil, code.Hint(code.Usage, fmt.Sprintf("--set %s=%s is text", name, value), "--set %s=%s: that is no JSON", key, value)
		}
		all[name] = json.RawMessage(value)
	}
	return json.Marshal(all)
}

func (a *app) tryPlugin(ctx context.Context, c candidate, only []string, asJSON bool) error {
	if c.kind != host.Lock {
		c.server = nil
	}
	spec, err := specOf(c.kind, c.plugin, c.server)
	if err != nil {
		return err
	}
	p := &plugins{app: a, log: logger(config.Log{Level: "warn"}, a.env.Stderr)}
	tried, failed := 0, 0
	for r, err := range (kit.Kit{Spec: spec, Options: p.options(c.plugin)}).Check(ctx, only...) {
		if err != nil {
			return code.Default(code.Plugin, err)
		}
		if ctx.Err() != nil {
			return context.Cause(ctx) // what it cut short says nothing
		}
		if tried++; !r.OK {
			failed++
		}
		if err := a.printResult(r, asJSON); err != nil {
			return err
		}
	}
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case failed > 0:
		return code.New(code.Plugin, "plugin %s breaks %d of %d promises", c.plugin.Plugin, failed, tried)
	case tried == 0:
		return code.New(code.Usage, "no check is called %s", strings.Join(only, ", "))
	case !asJSON:
		fmt.Fprintf(a.env.Stdout, "all %d promises are kept\n", tried)
	}
	return nil
}

func (a *app) printResult(r plugtest.Result, asJSON bool) error {
	switch {
	case asJSON:
		text, err := json.Marshal(map[string]any{"check": r.Name, "ok": r.OK, "detail": r.Detail})
		if err != nil {
			return err
		}
		fmt.Fprintf(a.env.Stdout, "%s\n", text)
	case r.OK:
		fmt.Fprintf(a.env.Stdout, "ok    %s\n", r.Name)
	default:
		fmt.Fprintf(a.env.Stdout, "FAIL  %s: %s\n", r.Name, printable(strings.ReplaceAll(r.Detail, "\n", " | ")))
	}
	return nil
}
