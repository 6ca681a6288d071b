package repo

import (
	"context"
	"fmt"
	"io"
	"sync"

	"github.com/remora-backup/remora/core/code"
	"github.com/remora-backup/remora/core/plug"
)

// stream is one object on its way to the storage. The writer hands over whole chunks and
// waits only while the storage is behind by more than the channel holds. Either side can
// end at any moment without leaving the other one waiting: the storage's end is done, the
// writer's end is the context.
type stream struct {
	ctx  context.Context
	name string
	full chan []byte   // chunks to be stored; closed at the end of the object
	free chan []byte   // chunks stored, to be used again; shared by the streams of a packer
	done chan struct{} // closed when Put has returned
	obj  plug.Object   // what Put returned, valid after done
	err  error
	rest []byte // unread part of cur
	cur  []byte
	sent int64 // bytes handed over; the writer's
}

const (
	chunkSize  = 1 << 20 // bytes from which a chunk is handed over
	chunkQueue = 2       // chunks waiting for the storage, for each stream
)

// newStream begins to put an object. ctx ends it; puts waits for its end.
func newStream(ctx context.Context, puts *sync.WaitGroup, storage plug.Storage, name string, free chan []byte) *stream {
	s := &stream{ctx: ctx, name: name, full: make(chan []byte, chunkQueue), free: free, done: make(chan struct{})}
	puts.Go(func() {
		defer close(s.done)
		s.obj, s.err = storage.Put(ctx, name, s)
	})
	return s
}

// send hands over a chunk, which belongs to the stream from then on.
func (s *stream) send(ctx context.Context, chunk []byte) error {
	s.sent += int64(len(chunk))
	select {
	case s.full <- chunk:
		return nil
	case <-s.done:
		return s.early()
	case <-ctx.Done():
		return failed(ctx, "put", s.name, ctx.Err())
	case <-s.ctx.Done():
		return failed(s.ctx, "put", s.name, s.ctx.Err())
	}
}

// early is the error of a Put that returned before it was given the end of its stream.
func (s *stream) early() error {
	if s.err != nil {
		return failed(s.ctx, "put", s.name, s.err)
	}
	return code.New(code.Storage, "put %s: the storage took %d bytes for the whole", s.name, s.obj.Size)
}

// finish gives the end of the object and waits until it is durable.
func (s *stream) finish() error {
	close(s.full)
	select {
	case <-s.done:
	case <-s.ctx.Done():
		return failed(s.ctx, "put", s.name, s.ctx.Err())
	}
	if s.err != nil || s.obj.Size != s.sent {
		return s.early()
	}
	return nil
}

// newChunk returns an empty buffer, a used one if there is one.
func newChunk(free chan []byte) []byte {
	select {
	case b := <-free:
		return b[:0]
	default:
		return make([]byte, 0, 2*chunkSize)
	}
}

// fill gets the next chunk for the storage's side.
func (s *stream) fill() error {
	if s.ctx.Err() != nil {
		return context.Cause(s.ctx)
	}
	if s.cur != nil {
		select {
		case s.free <- s.cur:
		default:
		}
		s.cur = nil
	}
	select {
	case b, ok := <-s.full:
		if !ok {
			return io.EOF
		}
		s.cur, s.rest = b, b
		return nil
	case <-s.ctx.Done():
		return context.Cause(s.ctx)
	}
}

// Read is the storage's side.
func (s *stream) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for len(s.rest) == 0 {
		if err := s.fill(); err != nil {
			return 0, err
		}
	}
	n := copy(p, s.rest)
	s.rest = s.rest[n:]
	return n, nil
}

// WriteTo is the storage's side where it copies with io.Copy: whole chunks.
func (s *stream) WriteTo(w io.Writer) (int64, error) {
	var total int64
	for {
		for len(s.rest) == 0 {
			if err := s.fill(); err == io.EOF {
				return total, nil
			} else if err != nil {
				return total, err
			}
		}
		n, err := w.Write(s.rest)
		total += int64(n)
		s.rest = s.rest[n:]
		if err != nil {
			return total, fmt.Errorf("pass on %s: %w", s.name, err)
		}
	}
}

// streamWriter is a stream as an io.Writer.
type streamWriter struct {
	*stream
	buf []byte
}

func (w *streamWriter) Write(p []byte) (int, error) {
	if w.buf == nil {
		w.buf = newChunk(w.free)
	}
	w.buf = append(w.buf, p...)
	if len(w.buf) < chunkSize {
		return len(p), nil
	}
	return len(p), w.flush()
}

func (w *streamWriter) flush() error {
	b := w.buf
	w.buf = nil
	if len(b) == 0 {
		return nil
	}
	return w.send(w.ctx, b)
}

// Close ends the object.
func (w *streamWriter) Close() error {
	if err := w.flush(); err != nil {
		return err
	}
	return w.finish()
}
