package hooks

import (
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"
)

// limitMemory lets this process take at most so many bytes more than it has now. Beyond,
// the kernel refuses and the Go runtime ends the process; see outOfMemory.
func limitMemory(bytes uint64) error {
	statm, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return fmt.Errorf("read own memory size: %w", err)
	}
	fields := strings.Fields(string(statm)) // size resident shared text lib data dt, in pages
	var pages uint64
	if len(fields) < 6 {
		return errors.New("read own memory size: /proc/self/statm has too few fields")
	}
	if _, err := fmt.Sscan(fields[5], &pages); err != nil {
		return fmt.Errorf("read own memory size: %w", err)
	}
	limit := pages*uint64(os.Getpagesize()) + bytes
	if err := syscall.Setrlimit(syscall.RLIMIT_DATA, &syscall.Rlimit{Cur: limit, Max: limit}); err != nil {
		return fmt.Errorf("limit own memory: %w", err)
	}
	if err := syscall.Setrlimit(syscall.RLIMIT_CORE, &syscall.Rlimit{}); err != nil {
		return fmt.Errorf("limit own core dumps: %w", err)
	}
	debug.SetMemoryLimit(int64(bytes / 4 * 3)) // collect harder before it is too late
	return nil
}

// outOfMemory recognises on stderr how a Go process ends when the kernel gives it no
// more memory: often with the plain words, but threads, the garbage collector and the
// race detector find out in their own ways. A script has no other way to such an end.
func outOfMemory(stderr string) bool {
	return slices.ContainsFunc([]string{
		"out of memory", "cannot allocate memory", "pthread_create failed", "failed to create new OS thread",
		"SIGSEGV", "ThreadSanitizer failed to allocate",
	}, func(sign string) bool { return strings.Contains(stderr, sign) })
}
