package durable

import (
	"strings"
	"testing"
)

// right is a put as it should be, with another process's calls between.
const right = `7 mkdirat(5</r>, "b", 0700) = 0
7 fsync(5</r>) = 0
7 openat(6</r/b>, "tmp+1", O_WRONLY|O_CREAT|O_EXCL|O_CLOEXEC, 0600) = 8</r/b/tmp+1>
7 write(8</r/b/tmp+1>, "a, \"b\" (c"..., 10) = 10
7 fsync(8</r/b/tmp+1> <unfinished ...>
9 write(1<pipe:[17]>, "promised", 8) = 8
7 <... fsync resumed>) = 0
7 renameat(6</r/b>, "tmp+1", 6</r/b>, "x") = 0
7 fsync(6</r/b>) = 0
7 write(1</dev/null>, "promised b/x\n", 13) = 13
`

func TestLaw(t *testing.T) {
	law := Law{Root: "/r", Crown: func(p string) bool { return p == "/r/crown" }, Passing: func(p string) bool { return strings.Contains(p, "+") }}
	without := func(line string) string {
		var kept []string
		for l := range strings.Lines(right) {
			if !strings.HasPrefix(l, line) {
				kept = append(kept, l)
			}
		}
		return strings.Join(kept, "")
	}
	swap := func(a, b string) string {
		return strings.NewReplacer(a, b, b, a).Replace(right)
	}
	const syncData, syncName, rename = `7 fsync(8</r/b/tmp+1> <unfinished ...>`, `7 fsync(6</r/b>) = 0`, `7 renameat(6</r/b>, "tmp+1", 6</r/b>, "x") = 0`
	for name, c := range map[string]struct{ trace, want string }{
		"right":                      {right, ""},
		"data not synced":            {strings.Replace(without(syncData), "7 <... fsync resumed>) = 0\n", "", 1), "/r/b/x gets its name, and its data"},
		"sync failed":                {strings.Replace(right, "resumed>) = 0", "resumed>) = -1 EIO (Input/output error)", 1), "/r/b/x gets its name, and its data"},
		"written after the sync":     {strings.Replace(right, "9 write(1<pipe:[17]>", "9 write(8</r/b/tmp+1>", 1), "/r/b/x gets its name, and its data"},
		"name not synced":            {without(syncName), "the name of /r/b/x"},
		"name synced too early":      {swap(syncName, rename), "the name of /r/b/x"},
		"directory not synced":       {without(`7 fsync(5</r>)`), "the name of /r/b, made"},
		"promised before":            {"7 write(1</dev/null>, \"promised y\\n\", 11) = 11\n" + right, ""},
		"left at the end":            {right + "7 openat(5</r>, \"y\", O_WRONLY|O_CREAT) = 9</r/y>\n", "the end, and the name of /r/y"},
		"passing at the end":         {right + "7 openat(5</r>, \"y+\", O_WRONLY|O_CREAT) = 9</r/y+>\n", ""},
		"crown too early":            {without(syncName) + "7 rename(\"/r/b/x\", \"/r/b/z\") = 0\n7 rename(\"/r/t+\", \"/r/crown\") = 0\n7 fsync(6</r/b>) = 0\n7 fsync(5</r>) = 0\n", "/r/crown, and the name of /r/b/z"},
		"crown":                      {right + "7 rename(\"/r/t+\", \"/r/crown\") = 0\n7 fsync(5</r>) = 0\n", ""},
		"elsewhere":                  {right + "7 rename(\"/s/a\", \"/s/b\") = 0\n7 mkdir(\"/s/c\", 0700) = 0\n", ""},
		"a directory gets a name":    {right + "7 rename(\"/r/b\", \"/r/c\") = 0\n", "the end, and the name of /r/c"},
		"what failed does not count": {right + "7 mkdirat(5</r>, \"b\", 0700) = -1 EEXIST (File exists)\n", ""},
	} {
		broken, promises, err := law.Broken(strings.NewReader(c.trace))
		got := strings.Join(broken, "; ")
		if err != nil || promises == 0 || (c.want == "") != (got == "") || !strings.Contains(got, c.want) {
			t.Errorf("%s: got %q, %d promises, %v; want %q", name, got, promises, err, c.want)
		}
	}
}
