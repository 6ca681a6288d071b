package sdk

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"net"

	"github.com/remora-backup/remora/plugins/internal/wire"
)

// download is one Get: the bytes of the author's reader go to a socket.
type download struct {
	ctx    context.Context
	cancel context.CancelFunc
	from   io.ReadCloser
	want   int64 // bytes, or negative
	length int64
	crc    uint32
	done   chan struct{} // closed when the last byte was sent or never will be
	err    error
}

// run sends everything and ends with done closed. It reports whether anybody came for it.
func (d *download) run(socket *oneTime) bool {
	defer close(d.done)
	defer d.cancel()
	conn, err := socket.accept(d.ctx)
	if err != nil {
		d.err = errors.Join(err, d.from.Close())
		return false
	}
	go d.watch(conn)
	d.err = d.send(conn)
	if err := d.from.Close(); d.err == nil && err != nil {
		d.err = fmt.Errorf("close what was read: %w", err)
	}
	_ = conn.Close() // Finish tells whether all of it arrived
	return true
}

// watch sees a host that breaks off while the author's reader waits for bytes.
func (d *download) watch(conn *net.UnixConn) {
	_, _ = conn.Read(make([]byte, 1)) // the host never writes here
	d.cancel()
}

func (d *download) send(conn *net.UnixConn) error {
	_ = conn.SetWriteBuffer(wire.SocketBuffer) // more than the system allows is cut to that
	buf := make([]byte, wire.Buffer)
	for {
		n, err := d.from.Read(buf)
		if n > 0 {
			d.crc = crc32.Update(d.crc, crc32.IEEETable, buf[:n])
			if _, err := conn.Write(buf[:n]); err != nil {
				return fmt.Errorf("send to the host: %w", err)
			}
			d.length += int64(n)
		}
		switch {
		case err == io.EOF && d.want >= 0 && d.length != d.want:
			return fmt.Errorf("object gave %d bytes, not %d", d.length, d.want)
		case err == io.EOF:
			return nil
		case err != nil:
			return fmt.Errorf("read stored bytes: %w", err)
		}
	}
}
