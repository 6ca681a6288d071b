// Package plug is what a plugin must do: keep objects, hold a lock, pass on an event.
//
// The interfaces are implemented twice: by the plugin itself, and by the host's client
// that speaks to it over the wire. Package plugtest proves that an implementation
// keeps the promises written here. Every method honours its context.
package plug

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"iter"
)

// Errors a caller acts on. They keep their identity across the wire.
var (
	// ErrNotExist: no object has that name.
	ErrNotExist = fs.ErrNotExist
	// ErrNoSpace: the storage cannot take more bytes.
	ErrNoSpace = errors.New("no space left")
	// ErrPermission: the storage or the server refused by its access rules.
	ErrPermission = fs.ErrPermission
	// ErrInvalid: a name or setting that can never work; trying again is useless.
	ErrInvalid = errors.New("invalid argument")
	// ErrLockTimeout: the lock was not granted within the wait.
	ErrLockTimeout = errors.New("lock wait timed out")
	// ErrLockLost: the lock was held and is not any more.
	ErrLockLost = errors.New("lock lost")
)

// Object is what a storage knows of one stored object. Size is in bytes.
type Object struct {
	Name string
	Size int64
}

// Storage keeps named, immutable streams of bytes.
//
// Names are relative, '/'-separated, of [A-Za-z0-9._-] segments, at most 512 bytes;
// anything else is ErrInvalid. Methods may be called concurrently.
type Storage interface {
	// Put stores all bytes of r under name. The object appears whole, durable and at
	// once when Put returns nil; when Put or r fails nothing appears, and an object that
	// had the name before keeps its old bytes. An existing object is replaced.
	Put(ctx context.Context, name string, r io.Reader) (Object, error)

	// Get returns length bytes from offset; a negative length means to the end. A range
	// that does not lie within the object is an error, never a short read: the reader
	// gives io.EOF only after all bytes arrived and were confirmed. The caller closes it.
	Get(ctx context.Context, name string, offset, length int64) (io.ReadCloser, error)

	// List yields the objects whose names begin with prefix, in byte order of names. An
	// object that was there before List and still is afterwards is yielded, one that was
	// never whole is not; what is put or deleted meanwhile may be seen or not. Part of a
	// storage that may not be read is yielded as what its names begin with: a Name that
	// ends in '/'; whoever asks for an object there gets ErrPermission. The sequence ends
	// after the first error.
	List(ctx context.Context, prefix string) iter.Seq2[Object, error]

	// Stat returns the object's size, or ErrNotExist.
	Stat(ctx context.Context, name string) (Object, error)

	// Delete removes the object; one that does not exist is no error.
	Delete(ctx context.Context, name string) error
}

// FreeSpace is an optional ability of a Storage.
type FreeSpace interface {
	// Free returns how many bytes can still be stored, or a negative number if unknown.
	Free(ctx context.Context) (int64, error)
}

// ValidName reports whether name can be an object's name.
func ValidName(name string) bool {
	if name == "" || len(name) > 512 {
		return false
	}
	start := 0
	for i := 0; i <= len(name); i++ {
		if i == len(name) || name[i] == '/' {
			seg := name[start:i]
			if seg == "" || seg == "." || seg == ".." {
				return false
			}
			start = i + 1
			continue
		}
		c := name[i]
		if !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '.' || c == '_' || c == '-') {
			return false
		}
	}
	return true
}
