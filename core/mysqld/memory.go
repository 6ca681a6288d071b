package mysqld

import (
	"bufio"
	"bytes"
	"os"
	"strconv"
	"strings"
)

const (
	minPool     = 128 << 20
	maxPool     = 16 << 30
	unknownPool = 256 << 20
)

// BufferPool returns how many bytes of buffer pool a recovery of that many bytes of data
// should get, by the memory that is free now.
func BufferPool(data int64) int64 { return bufferPool(freeMemory(), data) }

// bufferPool returns how many bytes the recovering server should take: half of what is
// free, as recovery is faster with fewer batches, and not more than the data and the redo
// could fill.
func bufferPool(free, data int64) int64 {
	if free <= 0 {
		return unknownPool
	}
	return max(minPool, min(free/2, maxPool, data+data/4))
}

// freeMemory returns the bytes that can be had without swapping, of the machine or of our
// control group, whichever is less; 0 if unknown.
func freeMemory() int64 {
	free := int64(0)
	if b, err := os.ReadFile("/proc/meminfo"); err == nil {
		free = meminfo(b, "MemAvailable")
	}
	if group, ok := groupMemory(os.DirFS("/")); ok && (free == 0 || group < free) {
		free = group
	}
	return free
}

// meminfo returns one value of /proc/meminfo, in bytes.
func meminfo(b []byte, key string) int64 {
	for lines := bufio.NewScanner(bytes.NewReader(b)); lines.Scan(); {
		name, value, _ := strings.Cut(lines.Text(), ":")
		if f := strings.Fields(value); name == key && len(f) > 0 {
			n, _ := strconv.ParseInt(f[0], 10, 64)
			return n << 10
		}
	}
	return 0
}

// FreeMemory returns the bytes that can be had without swapping, of the machine or of our control
// group, whichever is less; 0 if unknown.
func FreeMemory() int64 { return freeMemory() }
