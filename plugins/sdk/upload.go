package sdk

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"net"

	"github.com/remora-backup/remora/core/plug"
)

// upload is one Put: its bytes come over a socket, and the end of the stream only counts
// once Commit has confirmed it. Until then the reader that the author's Put reads from
// holds back its io.EOF, so an author needs to know of no protocol at all.
type upload struct {
	ctx    context.Context
	cancel context.CancelCauseFunc
	conn   *net.UnixConn
	length int64
	crc    uint32
	end    error         // what Read says from now on
	commit chan expected // one at most
	done   chan struct{} // closed when the author's Put has returned
	object plug.Object
	err    error
}

type expected struct {
	length int64
	crc    uint32
}

var errAborted = errors.New("upload given up by the host")

func newUpload() *upload {
	u := &upload{commit: make(chan expected, 1), done: make(chan struct{})}
	u.ctx, u.cancel = context.WithCancelCause(context.Background())
	return u
}

// run is the upload's life; it ends with done closed. It reports whether anybody came with
// its bytes.
func (u *upload) run(s plug.Storage, name string, socket *oneTime) bool {
	defer close(u.done)
	defer u.cancel(nil)
	u.conn, u.err = socket.accept(u.ctx)
	if u.err != nil {
		return false
	}
	defer u.conn.Close()
	stop := context.AfterFunc(u.ctx, func() { _ = u.conn.Close() })
	defer stop()
	u.object, u.err = s.Put(u.ctx, name, u)
	if u.err == nil && u.end != io.EOF {
		u.err = fmt.Errorf("put of %s ended before its stream did", name)
	}
	return true
}

// Read is the author's end of the stream.
func (u *upload) Read(p []byte) (int, error) {
	if u.end != nil {
		return 0, u.end
	}
	n, err := u.conn.Read(p)
	u.crc = crc32.Update(u.crc, crc32.IEEETable, p[:n])
	u.length += int64(n)
	switch {
	case err == io.EOF && n == 0:
		u.end = u.confirm()
		return 0, u.end
	case err != nil && u.ctx.Err() != nil:
		u.end = context.Cause(u.ctx)
		return n, u.end
	case err != nil && err != io.EOF:
		u.end = fmt.Errorf("read from the host: %w", err)
		return n, u.end
	}
	return n, nil
}

// failure is the upload's own failure, nil if it only ended because the host gave it up.
func (u *upload) failure() error {
	if errors.Is(u.err, errAborted) || errors.Is(u.err, context.Canceled) {
		return nil
	}
	return u.err
}

// confirm waits for the host's word on what it sent. A stream can also end because the
// host broke off.
func (u *upload) confirm() error {
	select {
	case <-u.ctx.Done():
		return context.Cause(u.ctx)
	case want := <-u.commit:
		if want.length != u.length || want.crc != u.crc {
			return fmt.Errorf("got %d bytes with CRC %08x, host sent %d with %08x", u.length, u.crc, want.length, want.crc)
		}
		return io.EOF
	}
}
