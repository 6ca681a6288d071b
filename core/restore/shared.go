package restore

import "path/filepath"

// BufferPool returns how many bytes of buffer pool a recovery of that many bytes of data
// should get, by the memory that is free now.
func BufferPool(data int64) int64 { return bufferPool(freeMemory(), data) }

// InUse returns the process that runs on a data directory, 0 if there is none and -1 if it
// is not known which.
func InUse(dir string) int { return lockedBy(filepath.Join(dir, "ibdata1")) }
