package repo

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"iter"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/remora-backup/remora/core/plug"
)

// memory is a storage in memory. fault, if not nil, is asked before each call and, for a
// put, after its bytes were taken (op "commit") and after the object appeared (op "answer").
type memory struct {
	mu      sync.Mutex
	objects map[string][]byte
	fault   func(ctx context.Context, op, name string, r io.Reader) error
}

func newMemory() *memory { return &memory{objects: map[string][]byte{}} }

func (m *memory) at(ctx context.Context, op, name string, r io.Reader) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if !plug.ValidName(strings.TrimSuffix(name, "/")) {
		return fmt.Errorf("%q: %w", name, plug.ErrInvalid)
	}
	if m.fault == nil {
		return nil
	}
	return m.fault(ctx, op, name, r)
}

func (m *memory) Put(ctx context.Context, name string, r io.Reader) (plug.Object, error) {
	if err := m.at(ctx, "put", name, r); err != nil {
		return plug.Object{}, err
	}
	b, err := io.ReadAll(r)
	if err == nil {
		err = m.at(ctx, "commit", name, r)
	}
	if err != nil {
		return plug.Object{}, err
	}
	m.mu.Lock()
	m.objects[name] = b
	m.mu.Unlock()
	return plug.Object{Name: name, Size: int64(len(b))}, m.at(ctx, "answer", name, nil)
}

func (m *memory) Get(ctx context.Context, name string, offset, length int64) (io.ReadCloser, error) {
	if err := m.at(ctx, "get", name, nil); err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	b, ok := m.objects[name]
	if !ok {
		return nil, fmt.Errorf("%s: %w", name, plug.ErrNotExist)
	}
	if length < 0 {
		length = int64(len(b)) - offset
	}
	if offset < 0 || length < 0 || offset+length > int64(len(b)) {
		return nil, fmt.Errorf("%s: range %d+%d of %d: %w", name, offset, length, len(b), plug.ErrInvalid)
	}
	return io.NopCloser(bytes.NewReader(b[offset : offset+length])), nil
}

func (m *memory) List(ctx context.Context, prefix string) iter.Seq2[plug.Object, error] {
	return func(yield func(plug.Object, error) bool) {
		if err := m.at(ctx, "list", prefix, nil); err != nil {
			yield(plug.Object{}, err)
			return
		}
		for name, b := range m.all() {
			if strings.HasPrefix(name, prefix) && !yield(plug.Object{Name: name, Size: int64(len(b))}, nil) {
				return
			}
		}
	}
}

// all yields the objects as they are now, ordered by name.
func (m *memory) all() iter.Seq2[string, []byte] {
	m.mu.Lock()
	now := maps.Clone(m.objects)
	m.mu.Unlock()
	return func(yield func(string, []byte) bool) {
		for _, name := range slices.Sorted(maps.Keys(now)) {
			if !yield(name, now[name]) {
				return
			}
		}
	}
}

func (m *memory) Stat(ctx context.Context, name string) (plug.Object, error) {
	if err := m.at(ctx, "stat", name, nil); err != nil {
		return plug.Object{}, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	b, ok := m.objects[name]
	if !ok {
		return plug.Object{}, fmt.Errorf("%s: %w", name, plug.ErrNotExist)
	}
	return plug.Object{Name: name, Size: int64(len(b))}, nil
}

func (m *memory) Delete(ctx context.Context, name string) error {
	if err := m.at(ctx, "delete", name, nil); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.objects, name)
	return nil
}

// clone returns a storage with the same objects and no faults.
func (m *memory) clone() *memory {
	m.mu.Lock()
	defer m.mu.Unlock()
	return &memory{objects: maps.Clone(m.objects)}
}
