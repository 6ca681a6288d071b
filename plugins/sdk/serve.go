// Package sdk is what a plugin's author imports.
//
// A plugin's main function is one call of ServeStorage, ServeLock or ServeNotify; it
// returns when the host has ended the plugin. The host alone ends it: SIGINT, SIGTERM and
// SIGHUP are ignored, because they reach a whole process group or unit while the host
// still needs the plugin to clean up. A plugin whose host is gone ends by itself.
//
// Standard output belongs to the handshake. Log with log/slog, or write lines to standard
// error, with "[WARN] " and the like in front if the level matters.
package sdk

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime/debug"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/remora-backup/remora/plugins/internal/wire"
	pb "github.com/remora-backup/remora/plugins/proto/v1"
)

// Drainer is an optional ability of every plugin. Drain is called once before the process
// ends: pass on what is queued, let go of what is held, until ctx is done.
type Drainer interface {
	Drain(ctx context.Context) error
}

// kind is what differs between the three kinds of plugin.
type kind interface {
	name() string
	register(*grpc.Server)
	// open makes the plugin from its configuration and returns its abilities.
	open(config, server json.RawMessage) ([]string, error)
	// drain is called once; the plugin may not have been opened.
	drain(ctx context.Context) error
}

func serve(k kind) {
	syscall.Umask(0o077)
	slog.SetDefault(slog.New(slog.NewJSONHandler(os.Stderr, nil)))
	setProcessName("remora-" + k.name())
	p := &pluginServer{kind: k}
	ignoreSignals()
	watchHost(p.hostGone)
	bridge := &wire.Bridge{Register: func(s *grpc.Server) {
		pb.RegisterPluginServer(s, p)
		k.register(s)
	}}
	plugin.Serve(&plugin.ServeConfig{
		HandshakeConfig: wire.Handshake(),
		Plugins:         plugin.PluginSet{"remora": bridge},
		Logger:          hclog.New(&hclog.LoggerOptions{Level: hclog.Warn, Output: os.Stderr, JSONFormat: true}),
		GRPCServer: func(o []grpc.ServerOption) *grpc.Server {
			return grpc.NewServer(append(o, grpc.MaxRecvMsgSize(wire.MaxMessage), grpc.MaxSendMsgSize(wire.MaxMessage))...)
		},
	})
}

// setProcessName is for people who run ps: a built-in is executed as /proc/self/exe.
// Nothing depends on it.
func setProcessName(s string) { _ = os.WriteFile("/proc/self/comm", []byte(s), 0) }

// pluginServer answers the calls that all kinds have.
type pluginServer struct {
	pb.UnimplementedPluginServer
	kind    kind
	drained once
}

func (p *pluginServer) Describe(context.Context, *pb.DescribeRequest) (*pb.DescribeResponse, error) {
	version := ""
	if info, ok := debug.ReadBuildInfo(); ok {
		version = info.Main.Version
	}
	return &pb.DescribeResponse{Kind: p.kind.name(), Name: filepath.Base(os.Args[0]), Version: version}, nil
}

func (p *pluginServer) Configure(_ context.Context, r *pb.ConfigureRequest) (*pb.ConfigureResponse, error) {
	config := json.RawMessage(r.ConfigJson)
	if len(config) == 0 {
		config = json.RawMessage("{}")
	}
	abilities, err := p.kind.open(config, r.ServerJson)
	if err != nil {
		return nil, wire.ToStatus(err)
	}
	return &pb.ConfigureResponse{Abilities: abilities}, nil
}

func (p *pluginServer) Drain(ctx context.Context, r *pb.DrainRequest) (*pb.DrainResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Duration(r.TimeoutMs)*time.Millisecond)
	defer cancel()
	return &pb.DrainResponse{}, wire.ToStatus(p.drainOnce(ctx))
}

func (p *pluginServer) drainOnce(ctx context.Context) error {
	return p.drained.do(func() error { return p.kind.drain(ctx) })
}

// hostGone ends the process: what the plugin holds is let go first, but not for long.
func (p *pluginServer) hostGone() {
	const patience = 1500 * time.Millisecond
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = p.drainOnce(ctx) // nobody is left to tell
	}()
	select {
	case <-done:
	case <-ctx.Done():
	}
	removeSockets()
	os.Exit(0)
}

// removeSockets does what the host cannot do any more. The parent directory goes too if
// that leaves it empty.
func removeSockets() {
	if dir := os.Getenv(wire.SocketDirEnv); dir != "" {
		_ = os.RemoveAll(dir)
		_ = os.Remove(filepath.Dir(dir))
	}
}

// drainIfAble drains what the author made, if it wants that.
func drainIfAble(ctx context.Context, made any) error {
	d, ok := made.(Drainer)
	if !ok {
		return nil
	}
	if err := d.Drain(ctx); err != nil {
		return fmt.Errorf("drain: %w", err)
	}
	return nil
}

var errNotConfigured = status.Error(codes.Internal, "call before Configure")

var errConfiguredTwice = errors.New("configured twice")
