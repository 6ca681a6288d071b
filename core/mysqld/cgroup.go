package mysqld

import (
	"io/fs"
	"math"
	"path"
	"strconv"
	"strings"
)

// groupMemory returns how many bytes our control group leaves: the least of what it and those above it allow, less
// what they use and cannot give back. Page cache can be had back; after gigabytes were fetched it is most of what is
// used. ok is false without a limit. Source: the kernel's admin-guide, cgroup-v2 and cgroup-v1/memory.
func groupMemory(root fs.FS) (free int64, ok bool) {
	b, err := fs.ReadFile(root, "proc/self/cgroup")
	if err != nil {
		return 0, false
	}
	free = math.MaxInt64
	for line := range strings.Lines(string(b)) {
		f := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(f) != 3 {
			continue
		}
		mount, left := "sys/fs/cgroup", unifiedLeft
		if f[0] != "0" || f[1] != "" {
			if !strings.Contains(","+f[1]+",", ",memory,") {
				continue
			}
			mount, left = "sys/fs/cgroup/memory", legacyLeft
		}
		for group := path.Clean("/" + f[2]); ; group = path.Dir(group) {
			// In a container a group's path may be that on the host: what is not there says nothing.
			if n, limited := left(root, path.Join(mount, group)); limited {
				free, ok = min(free, n), true
			}
			if group == "/" {
				break
			}
		}
	}
	return max(free, 1), ok
}

// unifiedLeft is what a group of version 2 leaves.
func unifiedLeft(root fs.FS, dir string) (int64, bool) {
	limit, ok1 := number(root, path.Join(dir, "memory.max")) // "max" is none
	used, ok2 := number(root, path.Join(dir, "memory.current"))
	if !ok1 || !ok2 {
		return 0, false
	}
	stat := stats(root, path.Join(dir, "memory.stat"))
	return limit - max(used-stat["active_file"]-stat["inactive_file"]-stat["slab_reclaimable"], 0), true
}

// legacyLeft is what a group of version 1 leaves.
func legacyLeft(root fs.FS, dir string) (int64, bool) {
	limit, ok1 := number(root, path.Join(dir, "memory.limit_in_bytes"))
	used, ok2 := number(root, path.Join(dir, "memory.usage_in_bytes"))
	if !ok1 || !ok2 || limit >= noLimit {
		return 0, false
	}
	stat := stats(root, path.Join(dir, "memory.stat"))
	return limit - max(used-stat["total_active_file"]-stat["total_inactive_file"], 0), true
}

// noLimit is about what version 1 says where there is none: the biggest number of whole pages.
const noLimit = math.MaxInt64 - 1<<20

func number(root fs.FS, name string) (int64, bool) {
	b, err := fs.ReadFile(root, name)
	if err != nil {
		return 0, false
	}
	n, err := strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64)
	return n, err == nil
}

// stats reads lines of a name and a number.
func stats(root fs.FS, name string) map[string]int64 {
	b, _ := fs.ReadFile(root, name) // without it nothing is known to be reclaimable
	all := map[string]int64{}
	for line := range strings.Lines(string(b)) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		if n, err := strconv.ParseInt(value, 10, 64); err == nil {
			all[key] = n
		}
	}
	return all
}
