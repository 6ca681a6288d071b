package mysqld

import "testing"

func TestBufferPool(t *testing.T) {
	const m, g = 1 << 20, 1 << 30
	for _, c := range []struct{ free, data, want int64 }{
		{0, 100 * g, 256 * m}, {100 * m, 100 * g, 128 * m}, {8 * g, 100 * g, 4 * g}, {8 * g, m, 128 * m}, {500 * g, 1000 * g, 16 * g},
	} {
		if got := bufferPool(c.free, c.data); got != c.want {
			t.Errorf("buffer pool for %d free and %d of data: got %d, want %d", c.free, c.data, got, c.want)
		}
	}
	if n := meminfo([]byte("MemTotal: 100 kB\nMemAvailable:     42 kB\n"), "MemAvailable"); n != 42<<10 {
		t.Errorf("MemAvailable: got %d", n)
	}
	if freeMemory() <= 0 {
		t.Error("this machine's free memory is not known")
	}
}
