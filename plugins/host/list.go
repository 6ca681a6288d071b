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

// check refuses what a caller must be able to rely on.
func (l *lister) check(objects []*pb.Object) error {
	for _, o := range objects {
		switch {
		case !plug.ValidName(o.Name) || !strings.HasPrefix(o.Name, l.prefix):
			return fmt.Errorf("list of %q gave %q", l.prefix, o.Name)
		case o.Name <= l.last:
			return fmt.Errorf("list gave %q after %q", o.Name, l.last)
		case o.Size < 0:
			return fmt.Errorf("list gave %q a size of %d", o.Name, o.Size)
		}
		l.last = o.Name
	}
	return nil
}
