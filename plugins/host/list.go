package host

import (
	"context"
	"fmt"
	"io"
	"iter"
	"strings"
	"time"

	"google.golang.org/grpc"

	"github.com/remora-backup/remora/core/plug"
	pb "github.com/remora-backup/remora/plugins/proto/v1"
)

func (s *storage) List(ctx context.Context, prefix string) iter.Seq2[plug.Object, error] {
	return func(yield func(plug.Object, error) bool) {
		inner, cancel := detach(ctx)
		defer cancel(nil)
		l := &lister{s: s, prefix: prefix, cancel: cancel}
		for {
			objects, err := l.next(inner)
			switch {
			case err == io.EOF:
				return
			case err != nil && context.Cause(inner) == errNoAnswer:
				err = s.p.hang(fmt.Sprintf("no answer to list within %v", s.p.opts.Call))
			case err != nil:
				err = s.p.explain(ctx, "list", err)
			}
			if err != nil {
				yield(plug.Object{}, err)
				return
			}
			for _, o := range objects {
				if !yield(plug.Object{Name: o.Name, Size: o.Size}, nil) {
					return
				}
			}
		}
	}
}

// lister reads one list, message by message. The stream may take long; each of its
// messages may not.
type lister struct {
	s      *storage
	prefix string
	cancel context.CancelCauseFunc
	stream grpc.ServerStreamingClient[pb.ListResponse]
	last   string // name
	count  int    // objects
	empty  int    // messages without any
}

func (l *lister) next(ctx context.Context) ([]*pb.Object, error) {
	timer := time.AfterFunc(l.s.p.opts.Call, func() { l.cancel(errNoAnswer) })
	defer timer.Stop()
	if l.stream == nil {
		stream, err := l.s.c.List(ctx, &pb.ListRequest{Prefix: l.prefix})
		if err != nil {
			return nil, err
		}
		l.stream = stream
	}
	batch, err := l.stream.Recv()
	if err != nil {
		return nil, err
	}
	return batch.Objects, l.check(batch.Objects)
}

// endless is more objects than any storage holds, and how many messages a list may have
// that carry none.
const (
	endless    = 100_000_000
	emptyLimit = 100
)

// check refuses what a caller must be able to rely on: that it is in order, and ends.
func (l *lister) check(objects []*pb.Object) error {
	if len(objects) == 0 {
		l.empty++
	}
	if l.count += len(objects); l.count > endless || l.empty > emptyLimit {
		return fmt.Errorf("list of %q does not end: %d objects, and %d messages without any", l.prefix, l.count, l.empty)
	}
	for _, o := range objects {
		switch {
		case !l.fits(o.Name):
			return fmt.Errorf("list of %q gave %q", l.prefix, o.Name)
		case o.Name <= l.last:
			return fmt.Errorf("list gave %q after %q: objects come in byte order of names, each once", o.Name, l.last)
		case o.Size < 0:
			return fmt.Errorf("list gave %q a size of %d", o.Name, o.Size)
		}
		l.last = o.Name
	}
	return nil
}

// fits says whether the name is one that was asked for, or that of a part of the storage
// that may not be read and where such names may be.
func (l *lister) fits(name string) bool {
	part, unreadable := strings.CutSuffix(name, "/")
	return plug.ValidName(part) && (strings.HasPrefix(name, l.prefix) || unreadable && strings.HasPrefix(l.prefix, name))
}
