// Package wire is what host and sdk agree on beyond the messages.
package wire

import (
	"context"

	"github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"
)

const (
	// ProtocolVersion is the second field of the handshake line.
	ProtocolVersion = 1
	// LivenessEnv names the file descriptor that reaches its end when the host is gone.
	LivenessEnv = "REMORA_PLUGIN_LIVENESS_FD"
	// SocketDirEnv names the private directory of the sockets.
	SocketDirEnv = plugin.EnvUnixSocketDir
	// MaxMessage bounds one message, in bytes, on both sides.
	MaxMessage = 8 << 20
	// AbilityFree says that Free can be called.
	AbilityFree = "free"
	// Buffer is how many bytes are moved over a socket at once.
	Buffer = 256 << 10
	// SocketBuffer is how many bytes the sender asks the system to hold for the receiver,
	// so that neither wakes up for every few pages.
	SocketBuffer = 1 << 20
)

// Kinds of plugins.
const (
	Storage = "storage"
	Lock    = "lock"
	Notify  = "notify"
)

// Handshake tells a plugin that it was started by remora. It is no security.
func Handshake() plugin.HandshakeConfig {
	return plugin.HandshakeConfig{
		ProtocolVersion:  ProtocolVersion,
		MagicCookieKey:   "REMORA_PLUGIN",
		MagicCookieValue: "remora.plugin.v1",
	}
}

// Bridge is the one entry of go-plugin's list of services. The host sets Conn, the sdk
// sets Register.
type Bridge struct {
	plugin.NetRPCUnsupportedPlugin
	Register func(*grpc.Server)
	Conn     *grpc.ClientConn
}

// GRPCServer adds our services to the plugin's server.
func (b *Bridge) GRPCServer(_ *plugin.GRPCBroker, s *grpc.Server) error {
	b.Register(s)
	return nil
}

// GRPCClient keeps the connection for the host.
func (b *Bridge) GRPCClient(_ context.Context, _ *plugin.GRPCBroker, c *grpc.ClientConn) (any, error) {
	b.Conn = c
	return nil, nil
}
