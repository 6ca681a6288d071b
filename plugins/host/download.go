package host

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"github.com/remora-backup/remora/core/plug"
	pb "github.com/remora-backup/remora/plugins/proto/v1"
)

func (s *storage) Get(ctx context.Context, name string, offset, length int64) (io.ReadCloser, error) {
	if err := s.named(name); err != nil {
		return nil, err
	}
	if offset < 0 {
		return nil, s.p.coded(fmt.Errorf("offset %d of %s: %w", offset, name, plug.ErrInvalid))
	}
	var down *pb.GetResponse
	err := s.p.call(ctx, "get", s.p.opts.Call, func(ctx context.Context) (err error) {
		down, err = s.c.Get(ctx, &pb.GetRequest{Name: name, Offset: offset, Length: length})
		return err
	})
	if err != nil {
		return nil, err
	}
	conn, err := s.dial(ctx, down.Socket)
	if err != nil {
		return nil, s.p.explain(ctx, "get", err)
	}
	d := &download{s: s, ctx: ctx, id: down.DownloadId, conn: conn, want: length}
	d.stop = context.AfterFunc(ctx, func() { _ = conn.Close() })
	return d, nil
}

// download is the reader that Get returns.
type download struct {
	s    *storage
	ctx  context.Context // of Get: the reader ends with it
	stop func() bool
	id   string
	conn *net.UnixConn
	want int64 // bytes, or negative
	got  sum
	end  error // what Read says from now on

	mu    sync.Mutex
	asked bool // Finish has reached the plugin
}

// largest is what an object can have at most, in bytes: whoever sends more does not end.
const largest = 16 << 30

func (d *download) Read(b []byte) (int, error) {
	if d.end != nil {
		return 0, d.end
	}
	if len(b) == 0 {
		return 0, nil
	}
	if err := d.conn.SetReadDeadline(time.Now().Add(d.s.p.opts.Stall)); err != nil {
		return 0, d.fail(err)
	}
	n, err := d.conn.Read(b)
	d.got.crc = crc32.Update(d.got.crc, crc32.IEEETable, b[:n])
	d.got.length += int64(n)
	switch {
	case d.want >= 0 && d.got.length > d.want:
		return 0, d.fail(fmt.Errorf("plugin sent more than the %d bytes asked for", d.want))
	case d.got.length > largest:
		return 0, d.fail(fmt.Errorf("plugin sent more than %d bytes", int64(largest)))
	case err == io.EOF:
		if d.end = d.confirm(); d.end == nil {
			d.end = io.EOF
		}
		return n, d.end
	case err != nil:
		return n, d.fail(err)
	}
	return n, nil
}

func (d *download) fail(err error) error {
	if errors.Is(err, os.ErrDeadlineExceeded) && d.ctx.Err() == nil {
		d.end = d.s.p.hang(fmt.Sprintf("no byte given for %v", d.s.p.opts.Stall))
	} else {
		d.end = d.s.p.explain(d.ctx, "get", err)
	}
	return d.end
}

// confirm asks whether what came is what was sent.
func (d *download) confirm() error {
	answer, err := d.ask(d.ctx, d.s.p.opts.Call)
	switch {
	case err != nil:
		return err
	case answer.Length != d.got.length || answer.Crc32 != d.got.crc:
		err = fmt.Errorf("got %d bytes with CRC %08x, plugin sent %d with %08x", d.got.length, d.got.crc, answer.Length, answer.Crc32)
	case d.want >= 0 && d.got.length != d.want:
		err = fmt.Errorf("got %d bytes, asked for %d", d.got.length, d.want)
	default:
		return nil
	}
	return d.s.p.coded(fmt.Errorf("%s get: %w", d.s.p.label, err))
}

// ask asks for the end of the download, once; a question that was cancelled may not have
// reached the plugin, and is asked again.
func (d *download) ask(ctx context.Context, limit time.Duration) (answer *pb.FinishResponse, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.asked {
		return nil, os.ErrClosed
	}
	err = d.s.p.call(ctx, "finish", limit, func(ctx context.Context) (err error) {
		answer, err = d.s.c.Finish(ctx, &pb.FinishRequest{DownloadId: d.id})
		return err
	})
	d.asked = ctx.Err() == nil
	return answer, err
}

// Close ends the download, also before its end.
func (d *download) Close() error {
	d.stop()
	_ = d.conn.Close() // nothing is buffered in it for us
	if d.end == nil {
		d.end = os.ErrClosed
	}
	if d.s.p.proc.gone() {
		return nil
	}
	// The plugin forgets the download; its opinion of the end does not matter any more.
	_, _ = d.ask(context.WithoutCancel(d.ctx), d.s.p.opts.Abort)
	return nil
}
