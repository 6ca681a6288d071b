package mysqld

import (
	"testing"
	"testing/fstest"
)

func TestMemoryThatTheControlGroupLeaves(t *testing.T) {
	const m = 1 << 20
	files := func(pairs ...string) fstest.MapFS {
		fs := fstest.MapFS{}
		for i := 0; i < len(pairs); i += 2 {
			fs[pairs[i]] = &fstest.MapFile{Data: []byte(pairs[i+1])}
		}
		return fs
	}
	for name, c := range map[string]struct {
		files fstest.MapFS
		want  int64 // 0: no limit
	}{
		"none": {files(), 0},
		"v2, own group, page cache not counted": {files("proc/self/cgroup", "0::/a/b\n",
			"sys/fs/cgroup/a/b/memory.max", "1073741824\n", "sys/fs/cgroup/a/b/memory.current", "943718400\n",
			"sys/fs/cgroup/a/b/memory.stat", "anon 104857600\nactive_file 419430400\ninactive_file 419430400\n"), 924 * m},
		"v2, the one above is tighter": {files("proc/self/cgroup", "0::/a/b\n",
			"sys/fs/cgroup/a/b/memory.max", "max\n", "sys/fs/cgroup/a/b/memory.current", "1\n",
			"sys/fs/cgroup/a/memory.max", "209715200\n", "sys/fs/cgroup/a/memory.current", "104857600\n"), 100 * m},
		"v2 in a container": {files("proc/self/cgroup", "0::/\n", "sys/fs/cgroup/memory.max", "209715200\n", "sys/fs/cgroup/memory.current", "104857600\n"), 100 * m},
		"v2, nothing left":  {files("proc/self/cgroup", "0::/\n", "sys/fs/cgroup/memory.max", "100\n", "sys/fs/cgroup/memory.current", "200\n"), 1},
		"v1": {files("proc/self/cgroup", "5:cpu,memory:/docker/x\n3:cpuset:/\n",
			"sys/fs/cgroup/memory/docker/x/memory.limit_in_bytes", "1073741824\n", "sys/fs/cgroup/memory/docker/x/memory.usage_in_bytes", "943718400\n",
			"sys/fs/cgroup/memory/docker/x/memory.stat", "total_active_file 419430400\ntotal_inactive_file 419430400\n"), 924 * m},
		"v1 without a limit": {files("proc/self/cgroup", "5:memory:/\n",
			"sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n", "sys/fs/cgroup/memory/memory.usage_in_bytes", "1\n"), 0},
	} {
		got, ok := groupMemory(c.files)
		if ok != (c.want != 0) || ok && got != c.want {
			t.Errorf("%s: got %d, %v, want %d", name, got, ok, c.want)
		}
	}
}
