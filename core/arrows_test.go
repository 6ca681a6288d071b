package core

import (
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/remora-backup/remora/"

// arrows says which packages of this module a package may import. A name ending in "/..."
// stands for all below it. A package that is not in the table fails the test: put it
// where it belongs, then write its line.
var arrows = map[string][]string{
	"core":               {},
	"core/code":          {},
	"core/version":       {},
	"core/nearest":       {},
	"core/needs":         {}, // for tests
	"core/durable":       {}, // for tests
	"core/syncpoint":     {},
	"core/syncpoint/...": {"core/syncpoint", "core/nearest"},

	"core/innodb/page":       {},
	"core/innodb/redo":       {},
	"core/innodb/tablespace": {"core/innodb/page"},
	"core/innodb/undo":       {"core/innodb/page"},
	"core/binlog":            {},
	"core/sdi":               {},

	"core/plug":          {},
	"core/plug/plugtest": {"core/plug"},
	"core/run":           {"core/code"},
	"core/run/runtest":   {"core/run"}, // for tests
	"core/state":         {"core/code", "core/run"},
	"core/control":       {},
	"core/config":        {"core/code", "core/nearest", "core/schedule"},
	"core/schedule":      {},
	"core/doctor": {
		"core/code", "core/config", "core/datadir", "core/mysqld", "core/plug", "core/repo", "core/schedule", "core/server", "core/version",
	},
	"core/repo":   {"core/code", "core/plug", "core/syncpoint"},
	"core/server": {"core/code", "core/version"},
	"core/mysqld": {"core/binlog", "core/code", "core/innodb/...", "core/version"},

	"core/backup": {
		"core/binlog", "core/code", "core/copier", "core/datadir", "core/innodb/...", "core/keyring", "core/plug", "core/redolog", "core/repo",
		"core/run", "core/sdi", "core/server", "core/serverfile", "core/syncpoint",
	},
	"core/serverfile": {"core/code"},
	"core/inert":      {"core/code", "core/innodb/undo"},
	"core/adopt":      {"core/code", "core/inert", "core/server", "core/staging"},
	"core/operate": {
		"core/code", "core/control", "core/plug", "core/repo", "core/run", "core/state", "core/syncpoint", "core/syncpoint/debug",
	},
	"core/client":     {"core/api", "core/code", "core/control", "core/run", "core/state"},
	"core/serve":      {"core/api", "core/code", "core/operate", "core/plug", "core/repo", "core/run", "core/schedule", "core/state"},
	"core/api":        {"core/code", "core/repo", "core/run", "core/state"},
	"core/metrics":    {"core/api", "core/plug", "core/repo", "core/run", "core/state"},
	"core/keyring":    {"core/binlog", "core/code", "core/innodb/redo"},
	"core/staging":    {"core/code", "core/syncpoint"},
	"core/copier":     {"core/code", "core/datadir", "core/innodb/...", "core/repo", "core/serverfile", "core/syncpoint"},
	"core/redolog":    {"core/code", "core/innodb/redo", "core/serverfile", "core/syncpoint"},
	"core/datadir":    {"core/code", "core/innodb/...", "core/sdi", "core/server", "core/serverfile"},
	"core/redomake":   {"core/code", "core/innodb/redo", "core/version"},
	"core/xtrabackup": {},
	"core/prepare": {
		"core/code", "core/inert", "core/innodb/...", "core/keyring", "core/mysqld", "core/redomake", "core/repo", "core/run", "core/staging", "core/syncpoint", "core/version", "core/xtrabackup",
	},
	"core/restore": {
		"core/binlog", "core/code", "core/inert", "core/innodb/...", "core/mysqld", "core/plug", "core/redomake", "core/repo", "core/run", "core/staging", "core/syncpoint", "core/version",
	},

	"plugins/...": {"plugins/...", "core/code", "core/nearest", "core/plug", "core/server", "core/syncpoint", "core/version"},
	"plugins/kit": {"plugins/...", "core/plug", "core/plug/plugtest"},
	"hooks":       {"core/code", "core/nearest", "core/plug", "core/run"},
	"hooks/...":   {"hooks/...", "core/code", "core/nearest", "core/plug", "core/run"},

	"cmd":        {"core/...", "plugins/...", "hooks", "hooks/...", "cmd/..."},
	"cmd/remora": {"cmd", "cmd/..."},

	// Nothing of the program imports what follows.
	"core/mysqld/lab":        {"core/mysqld"},
	"core/mysqld/mysqldtest": {"core/mysqld/lab", "core/needs"},
	"examples/...":           {"core/...", "plugins/sdk", "examples/...", "hooks", "plugins/..."},
	"testscripts/outside":    {},
	"testscripts/stop":       {},
	"testscripts":            {"cmd", "cmd/...", "core/...", "examples/...", "plugins/...", "hooks/..."},
}

// TestArrows holds the table against what the packages import, tests left out.
func TestArrows(t *testing.T) {
	for _, p := range packages(t) {
		from := p.name()
		allowed, ok := lookup(from)
		if !ok {
			t.Errorf("package %s is not in the table of arrows", from)
			continue
		}
		for _, to := range p.Imports {
			to, own := strings.CutPrefix(to, module)
			if own && !slices.ContainsFunc(allowed, func(pattern string) bool { return matches(pattern, to) }) {
				t.Errorf("package %s must not import %s", from, to)
			}
		}
	}
}

// TestMinimalCore keeps what is no business of the core out of it.
func TestMinimalCore(t *testing.T) {
	foreign := map[string]string{
		"github.com/hashicorp/go-plugin":      "plugins/",
		"google.golang.org/grpc":              "plugins/",
		"github.com/yuin/gopher-lua":          "hooks",
		"github.com/spf13/cobra":              "cmd",
		"github.com/prometheus/client_golang": "core/metrics",
		"github.com/vbauerster/mpb/v8":        "cmd",
	}
	for _, p := range packages(t) {
		from := p.name()
		for _, to := range p.Imports {
			for lib, home := range foreign {
				if (to == lib || strings.HasPrefix(to, lib+"/")) && !strings.HasPrefix(from, home) {
					t.Errorf("package %s must not import %s: only %s may", from, to, home)
				}
			}
		}
	}
}

func lookup(pkg string) ([]string, bool) {
	if allowed, ok := arrows[pkg]; ok {
		return allowed, true
	}
	for at := len(pkg); at > 0; at = strings.LastIndexByte(pkg[:at], '/') {
		if allowed, ok := arrows[pkg[:at]+"/..."]; ok {
			return allowed, true
		}
	}
	return nil, false
}

func matches(pattern, pkg string) bool {
	if below, ok := strings.CutSuffix(pattern, "/..."); ok {
		return strings.HasPrefix(pkg, below+"/")
	}
	return pattern == pkg
}

// listed is a package as go list tells of it.
type listed struct {
	ImportPath, Dir, Export string
	Imports, GoFiles        []string
}

// name is what tables call the package.
func (p listed) name() string { return strings.TrimPrefix(p.ImportPath, module) }

func packages(t *testing.T) []listed {
	t.Helper()
	return list(t, "-json=ImportPath,Imports")
}

// list asks go for this module's packages. The answer depends on files that this process does
// not read: it looks at all of them, else go test would take its own old answer for today's.
func list(t *testing.T, flags ...string) []listed {
	t.Helper()
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() && path != ".." && strings.HasPrefix(d.Name(), ".") {
			return fs.SkipDir
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	var stderr strings.Builder
	cmd := exec.CommandContext(t.Context(), "go", slices.Concat([]string{"list"}, flags, []string{module + "..."})...)
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, &stderr)
	}
	var all []listed
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p listed
		err := d.Decode(&p)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatalf("decode go list: %v", err)
		}
		all = append(all, p)
	}
	if len(all) < 10 {
		t.Fatalf("go list found %d packages: the table was held against nothing", len(all))
	}
	return all
}
