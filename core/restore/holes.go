package restore

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// holes writes a file that has holes at the source, as those compressed by pages have:
// blocks of zeros become holes again.
type holes struct{ *os.File }

// holeSize is the block size of common file systems, bytes.
const holeSize = 4 << 10

// WriteAt writes p but for its blocks of zeros. The range may hold remains of a run that
// was killed, so holes are made, not only left.
func (h holes) WriteAt(p []byte, off int64) (int, error) {
	for done := 0; done < len(p); {
		n, zero := alike(p[done:])
		var err error
		if zero {
			err = h.punch(p[done:done+n], off+int64(done))
		} else {
			_, err = h.File.WriteAt(p[done:done+n], off+int64(done))
		}
		if err != nil {
			return done, err
		}
		done += n
	}
	return len(p), nil
}

func (h holes) punch(zeros []byte, off int64) error {
	err := unix.Fallocate(int(h.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, off, int64(len(zeros)))
	if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.ENOSYS) {
		_, err = h.File.WriteAt(zeros, off)
	}
	return err
}

// alike returns how many bytes at the beginning of p are alike: whole blocks of zeros, or
// blocks that are not.
func alike(p []byte) (n int, zero bool) {
	for n < len(p) {
		block := p[n:min(n+holeSize, len(p))]
		if z := isZero(block); n == 0 {
			zero = z
		} else if z != zero {
			return n, zero
		}
		n += len(block)
	}
	return n, zero
}

func isZero(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}
