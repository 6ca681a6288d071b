// Package host starts plugins as processes of their own, speaks to them, and ends them.
//
// A plugin is trusted with what it is given and with nothing else: its answers are
// checked, every call has a bound, and whatever it starts ends with it. A plugin never
// outlives its host, not even one that is killed.
package host

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"

	"github.com/remora-backup/remora/core/code"
	"github.com/remora-backup/remora/core/plug"
	"github.com/remora-backup/remora/plugins/internal/wire"
	pb "github.com/remora-backup/remora/plugins/proto/v1"
)

// Kinds of plugins.
const (
	Storage = wire.Storage
	Lock    = wire.Lock
	Notify  = wire.Notify
)

// Spec says which plugin to start, and with what.
type Spec struct {
	Kind    string // Storage, Lock or Notify
	Name    string // a built-in's name, or an absolute path
	Args    []string
	SHA256  string          // the executable's digest in hex; empty: not checked
	MTLS    string          // "" or "auto": on; "off": for plugins without P-521
	Config  json.RawMessage // the plugin's own part of the configuration
	Server  json.RawMessage // an sdk.Server; given to lock plugins only
	EnvPass []string        // names of environment variables that the plugin may see
}

// Options is what the host decides for all of its plugins. Zero values mean the default.
type Options struct {
	Self     string              // the executable that serves the built-ins; default: this one
	Builtins map[string][]string // kind to names
	Logger   hclog.Logger        // default: nothing is logged
	Dir      string              // where the private socket directory is made; default: os.TempDir

	Start  time.Duration // from exec to the answer of Configure; default 10 s
	Call   time.Duration // one call; default 60 s
	Commit time.Duration // making an object durable; default 5 min
	Stall  time.Duration // no byte moved; default 60 s
	Abort  time.Duration // giving up an upload or a download; default 60 s
	Drain  time.Duration // last words; default 10 s
}

func (o Options) withDefaults() Options {
	set := func(d *time.Duration, to time.Duration) {
		if *d == 0 {
			*d = to
		}
	}
	set(&o.Start, 10*time.Second)
	set(&o.Call, 60*time.Second)
	set(&o.Commit, 5*time.Minute)
	set(&o.Stall, 60*time.Second)
	set(&o.Abort, 60*time.Second)
	set(&o.Drain, 10*time.Second)
	if o.Self == "" {
		o.Self = "/proc/self/exe" // the running program, even if its file was replaced
	}
	if o.Logger == nil {
		o.Logger = hclog.NewNullLogger()
	}
	if o.Dir == "" {
		o.Dir = os.TempDir()
	}
	return o
}

// Plugin is one running plugin. Its methods may be used concurrently.
type Plugin struct {
	spec      Spec
	opts      Options
	label     string // "storage plugin fs", in every message
	dir       string // the private directory of its sockets
	proc      *process
	client    *plugin.Client
	conn      *grpc.ClientConn
	abilities []string
	closing   sync.Once
	closeErr  error
}

// Start starts a plugin and configures it. Whatever keeps that from working is a
// code.Plugin error, a configuration that the plugin refuses a code.Usage error, a storage
// that the plugin cannot use a code.Storage error; in all cases no process is left. The caller ends the plugin with Close; ctx bounds the start
// only.
func Start(ctx context.Context, spec Spec, opts Options) (*Plugin, error) {
	opts = opts.withDefaults()
	p := &Plugin{spec: spec, opts: opts, label: fmt.Sprintf("%s plugin %s", spec.Kind, spec.Name)}
	cmd, release, err := command(spec, opts)
	if err != nil {
		return nil, code.Default(code.Plugin, fmt.Errorf("start %s: %w", p.label, err))
	}
	defer release()
	if p.dir, err = socketDir(opts.Dir); err != nil {
		return nil, code.New(code.Plugin, "start %s: %w", p.label, err)
	}
	p.proc = newProcess(cmd, newLogs(opts.Logger.Named(spec.Kind+"."+shortName(spec.Name))))
	ctx, cancel := context.WithTimeoutCause(ctx, opts.Start, fmt.Errorf("no answer within %v", opts.Start))
	defer cancel()
	stop := context.AfterFunc(ctx, func() { p.proc.kill(context.Cause(ctx).Error()) })
	err = p.begin(ctx)
	if stop() && err == nil {
		return p, nil
	}
	if err == nil {
		err = context.Cause(ctx)
	}
	err = p.startError(ctx, err)
	_ = p.Close(context.WithoutCancel(ctx)) // err says what happened
	return nil, err
}

// begin is the part of Start that talks to the new process.
func (p *Plugin) begin(ctx context.Context) error {
	bridge := &wire.Bridge{}
	p.client = plugin.NewClient(&plugin.ClientConfig{
		HandshakeConfig:  wire.Handshake(),
		Plugins:          plugin.PluginSet{"remora": bridge},
		RunnerFunc:       p.proc.runner,
		AllowedProtocols: []plugin.Protocol{plugin.ProtocolGRPC},
		AutoMTLS:         p.spec.MTLS != "off",
		SkipHostEnv:      true,
		StartTimeout:     p.opts.Start,
		Logger:           hclog.NewNullLogger(), // process and logs say it better
		SyncStdout:       p.proc.logs,
		SyncStderr:       p.proc.logs,
		UnixSocketConfig: &plugin.UnixSocketConfig{TempDir: p.dir},
		GRPCDialOptions: []grpc.DialOption{grpc.WithDefaultCallOptions(
			grpc.MaxCallRecvMsgSize(wire.MaxMessage), grpc.MaxCallSendMsgSize(wire.MaxMessage))},
	})
	protocol, err := p.client.Client()
	if err != nil {
		return fmt.Errorf("handshake: %w", err)
	}
	if _, err := protocol.Dispense("remora"); err != nil {
		return fmt.Errorf("handshake: %w", err)
	}
	p.conn = bridge.Conn
	return p.configure(ctx)
}

func (p *Plugin) configure(ctx context.Context) error {
	control := pb.NewPluginClient(p.conn)
	about, err := control.Describe(ctx, &pb.DescribeRequest{})
	if err != nil {
		return &code.Error{Code: code.Plugin, Err: p.explain(ctx, "describe", err)}
	}
	if about.Kind != p.spec.Kind {
		return fmt.Errorf("it is a %q plugin, not a %s plugin", about.Kind, p.spec.Kind)
	}
	request := &pb.ConfigureRequest{ConfigJson: p.spec.Config}
	if p.spec.Kind == Lock {
		request.ServerJson = p.spec.Server
	}
	answer, err := control.Configure(ctx, request)
	if err == nil {
		p.abilities = answer.Abilities
		p.opts.Logger.Debug("plugin ready", "plugin", p.label, "pid", p.Pid(), "name", about.Name, "version", about.Version)
		return nil
	}
	err = p.explain(ctx, "configure", err)
	switch {
	case errors.Is(err, plug.ErrInvalid):
		return &code.Error{Code: code.Usage, Err: err}
	case p.spec.Kind == Storage && !p.proc.gone():
		return err // the plugin works and says that its storage does not
	}
	return &code.Error{Code: code.Plugin, Err: err}
}

// startError says why the plugin did not start: what it did wrong beats what that looked
// like from here.
func (p *Plugin) startError(ctx context.Context, err error) error {
	garbage, wrote := p.proc.notAHandshake()
	switch {
	case ctx.Err() != nil:
		err = fmt.Errorf("%w to %s%s", context.Cause(ctx), p.waitingFor(), p.proc.logs.lastWords())
	case p.conn != nil: // it got as far as to speak for itself
	case wrote:
		err = fmt.Errorf("it wrote %q on its standard output instead of a handshake", garbage)
	case p.proc.diedByItself():
		err = fmt.Errorf("it %s", p.proc.end())
	}
	hint := code.HintOf(err)
	if p.spec.MTLS != "off" && strings.Contains(err.Error(), "authentication handshake") {
		hint = `a plugin that cannot do mutual TLS needs mtls = "off"`
	}
	c := code.Of(err)
	if c == code.Unclassified {
		c = code.Plugin
	}
	return code.Hint(c, hint, "start %s: %w", p.label, err)
}

// waitingFor says how far a plugin got that did not start in time.
func (p *Plugin) waitingFor() string {
	if p.conn != nil {
		return "Describe or Configure: its handshake was right"
	}
	p.proc.mu.Lock()
	defer p.proc.mu.Unlock()
	if p.proc.line != "" {
		return "gRPC on the socket of its handshake"
	}
	return "its start: the line of the handshake did not come on standard output (was it flushed?)"
}

// Storage speaks to a storage plugin. The value also is a plug.FreeSpace if the plugin
// has that ability.
func (p *Plugin) Storage() plug.Storage {
	s := &storage{p: p, c: pb.NewStorageClient(p.conn)}
	if slices.Contains(p.abilities, wire.AbilityFree) {
		return &storageWithFree{storage: s}
	}
	return s
}

// Lock speaks to a lock plugin.
func (p *Plugin) Lock() plug.Lock { return &locker{p: p, c: pb.NewLockClient(p.conn)} }

// Notify speaks to a notify plugin.
func (p *Plugin) Notify() plug.Notify { return &notifier{p: p, c: pb.NewNotifyClient(p.conn)} }

// Pid is the plugin's process id, which is also its process group's.
func (p *Plugin) Pid() int { return p.proc.pid() }

// Exited is closed when the process has ended, for whatever reason.
func (p *Plugin) Exited() <-chan struct{} { return p.proc.exited }

// Dropped is how many lines the plugin has logged more than are passed on.
func (p *Plugin) Dropped() int { return p.proc.logs.left() }

// Sockets are the names of the sockets that are open in the plugin's private directory: one,
// and one for each transfer that is under way.
func (p *Plugin) Sockets() ([]string, error) {
	var names []string
	err := filepath.WalkDir(p.proc.socketDir, func(path string, e fs.DirEntry, err error) error {
		if err == nil && e.Type()&fs.ModeSocket != 0 {
			names = append(names, filepath.Base(path))
		}
		return err
	})
	return names, err
}

// Kill ends the plugin as a crash does.
func (p *Plugin) Kill() {
	p.proc.kill("on purpose")
	p.proc.goneSoon()
}

// Killed reports whether the host had to end the plugin.
func (p *Plugin) Killed() bool {
	p.proc.mu.Lock()
	defer p.proc.mu.Unlock()
	return p.proc.why != ""
}

// Abandon does to the plugin what the death of its host does, and reports whether it then
// ended by itself within the time that it has. It has to be closed all the same.
func (p *Plugin) Abandon() bool {
	p.proc.letGo()
	return p.proc.goneWithin(2 * leave) // nobody's clock is that exact
}

// leave is what a plugin has to end whose host is gone.
const leave = 2 * time.Second

// Close lets the plugin finish what it has to, ends it and everything it started, and
// removes its sockets. The error says what the plugin could not finish; the process is
// gone in any case. ctx shortens the time the plugin gets. Close is idempotent.
func (p *Plugin) Close(ctx context.Context) error {
	p.closing.Do(func() { p.closeErr = p.close(ctx) })
	return p.closeErr
}

func (p *Plugin) close(ctx context.Context) error {
	var err error
	if p.conn != nil && !p.proc.gone() {
		err = p.drain(ctx)
	}
	p.proc.letGo() // a plugin whose host is gone ends by itself
	if !p.proc.goneWithin(leave) {
		p.proc.kill("it did not end when asked to")
		p.proc.goneWithin(leave)
	}
	if p.client != nil {
		// What go-plugin still has to tidy up; the process is dead, but this library
		// has waited for grandchildren before.
		tidy := make(chan struct{})
		go func() {
			defer close(tidy)
			p.client.Kill()
		}()
		select {
		case <-tidy:
		case <-time.After(leave):
		}
	}
	if rerr := os.RemoveAll(p.dir); err == nil && rerr != nil {
		err = fmt.Errorf("remove the sockets of %s: %w", p.label, rerr)
	}
	return err
}

// drain asks for last words. The plugin keeps to the time, not the call, so that its own
// answer about what it could not finish arrives.
func (p *Plugin) drain(ctx context.Context) error {
	limit := p.opts.Drain
	if t, ok := ctx.Deadline(); ok {
		limit = min(limit, max(time.Until(t), 0))
	}
	if ctx.Err() != nil {
		limit = min(limit, time.Second)
	}
	return p.call(context.WithoutCancel(ctx), "drain", limit+time.Second, func(ctx context.Context) error {
		_, err := pb.NewPluginClient(p.conn).Drain(ctx, &pb.DrainRequest{TimeoutMs: limit.Milliseconds()})
		return err
	})
}
