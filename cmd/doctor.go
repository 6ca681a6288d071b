package cmd

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/remora-backup/remora/core/code"
	"github.com/remora-backup/remora/core/config"
	"github.com/remora-backup/remora/core/doctor"
	"github.com/remora-backup/remora/core/plug"
	"github.com/remora-backup/remora/core/server"
	"github.com/remora-backup/remora/plugins/host"
)

func (a *app) doctor() *cobra.Command {
	var asJSON bool
	c := a.configured(&cobra.Command{
		Use:   "doctor",
		Short: "Find out what can be known before the first backup",
		Long: "Doctor looks at all that a backup and a restore on this host depend on and says of each thing\n" +
			"ok, warn or fail, with the remedy. It changes nothing in the server; in the storage it puts one\n" +
			"small object, which it removes again. It ends with the code of the first failure.",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return a.examine(c.Context(), asJSON) },
	})
	c.Flags().BoolVar(&asJSON, "json", false, "one JSON object per line")
	return c
}

func (a *app) examine(ctx context.Context, asJSON bool) (err error) {
	s, err := a.settings()
	if err != nil {
		first := doctor.Finding{Check: "configuration", State: doctor.Fail, Text: err.Error(), Remedy: code.HintOf(err), Code: int(code.Of(err))}
		return firstOf(err, a.printFinding(first, asJSON))
	}
	read := doctor.Finding{Check: "configuration", State: doctor.OK, Text: s.Path}
	if err := a.printFinding(read, asJSON); err != nil {
		return err
	}
	p := &plugins{app: a, log: logger(config.Log{Level: "off"}, a.env.Stderr)}
	defer func() { err = firstOf(err, p.Close(context.WithoutCancel(ctx))) }()
	var failed error
	for f := range doctor.Examine(ctx, a.means(s, p)) {
		if ctx.Err() != nil {
			return context.Cause(ctx) // what it cut short says nothing
		}
		if err := a.printFinding(f, asJSON); err != nil {
			return err
		}
		if f.State == doctor.Fail && failed == nil {
			failed = &reported{code.New(code.Code(f.Code), "%s: %s", f.Check, f.Text)}
		}
	}
	return failed
}

// firstOf makes err one that has been told, or is what kept it from that.
func firstOf(err, later error) error {
	if err == nil {
		return later
	}
	return &reported{err}
}

func (a *app) means(s config.Settings, p *plugins) doctor.Means {
	m := doctor.Means{
		Settings: s,
		Connect: func(ctx context.Context) (*server.Server, error) {
			reach, err := serverOf(s.MySQL)
			if err != nil {
				return nil, err
			}
			return server.Connect(ctx, serverConfig(s.MySQL, reach))
		},
		Storage: func(ctx context.Context) (plug.Storage, error) { return p.storage(ctx, s) },
		Plugins: func(ctx context.Context) (string, error) { return a.startOthers(ctx, s, p) },
	}
	var fs struct {
		Path string `json:"path"`
	}
	if s.Storage.Plugin == "fs" && json.Unmarshal(s.Storage.Config, &fs) == nil {
		m.Path = fs.Path
	}
	return m
}

// startOthers starts all plugins but the storage's, and the scripts.
func (a *app) startOthers(ctx context.Context, s config.Settings, p *plugins) (string, error) {
	reach, err := serverOf(s.MySQL)
	if err != nil {
		return "", err
	}
	if _, err := p.start(ctx, host.Lock, s.Lock, reach); err != nil {
		return "", err
	}
	w := &wiring{settings: s, plugins: p}
	if _, err := w.notifiers(ctx); err != nil {
		return "", err
	}
	names := strings.Join(p.Names(), ", ")
	if len(s.Hooks.Scripts) == 0 {
		return names, nil
	}
	h, err := w.hooks(ctx, func(context.Context, plug.Notice) error { return nil })
	if err != nil {
		return "", err
	}
	h.Close(ctx)
	return names + fmt.Sprintf(" and %d scripts", len(s.Hooks.Scripts)), nil
}

func (a *app) printFinding(f doctor.Finding, asJSON bool) error {
	if asJSON {
		return json.NewEncoder(a.env.Stdout).Encode(f)
	}
	line := strings.ReplaceAll(f.Text, "\n", " | ")
	fmt.Fprintf(a.env.Stdout, "%-4s  %s: %s\n", f.State, f.Check, printable(line))
	if f.Remedy != "" {
		fmt.Fprintf(a.env.Stdout, "      remedy: %s\n", printable(f.Remedy))
	}
	return nil
}
