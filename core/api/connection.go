package api

import (
	"net"
	"os/user"
	"strconv"
	"sync"

	"golang.org/x/sys/unix"
)

// peer is the process at the other end of a unix socket.
type peer struct {
	uid   uint32
	known bool
}

// peerOf asks the kernel, which remembers who connected. Source: unix(7), SO_PEERCRED.
func peerOf(c net.Conn) (p peer) {
	if inner, ok := c.(*counted); ok {
		c = inner.Conn
	}
	u, ok := c.(*net.UnixConn)
	if !ok {
		return p
	}
	raw, err := u.SyscallConn()
	if err != nil {
		return p
	}
	_ = raw.Control(func(fd uintptr) { // an error leaves it unknown
		if cred, err := unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED); err == nil {
			p = peer{cred.Uid, true}
		}
	})
	return p
}

func (p peer) name() string {
	uid := strconv.FormatUint(uint64(p.uid), 10)
	if u, err := user.LookupId(uid); err == nil {
		return u.Username
	}
	return uid
}

// counted is a connection that has its place at a door.
type counted struct {
	net.Conn
	leave func()
}

func (c *counted) Close() error {
	err := c.Conn.Close()
	c.leave()
	return err
}

// bounded lets no more than so many connections in at once: the others wait in the kernel.
type bounded struct {
	net.Listener
	places chan struct{}
	once   sync.Once
	done   chan struct{}
}

func atMost(n int, l net.Listener) *bounded {
	return &bounded{Listener: l, places: make(chan struct{}, n), done: make(chan struct{})}
}

func (b *bounded) Accept() (net.Conn, error) {
	select {
	case b.places <- struct{}{}:
	case <-b.done:
		return nil, net.ErrClosed
	}
	c, err := b.Listener.Accept()
	if err != nil {
		<-b.places
		return nil, err
	}
	return &counted{c, sync.OnceFunc(func() { <-b.places })}, nil
}

func (b *bounded) Close() error {
	b.once.Do(func() { close(b.done) })
	return b.Listener.Close()
}
