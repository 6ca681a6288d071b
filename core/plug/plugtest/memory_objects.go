package plugtest

import (
	"iter"
	"maps"
	"slices"
)

// What follows reaches the objects of a Memory behind the storage's back: no fault is met.

// All yields the objects as they are now, ordered by name.
func (m *Memory) All() iter.Seq2[string, []byte] {
	now := m.Clone().objects
	return func(yield func(string, []byte) bool) {
		for _, name := range slices.Sorted(maps.Keys(now)) {
			if !yield(name, now[name]) {
				return
			}
		}
	}
}

// Bytes returns those of an object, not a copy; nil if there is none of that name.
func (m *Memory) Bytes(name string) []byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.objects[name]
}

// Set stores an object, and keeps b.
func (m *Memory) Set(name string, b []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.objects == nil {
		m.objects = map[string][]byte{}
	}
	m.objects[name] = b
}

// Remove takes an object away.
func (m *Memory) Remove(name string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.objects, name)
}

// Clone returns a storage with the same objects and no faults; their bytes are shared.
func (m *Memory) Clone() *Memory {
	m.mu.Lock()
	defer m.mu.Unlock()
	return &Memory{objects: maps.Clone(m.objects)}
}
