package host

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/remora-backup/remora/core/plug"
	"github.com/remora-backup/remora/plugins/internal/wire"
	pb "github.com/remora-backup/remora/plugins/proto/v1"
)

// tidyWait bounds calls that must be quick: while one waits, a server may be locked.
const tidyWait = 5 * time.Second

type storage struct {
	p *Plugin
	c pb.StorageClient
}

// named refuses what no plugin needs to see.
func (s *storage) named(name string) error {
	if plug.ValidName(name) {
		return nil
	}
	return s.p.coded(fmt.Errorf("object name %q: %w", name, plug.ErrInvalid))
}

func (s *storage) Put(ctx context.Context, name string, r io.Reader) (plug.Object, error) {
	if err := s.named(name); err != nil {
		return plug.Object{}, err
	}
	var up *pb.PutResponse
	err := s.p.call(ctx, "put", s.p.opts.Call, func(ctx context.Context) (err error) {
		up, err = s.c.Put(ctx, &pb.PutRequest{Name: name})
		return err
	})
	if err != nil {
		return plug.Object{}, err
	}
	sum, err := s.send(ctx, up.Socket, r)
	if err != nil {
		return plug.Object{}, s.abort(ctx, up.UploadId, err)
	}
	return s.commit(ctx, name, up.UploadId, sum)
}

// sum is what both sides must agree on.
type sum struct {
	length int64
	crc    uint32
}

// sourceError is a failure of the reader given to Put, none of the plugin's.
type sourceError struct{ error }

func (s *storage) send(ctx context.Context, socket string, r io.Reader) (sum, error) {
	conn, err := s.dial(ctx, socket)
	if err != nil {
		return sum{}, err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	_ = conn.SetWriteBuffer(wire.SocketBuffer) // more than the system allows is cut to that
	w := &sending{s: s, conn: conn}
	_, err = io.CopyBuffer(w, r, make([]byte, wire.Buffer))
	switch {
	case ctx.Err() != nil:
		return w.sum, context.Cause(ctx)
	case w.err != nil:
		return w.sum, w.err
	case err != nil:
		return w.sum, sourceError{err}
	}
	return w.sum, conn.CloseWrite()
}

// sending is the socket of an upload, and counts what goes into it.
type sending struct {
	s    *storage
	conn *net.UnixConn
	sum  sum
	err  error
}

func (w *sending) Write(b []byte) (int, error) {
	w.sum.crc = crc32.Update(w.sum.crc, crc32.IEEETable, b)
	w.sum.length += int64(len(b))
	if w.err = w.s.write(w.conn, b); w.err != nil {
		return 0, w.err
	}
	return len(b), nil
}

var errStalled = errors.New("no byte moved")

// write writes all of b as long as some of it moves in time.
func (s *storage) write(conn *net.UnixConn, b []byte) error {
	for {
		if err := conn.SetWriteDeadline(time.Now().Add(s.p.opts.Stall)); err != nil {
			return err
		}
		n, err := conn.Write(b)
		if b = b[n:]; !errors.Is(err, os.ErrDeadlineExceeded) || len(b) == 0 {
			return err
		}
		if n == 0 {
			return errStalled
		}
	}
}

func (s *storage) dial(ctx context.Context, socket string) (*net.UnixConn, error) {
	if socket == "" || filepath.Base(socket) != socket || socket == ".." || socket == "." {
		return nil, fmt.Errorf("its socket %q is not a file name", socket)
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	// Connecting to a unix socket never waits: its listener has room or refuses.
	path := filepath.Join(s.p.proc.socketDir, socket)
	return net.DialUnix("unix", nil, &net.UnixAddr{Net: "unix", Name: path})
}

// abort ends an upload that cannot go on, and returns the error that says why.
func (s *storage) abort(ctx context.Context, id string, cause error) error {
	if cause == errStalled {
		return s.p.hang(fmt.Sprintf("no byte taken for %v", s.p.opts.Stall))
	}
	own := s.p.call(context.WithoutCancel(ctx), "abort", s.p.opts.Abort, func(ctx context.Context) error {
		_, err := s.c.Abort(ctx, &pb.AbortRequest{UploadId: id})
		return err
	})
	var source sourceError
	switch {
	case errors.As(cause, &source):
		return fmt.Errorf("read what is to be stored: %w", source.error)
	case ctx.Err() == nil && own != nil && !errors.Is(own, plug.ErrNotExist): // it may have given up by itself
		return own // the plugin's reason is why the socket broke
	}
	return s.p.explain(ctx, "put", cause)
}

// commit makes the object appear. A cancelled caller waits a little for the answer: to
// know is better than to guess.
func (s *storage) commit(ctx context.Context, name, id string, want sum) (plug.Object, error) {
	var answer *pb.CommitResponse
	inner, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	stop := context.AfterFunc(ctx, func() { time.AfterFunc(tidyWait, cancel) })
	defer stop()
	err := s.p.call(inner, "commit", s.p.opts.Commit, func(ctx context.Context) (err error) {
		answer, err = s.c.Commit(ctx, &pb.CommitRequest{UploadId: id, Length: want.length, Crc32: want.crc})
		return err
	})
	switch {
	case err != nil && ctx.Err() != nil:
		return plug.Object{}, s.p.explain(ctx, "put", err)
	case err != nil:
		return plug.Object{}, err
	case answer.Object.GetName() != name || answer.Object.GetSize() != want.length:
		return plug.Object{}, s.p.coded(fmt.Errorf("%s stored %q with %d bytes, asked for %q with %d",
			s.p.label, answer.Object.GetName(), answer.Object.GetSize(), name, want.length))
	}
	return plug.Object{Name: name, Size: want.length}, nil
}

func (s *storage) Stat(ctx context.Context, name string) (plug.Object, error) {
	if err := s.named(name); err != nil {
		return plug.Object{}, err
	}
	var answer *pb.StatResponse
	err := s.p.call(ctx, "stat", s.p.opts.Call, func(ctx context.Context) (err error) {
		answer, err = s.c.Stat(ctx, &pb.StatRequest{Name: name})
		return err
	})
	if err != nil {
		return plug.Object{}, err
	}
	return plug.Object{Name: name, Size: answer.Object.GetSize()}, nil
}

func (s *storage) Delete(ctx context.Context, name string) error {
	if err := s.named(name); err != nil {
		return err
	}
	return s.p.call(ctx, "delete", s.p.opts.Call, func(ctx context.Context) error {
		_, err := s.c.Delete(ctx, &pb.DeleteRequest{Name: name})
		return err
	})
}

// storageWithFree is a storage with that ability.
type storageWithFree struct{ *storage }

func (s *storageWithFree) Free(ctx context.Context) (int64, error) {
	var answer *pb.FreeResponse
	err := s.p.call(ctx, "free", s.p.opts.Call, func(ctx context.Context) (err error) {
		answer, err = s.c.Free(ctx, &pb.FreeRequest{})
		return err
	})
	return answer.GetBytes(), err
}
