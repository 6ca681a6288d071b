package sdk

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/remora-backup/remora/plugins/internal/wire"
)

// dialWait is how long a one-time socket waits for its one connection.
const dialWait = 10 * time.Second

// sockets makes one-time sockets in the private directory.
type sockets struct {
	made atomic.Int64
}

// oneTime is a socket for one connection.
type oneTime struct {
	name string // what the host is told: the file's name in the private directory
	l    *net.UnixListener
}

func (s *sockets) listen() (*oneTime, error) {
	dir := os.Getenv(wire.SocketDirEnv)
	if dir == "" {
		dir = os.TempDir()
	}
	name := fmt.Sprintf("data-%d", s.made.Add(1))
	l, err := net.ListenUnix("unix", &net.UnixAddr{Net: "unix", Name: filepath.Join(dir, name)})
	if err != nil {
		return nil, fmt.Errorf("listen for bytes: %w", err)
	}
	return &oneTime{name: name, l: l}, nil
}

// accept waits for the connection, and closes and unlinks the socket in any case.
func (o *oneTime) accept(ctx context.Context) (*net.UnixConn, error) {
	defer o.l.Close()
	stop := context.AfterFunc(ctx, func() { _ = o.l.Close() })
	defer stop()
	if err := o.l.SetDeadline(time.Now().Add(dialWait)); err != nil {
		return nil, fmt.Errorf("bound the wait for a connection: %w", err)
	}
	conn, err := o.l.AcceptUnix()
	if ctx.Err() != nil {
		if err == nil {
			_ = conn.Close()
		}
		return nil, context.Cause(ctx)
	}
	if err != nil {
		return nil, fmt.Errorf("wait for the host's connection: %w", err)
	}
	return conn, nil
}
