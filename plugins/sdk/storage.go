package sdk

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"sync"

	"google.golang.org/grpc"

	"github.com/remora-backup/remora/core/plug"
	"github.com/remora-backup/remora/plugins/internal/wire"
	pb "github.com/remora-backup/remora/plugins/proto/v1"
)

// ServeStorage is the main function of a storage plugin. open gets the plugin's part of
// the configuration as a JSON object; see Decode. Names are checked with plug.ValidName
// before the storage sees them, and the reader given to Put ends only when the host has
// confirmed what was sent.
func ServeStorage(open func(config json.RawMessage) (plug.Storage, error)) {
	serve(&storageServer{opener: open, up: map[string]*upload{}, down: map[string]*download{}})
}

type storageServer struct {
	pb.UnimplementedStorageServer
	opener  func(json.RawMessage) (plug.Storage, error)
	sockets sockets

	mu   sync.Mutex
	s    plug.Storage
	up   map[string]*upload
	down map[string]*download
	last int64 // of the ids given out
}

func (s *storageServer) name() string            { return wire.Storage }
func (s *storageServer) register(g *grpc.Server) { pb.RegisterStorageServer(g, s) }

func (s *storageServer) open(config, _ json.RawMessage) ([]string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.s != nil {
		return nil, errConfiguredTwice
	}
	made, err := s.opener(config)
	if err != nil {
		return nil, err
	}
	s.s = made
	if _, ok := made.(plug.FreeSpace); ok {
		return []string{wire.AbilityFree}, nil
	}
	return nil, nil
}

func (s *storageServer) drain(ctx context.Context) error {
	s.mu.Lock()
	made := s.s
	ups := make([]*upload, 0, len(s.up))
	for _, u := range s.up {
		ups = append(ups, u)
	}
	s.mu.Unlock()
	// An upload that is not committed by now never will be.
	for _, u := range ups {
		u.cancel(errAborted)
	}
	for _, u := range ups {
		select {
		case <-u.done:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return drainIfAble(ctx, made)
}

// storage returns what the author made, if name is one that it may see.
func (s *storageServer) storage(name string) (plug.Storage, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.s == nil {
		return nil, errNotConfigured
	}
	if !plug.ValidName(name) {
		return nil, wire.ToStatus(fmt.Errorf("object name %q: %w", name, plug.ErrInvalid))
	}
	return s.s, nil
}

func (s *storageServer) newID() string {
	s.last++
	return strconv.FormatInt(s.last, 10)
}

func (s *storageServer) Put(ctx context.Context, r *pb.PutRequest) (*pb.PutResponse, error) {
	st, err := s.storage(r.Name)
	if err != nil {
		return nil, err
	}
	socket, err := s.sockets.listen()
	if err != nil {
		return nil, wire.ToStatus(err)
	}
	u := newUpload()
	s.mu.Lock()
	id := s.newID()
	s.up[id] = u
	s.mu.Unlock()
	if ctx.Err() != nil {
		u.cancel(errAborted)
	}
	go func() {
		if !u.run(st, r.Name, socket) {
			s.forget(id)
		}
	}()
	return &pb.PutResponse{UploadId: id, Socket: socket.name}, nil
}

// forget removes a transfer to whose socket nobody came: its host has not got the id, and
// will never ask for its end.
func (s *storageServer) forget(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.up, id)
	delete(s.down, id)
}

// take removes the upload from the list: it ends with the call that asked for it.
func (s *storageServer) take(id string) (*upload, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	u, ok := s.up[id]
	if !ok {
		return nil, wire.ToStatus(fmt.Errorf("upload %q: %w", id, plug.ErrNotExist))
	}
	delete(s.up, id)
	return u, nil
}

func (s *storageServer) Commit(ctx context.Context, r *pb.CommitRequest) (*pb.CommitResponse, error) {
	u, err := s.take(r.UploadId)
	if err != nil {
		return nil, err
	}
	u.commit <- expected{length: r.Length, crc: r.Crc32}
	select {
	case <-u.done:
	case <-ctx.Done():
		u.cancel(errAborted)
		return nil, wire.ToStatus(ctx.Err())
	}
	if u.err != nil {
		return nil, wire.ToStatus(u.err)
	}
	return &pb.CommitResponse{Object: object(u.object)}, nil
}

func (s *storageServer) Abort(ctx context.Context, r *pb.AbortRequest) (*pb.AbortResponse, error) {
	u, err := s.take(r.UploadId)
	if err != nil {
		return nil, err
	}
	u.cancel(errAborted)
	select {
	case <-u.done:
	case <-ctx.Done():
		return nil, wire.ToStatus(ctx.Err())
	}
	return &pb.AbortResponse{}, wire.ToStatus(u.failure())
}

func (s *storageServer) Get(ctx context.Context, r *pb.GetRequest) (*pb.GetResponse, error) {
	st, err := s.storage(r.Name)
	if err != nil {
		return nil, err
	}
	d := &download{want: r.Length, done: make(chan struct{})}
	// The download outlives this call; it ends with its connection.
	d.ctx, d.cancel = context.WithCancel(context.Background())
	d.from, err = st.Get(d.ctx, r.Name, r.Offset, r.Length)
	if err != nil {
		d.cancel()
		return nil, wire.ToStatus(err)
	}
	socket, err := s.sockets.listen()
	if err != nil {
		_ = d.from.Close()
		d.cancel()
		return nil, wire.ToStatus(err)
	}
	s.mu.Lock()
	id := s.newID()
	s.down[id] = d
	s.mu.Unlock()
	if ctx.Err() != nil {
		d.cancel()
	}
	go func() {
		if !d.run(socket) {
			s.forget(id)
		}
	}()
	return &pb.GetResponse{DownloadId: id, Socket: socket.name}, nil
}

func (s *storageServer) Finish(ctx context.Context, r *pb.FinishRequest) (*pb.FinishResponse, error) {
	s.mu.Lock()
	d, ok := s.down[r.DownloadId]
	delete(s.down, r.DownloadId)
	s.mu.Unlock()
	if !ok {
		return nil, wire.ToStatus(fmt.Errorf("download %q: %w", r.DownloadId, plug.ErrNotExist))
	}
	select {
	case <-d.done:
	case <-ctx.Done():
		d.cancel()
		return nil, wire.ToStatus(ctx.Err())
	}
	if d.err != nil {
		return nil, wire.ToStatus(d.err)
	}
	return &pb.FinishResponse{Length: d.length, Crc32: d.crc}, nil
}

// listBatch is how many objects one message carries; names are at most 512 bytes.
const listBatch = 1000

func (s *storageServer) List(r *pb.ListRequest, stream grpc.ServerStreamingServer[pb.ListResponse]) error {
	st, err := s.storage("any")
	if err != nil {
		return err
	}
	var batch []*pb.Object
	flush := func() error {
		if len(batch) == 0 {
			return nil
		}
		err := stream.Send(&pb.ListResponse{Objects: batch})
		batch = nil
		return err
	}
	for o, err := range st.List(stream.Context(), r.Prefix) {
		if err != nil {
			return wire.ToStatus(err)
		}
		batch = append(batch, object(o))
		if len(batch) == listBatch {
			if err := flush(); err != nil {
				return err
			}
		}
	}
	return flush()
}

func (s *storageServer) Stat(ctx context.Context, r *pb.StatRequest) (*pb.StatResponse, error) {
	st, err := s.storage(r.Name)
	if err != nil {
		return nil, err
	}
	o, err := st.Stat(ctx, r.Name)
	if err != nil {
		return nil, wire.ToStatus(err)
	}
	return &pb.StatResponse{Object: object(o)}, nil
}

func (s *storageServer) Delete(ctx context.Context, r *pb.DeleteRequest) (*pb.DeleteResponse, error) {
	st, err := s.storage(r.Name)
	if err != nil {
		return nil, err
	}
	return &pb.DeleteResponse{}, wire.ToStatus(st.Delete(ctx, r.Name))
}

func (s *storageServer) Free(ctx context.Context, _ *pb.FreeRequest) (*pb.FreeResponse, error) {
	st, err := s.storage("any")
	if err != nil {
		return nil, err
	}
	f, ok := st.(plug.FreeSpace)
	if !ok {
		return &pb.FreeResponse{Bytes: -1}, nil
	}
	n, err := f.Free(ctx)
	if err != nil {
		return nil, wire.ToStatus(err)
	}
	return &pb.FreeResponse{Bytes: n}, nil
}

func object(o plug.Object) *pb.Object { return &pb.Object{Name: o.Name, Size: o.Size} }
