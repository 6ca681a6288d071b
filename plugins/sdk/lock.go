package sdk

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"

	"github.com/remora-backup/remora/core/plug"
	"github.com/remora-backup/remora/plugins/internal/wire"
	pb "github.com/remora-backup/remora/plugins/proto/v1"
)

// silence is how long a lock is kept for a host that lives but asks for nothing: one that is
// stopped, or hangs, must not keep a server locked. A host that holds a lock checks it more
// often than that.
const silence = 10 * time.Second

// releaseWait bounds a release that nobody waits for.
const releaseWait = 5 * time.Second

// ServeLock is the main function of a lock plugin. open gets the plugin's part of the
// configuration as a JSON object and how to reach the server as another, a Server; see
// Decode.
func ServeLock(open func(config, server json.RawMessage) (plug.Lock, error)) {
	serve(&lockServer{opener: open, locks: map[string]*lock{}})
}

type lockServer struct {
	pb.UnimplementedLockServer
	opener func(config, server json.RawMessage) (plug.Lock, error)

	mu    sync.Mutex
	l     plug.Lock
	locks map[string]*lock
}

// lock is one the host has asked for.
type lock struct {
	cancel   context.CancelFunc // gives up the wait for it
	ready    chan struct{}      // closed when held is set, or never will be
	held     plug.Held
	released chan struct{}
	heard    atomic.Int64 // when the host last asked for it; nanoseconds since the plugin began
}

// begun is what heard counts from, so that a clock that is set changes nothing.
var begun = time.Now()

func (k *lock) hear() { k.heard.Store(int64(time.Since(begun))) }

// guard gives the lock back if the host falls silent.
func (s *lockServer) guard(id string, k *lock) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-k.released:
			return
		case <-k.held.Lost():
			return
		case <-tick.C:
		}
		if quiet := time.Since(begun) - time.Duration(k.heard.Load()); quiet > silence {
			slog.Warn("giving the lock back: the host has been silent", "for", quiet)
			ctx, cancel := context.WithTimeout(context.Background(), releaseWait)
			defer cancel()
			_, _ = s.release(ctx, id) // the host will find it gone
			return
		}
	}
}

func (s *lockServer) name() string            { return wire.Lock }
func (s *lockServer) register(g *grpc.Server) { pb.RegisterLockServer(g, s) }

func (s *lockServer) open(config, server json.RawMessage) ([]string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.l != nil {
		return nil, errConfiguredTwice
	}
	made, err := s.opener(config, server)
	if err == nil {
		s.l = made
	}
	return nil, err
}

// drain gives back every lock: a server must not stay locked by a backup that is over.
func (s *lockServer) drain(ctx context.Context) error {
	s.mu.Lock()
	made := s.l
	var ids []string
	for id := range s.locks {
		ids = append(ids, id)
	}
	s.mu.Unlock()
	var errs []error
	for _, id := range ids {
		if _, err := s.release(ctx, id); err != nil && !errors.Is(err, plug.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(append(errs, drainIfAble(ctx, made))...)
}

func (s *lockServer) Acquire(ctx context.Context, r *pb.AcquireRequest) (*pb.AcquireResponse, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	k := &lock{cancel: cancel, ready: make(chan struct{}), released: make(chan struct{})}
	s.mu.Lock()
	made := s.l
	_, twice := s.locks[r.LockId]
	if made == nil || twice {
		s.mu.Unlock()
		if twice {
			return nil, wire.ToStatus(fmt.Errorf("lock id %q is in use: %w", r.LockId, plug.ErrInvalid))
		}
		return nil, errNotConfigured
	}
	s.locks[r.LockId] = k
	s.mu.Unlock()

	held, err := made.Acquire(ctx, asked(r))
	if err == nil && ctx.Err() != nil {
		// Granted to nobody: the host has stopped waiting.
		rctx, done := context.WithTimeout(context.WithoutCancel(ctx), releaseWait)
		defer done()
		_, rerr := held.Release(rctx)
		err = errors.Join(ctx.Err(), rerr)
	}
	if err != nil {
		s.forget(r.LockId)
		close(k.ready)
		return refusal(err)
	}
	k.held = held
	k.hear()
	close(k.ready)
	go s.guard(r.LockId, k)
	granted := &pb.Granted{Owner: held.Owner(), WaitedUs: held.Waited().Microseconds()}
	if on, ok := held.(plug.HeldOn); ok {
		granted.ServerUuid, granted.ServerStarted = on.Locked().UUID, on.Locked().Started
	}
	return &pb.AcquireResponse{Result: &pb.AcquireResponse_Granted{Granted: granted}}, nil
}

func asked(r *pb.AcquireRequest) plug.Ask {
	ask := plug.Ask{Scope: plug.Scope(r.Scope), Wait: time.Duration(r.WaitUs) * time.Microsecond, Pending: time.Duration(r.PendingUs) * time.Microsecond}
	for _, t := range r.Tables {
		ask.Tables = append(ask.Tables, plug.Table{Schema: t.Schema, Name: t.Name})
	}
	return ask
}

// refusal is the answer to an Acquire that did not get its lock.
func refusal(err error) (*pb.AcquireResponse, error) {
	var late *plug.LockTimeout
	if !errors.As(err, &late) {
		return nil, wire.ToStatus(err)
	}
	out := &pb.TimedOut{PendingUs: late.Pending.Microseconds()}
	for _, b := range late.Blockers {
		out.Blockers = append(out.Blockers, &pb.Blocker{
			ProcessId: b.ProcessID,
			User:      b.User,
			SinceUs:   b.Since.Microseconds(),
			Statement: b.Statement,
		})
	}
	return &pb.AcquireResponse{Result: &pb.AcquireResponse_TimedOut{TimedOut: out}}, nil
}

func (s *lockServer) forget(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.locks, id)
}

// find waits for a lock that is being acquired.
func (s *lockServer) find(ctx context.Context, id string) (*lock, error) {
	s.mu.Lock()
	k, ok := s.locks[id]
	s.mu.Unlock()
	if ok {
		select {
		case <-k.ready:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	if !ok || k.held == nil {
		return nil, fmt.Errorf("lock %q: %w", id, plug.ErrNotExist)
	}
	k.hear()
	return k, nil
}

func (s *lockServer) Watch(r *pb.WatchRequest, stream grpc.ServerStreamingServer[pb.LockLost]) error {
	k, err := s.find(stream.Context(), r.LockId)
	if err != nil {
		return wire.ToStatus(err)
	}
	select {
	case <-k.released:
		return nil
	case <-stream.Context().Done():
		return wire.ToStatus(stream.Context().Err())
	case <-k.held.Lost():
	}
	reason := plug.ErrLockLost.Error()
	if err := k.held.Check(stream.Context()); err != nil {
		reason = err.Error()
	}
	return stream.Send(&pb.LockLost{Reason: reason})
}

func (s *lockServer) Check(ctx context.Context, r *pb.CheckRequest) (*pb.CheckResponse, error) {
	k, err := s.find(ctx, r.LockId)
	if err != nil {
		return nil, wire.ToStatus(err)
	}
	return &pb.CheckResponse{}, wire.ToStatus(k.held.Check(ctx))
}

func (s *lockServer) Release(ctx context.Context, r *pb.ReleaseRequest) (*pb.ReleaseResponse, error) {
	held, err := s.release(ctx, r.LockId)
	if err != nil {
		return nil, wire.ToStatus(err)
	}
	return &pb.ReleaseResponse{HeldUs: held.Microseconds()}, nil
}

func (s *lockServer) release(ctx context.Context, id string) (time.Duration, error) {
	s.mu.Lock()
	k, ok := s.locks[id]
	delete(s.locks, id)
	s.mu.Unlock()
	if !ok {
		return 0, fmt.Errorf("lock %q: %w", id, plug.ErrNotExist)
	}
	k.cancel() // does nothing to a lock that is held
	select {
	case <-k.ready:
	case <-ctx.Done():
		return 0, ctx.Err()
	}
	if k.held == nil {
		return 0, fmt.Errorf("lock %q: %w", id, plug.ErrNotExist)
	}
	close(k.released)
	return k.held.Release(ctx)
}
