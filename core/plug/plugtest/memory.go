package plugtest

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"iter"
	"slices"
	"strings"
	"sync"

	"github.com/remora-backup/remora/core/plug"
)

// Memory is a storage in memory. The zero value is empty and works as promised until it
// is broken: by faults that Break names, or by a function of the test's own.
type Memory struct {
	// Hook, if not nil, is asked first by each call, and fails it with its error. op is that
	// of Fault; a put that r feeds asks again when its bytes were taken ("commit") and when the
	// object is there ("answer"). It is set while no call is under way.
	Hook func(ctx context.Context, op, name string, r io.Reader) error

	mu      sync.Mutex
	objects map[string][]byte
	faults  []*Fault
}

// Damage is what goes wrong.
type Damage int

// The kinds of damage.
const (
	Fail  Damage = iota // the call returns Err, a Put or Get after After bytes
	Lose                // Put says it stored the object, and did not
	Flip                // the byte at After is another one, when stored or when read
	Short               // only After bytes are stored, or read, as if they were all
	Hang                // the call waits for the end of its context, a Put or Get after After bytes
)

// Fault is one thing that goes wrong.
type Fault struct {
	Op     string // "put", "get", "stat", "list" or "delete"
	Name   string // the name begins so
	Damage Damage
	After  int64 // bytes
	Err    error // of Fail
	Times  int   // how often; 0: always
}

// Break adds a fault.
func (m *Memory) Break(f Fault) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.faults = append(m.faults, &f)
}

// fault uses up the first fault that fits, or returns nil.
func (m *Memory) fault(op, name string) *Fault {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i, f := range m.faults {
		if f.Op != op || !strings.HasPrefix(name, f.Name) {
			continue
		}
		if f.Times--; f.Times == 0 {
			m.faults = slices.Delete(m.faults, i, i+1)
		}
		return f
	}
	return nil
}

// hook asks the test, if it wants to be asked.
func (m *Memory) hook(ctx context.Context, op, name string, r io.Reader) error {
	if err := context.Cause(ctx); err != nil || m.Hook == nil {
		return err
	}
	return m.Hook(ctx, op, name, r)
}

// begin does what all calls do first.
func (m *Memory) begin(ctx context.Context, op, name string, r io.Reader) (*Fault, error) {
	if op != "list" && !plug.ValidName(name) {
		return nil, fmt.Errorf("object name %q: %w", name, plug.ErrInvalid)
	}
	if err := m.hook(ctx, op, name, r); err != nil {
		return nil, err
	}
	f := m.fault(op, name)
	if f != nil && op != "put" && op != "get" {
		return f, f.strike(ctx)
	}
	return f, nil
}

// strike is the damage of the kinds that end a call.
func (f *Fault) strike(ctx context.Context) error {
	switch f.Damage {
	case Fail:
		return f.Err
	case Hang:
		<-ctx.Done()
		return context.Cause(ctx)
	}
	return nil
}

// Put is plug.Storage's.
func (m *Memory) Put(ctx context.Context, name string, r io.Reader) (plug.Object, error) {
	f, err := m.begin(ctx, "put", name, r)
	if err != nil {
		return plug.Object{}, err
	}
	if f != nil {
		r = &faultyReader{ctx: ctx, f: f, r: r}
	}
	b, err := io.ReadAll(r)
	if err == nil {
		err = m.hook(ctx, "commit", name, r)
	}
	if err != nil {
		return plug.Object{}, fmt.Errorf("store %s: %w", name, err)
	}
	o := plug.Object{Name: name, Size: int64(len(b))}
	if f != nil && f.Damage == Short {
		b = b[:min(f.After, o.Size)]
	}
	if f != nil && f.Damage == Lose {
		return o, nil
	}
	m.Set(name, b)
	return o, m.hook(ctx, "answer", name, nil)
}

// faultyReader brings the faults of a stream: after some bytes, not at once.
type faultyReader struct {
	ctx context.Context
	f   *Fault
	r   io.Reader
	at  int64
}

func (r *faultyReader) Read(p []byte) (int, error) {
	switch left := r.f.After - r.at; {
	case r.f.Damage != Fail && r.f.Damage != Hang:
	case left <= 0:
		return 0, r.f.strike(r.ctx)
	default:
		p = p[:min(int64(len(p)), left)]
	}
	n, err := r.r.Read(p)
	if i := r.f.After - r.at; r.f.Damage == Flip && i >= 0 && i < int64(n) {
		p[i] ^= 1
	}
	r.at += int64(n)
	return n, err
}

// Get is plug.Storage's.
func (m *Memory) Get(ctx context.Context, name string, offset, length int64) (io.ReadCloser, error) {
	f, err := m.begin(ctx, "get", name, nil)
	if err != nil {
		return nil, err
	}
	b, err := m.find(name)
	size := int64(len(b))
	switch {
	case err != nil:
		return nil, err
	case offset < 0 || offset > size || length > size-offset:
		return nil, fmt.Errorf("range of %d bytes at %d of %s: %w", length, offset, name, plug.ErrInvalid)
	case length < 0:
		length = size - offset
	}
	b = b[offset : offset+length]
	if f != nil && f.Damage == Short {
		b = b[:min(f.After, length)]
	}
	var r io.Reader = bytes.NewReader(b)
	if f != nil {
		r = &faultyReader{ctx: ctx, f: f, r: r}
	}
	return io.NopCloser(r), nil
}

func (m *Memory) find(name string) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	b, ok := m.objects[name]
	if !ok {
		return nil, fmt.Errorf("object %s: %w", name, plug.ErrNotExist)
	}
	return b, nil
}

// List is plug.Storage's.
func (m *Memory) List(ctx context.Context, prefix string) iter.Seq2[plug.Object, error] {
	return func(yield func(plug.Object, error) bool) {
		if _, err := m.begin(ctx, "list", prefix, nil); err != nil {
			yield(plug.Object{}, err)
			return
		}
		for name, b := range m.All() {
			if strings.HasPrefix(name, prefix) && !yield(plug.Object{Name: name, Size: int64(len(b))}, nil) {
				return
			}
		}
	}
}

// Stat is plug.Storage's.
func (m *Memory) Stat(ctx context.Context, name string) (plug.Object, error) {
	if _, err := m.begin(ctx, "stat", name, nil); err != nil {
		return plug.Object{}, err
	}
	b, err := m.find(name)
	return plug.Object{Name: name, Size: int64(len(b))}, err
}

// Delete is plug.Storage's.
func (m *Memory) Delete(ctx context.Context, name string) error {
	if _, err := m.begin(ctx, "delete", name, nil); err != nil {
		return err
	}
	m.Remove(name)
	return nil
}
