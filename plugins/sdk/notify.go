package sdk

import (
	"context"
	"encoding/json"
	"sync"
	"time"

	"google.golang.org/grpc"

	"github.com/remora-backup/remora/core/plug"
	"github.com/remora-backup/remora/plugins/internal/wire"
	pb "github.com/remora-backup/remora/plugins/proto/v1"
)

// ServeNotify is the main function of a notify plugin. open gets the plugin's part of
// the configuration as a JSON object; see Decode.
func ServeNotify(open func(config json.RawMessage) (plug.Notify, error)) {
	serve(&notifyServer{opener: open})
}

type notifyServer struct {
	pb.UnimplementedNotifyServer
	opener func(json.RawMessage) (plug.Notify, error)

	mu sync.Mutex
	n  plug.Notify
}

func (s *notifyServer) name() string            { return wire.Notify }
func (s *notifyServer) register(g *grpc.Server) { pb.RegisterNotifyServer(g, s) }

func (s *notifyServer) open(config, _ json.RawMessage) ([]string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.n != nil {
		return nil, errConfiguredTwice
	}
	made, err := s.opener(config)
	if err == nil {
		s.n = made
	}
	return nil, err
}

func (s *notifyServer) drain(ctx context.Context) error { return drainIfAble(ctx, s.notify()) }

func (s *notifyServer) notify() plug.Notify {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.n
}

func (s *notifyServer) Send(ctx context.Context, r *pb.SendRequest) (*pb.SendResponse, error) {
	n := s.notify()
	if n == nil {
		return nil, errNotConfigured
	}
	return &pb.SendResponse{}, wire.ToStatus(n.Send(ctx, plug.Notice{
		Time:      time.UnixMicro(r.TimeUs).UTC(),
		Severity:  r.Severity,
		Operation: r.Operation,
		ID:        r.Id,
		Text:      r.Text,
		Event:     r.EventJson,
	}))
}
