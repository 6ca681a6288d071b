package repo

import (
	"testing"

	"lukechampine.com/blake3"
)

func TestDigestIsBlake3(t *testing.T) {
	data := pages(2 * MaxExtent)
	for _, n := range []int{0, 1, 1024, lanes - 1, lanes, lanes + 1, 2 * lanes, 3 * lanes, 4*lanes - 1, 16 * lanes, MaxExtent - 1024, MaxExtent, 2 * MaxExtent} {
		if got, want := digest(data[:n]), blake3.Sum256(data[:n]); got != want {
			t.Errorf("digest of %d bytes: got %x, want %x", n, got, want)
		}
	}
}

func BenchmarkDigest(b *testing.B) {
	data := pages(MaxExtent)
	b.SetBytes(MaxExtent)
	for b.Loop() {
		digest(data)
	}
}
