package restore

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/remora-backup/remora/core/code"
	"github.com/remora-backup/remora/core/repo"
	"github.com/remora-backup/remora/core/staging"
	"github.com/remora-backup/remora/core/version"
)

func TestHolesStayHoles(t *testing.T) {
	f, err := os.Create(filepath.Join(t.TempDir(), "f"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	// What is there already must not shine through the holes.
	if _, err := f.Write(bytes.Repeat([]byte{7}, 1<<20)); err != nil {
		t.Fatal(err)
	}
	want := make([]byte, 1<<20)
	for at := 0; at < len(want); at += 64 << 10 {
		want[at+5000] = 1 // the second block of sixteen
	}
	if n, err := (holes{f}).WriteAt(want[:512<<10], 0); n != 512<<10 || err != nil {
		t.Fatalf("WriteAt: %d, %v", n, err)
	}
	if _, err := (holes{f}).WriteAt(want[512<<10:], 512<<10); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(f.Name())
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Error("the bytes written are not those read")
	}
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	if used := info.Sys().(*syscall.Stat_t).Blocks * 512; used > 128<<10 {
		t.Errorf("space used: got %d bytes, want 65536", used)
	}
}

func TestPlanRefusesWrongRedo(t *testing.T) {
	good := repo.LSN{Checkpoint: 8204, Start: 8192, End: 8704 + 12}
	for name, c := range map[string]struct {
		lsn  repo.LSN
		size int64
	}{
		"short":       {good, 512},
		"long":        {good, 1536},
		"wrong start": {repo.LSN{Checkpoint: 8204, Start: 8704, End: good.End}, 1024},
		"no range":    {repo.LSN{Checkpoint: 8704 + 12, Start: 8704, End: 8204}, 0},
	} {
		m := &repo.Manifest{LSN: c.lsn}
		m.Server.PageSize = 16 << 10
		if _, err := planRedo(m, version.Version{}, &repo.File{Size: c.size}, 0); code.Of(err) != code.Integrity {
			t.Errorf("%s: got %v, want code 19", name, err)
		}
	}
}

func TestPlanTree(t *testing.T) {
	file := func(kind repo.Kind, path string, size int64) repo.File {
		return repo.File{ID: 1, Kind: kind, Path: path, Size: size}
	}
	m := &repo.Manifest{Binlog: repo.Binlog{File: "b.000007", Position: 157}}
	good := []repo.File{
		file(repo.KindTablespace, "mysql.ibd", 1), file(repo.KindRedo, "#innodb_redo/x", 512), file(repo.KindBinlog, "b.000007", 157),
		file(repo.KindOther, "auto.cnf", 1), file(repo.KindOther, "#ib_16384_0.dblwr", 1), file(repo.KindTablespace, "a/b/t.ibd", 1),
		file(repo.KindDir, "empty", 0), file(repo.KindDir, "#innodb_temp", 0),
		// A schema named as a temporary tablespace elsewhere.
		file(repo.KindTablespace, "ibtmp1/t.ibd", 1), file(repo.KindOther, "ibtmp1/m.MYD", 1), file(repo.KindOther, "ibtmp1", 1), file(repo.KindTablespace, "x.dblwr", 1),
	}
	for i := range good {
		good[i].ID = repo.FileID(i + 1)
	}
	tree, err := planTree(m, good)
	if err != nil {
		t.Fatal(err)
	}
	if len(tree.files) != 7 || tree.binlog != "binlog/restored.000007" {
		t.Errorf("plan: got %d files, binlog %q", len(tree.files), tree.binlog)
	}
	for _, dir := range []string{"data", "data/a", "data/a/b", "data/empty", "data/ibtmp1", "binlog"} {
		found := false
		for _, have := range tree.dirs {
			found = found || have == dir
		}
		if !found {
			t.Errorf("directory %s is not made: %v", dir, tree.dirs)
		}
	}
	for name, files := range map[string][]repo.File{
		"no redo":         {good[0], good[2]},
		"no dictionary":   {good[1], good[2]},
		"no binlog":       good[:2],
		"two binlogs":     append([]repo.File{good[2]}, good...),
		"two redo logs":   append([]repo.File{good[1]}, good...),
		"staging":         append([]repo.File{file(repo.KindOther, staging.Name+"/state.json", 1)}, good...),
		"binlog cut":      {good[0], good[1], file(repo.KindBinlog, "b.000007", 156)},
		"binlog's name":   {good[0], good[1], file(repo.KindBinlog, "b.evil", 157)},
		"fake dictionary": {file(repo.KindRedo, "mysql.ibd", 1), good[2]},
	} {
		if _, err := planTree(m, files); code.Of(err) != code.Integrity {
			t.Errorf("%s: got %v, want code 19", name, err)
		}
	}
}

// Half of a name in "rm -r" is another directory.
func TestCommandsToTypeAreQuoted(t *testing.T) {
	s := &story{target: "/data/my dir's", backup: "B", again: func(backup, target string) string { return "again " + backup + " " + code.Word(target) }}
	s.stages()
	if text, want := s.undone().Text, `rm -r '/data/my dir'\''s/.remora-restore'`; !strings.HasSuffix(text, want) {
		t.Errorf("got %s, want %s at its end", text, want)
	}
	s.changes()
	if text, want := s.undone().Text, `again B '/data/my dir'\''s'. To remove them: rm -r '/data/my dir'\''s'`; !strings.HasSuffix(text, want) {
		t.Errorf("got %s, want %s at its end", text, want)
	}
	s.goesTo(t.TempDir())
	if err := os.WriteFile(filepath.Join(s.target, staging.Dictionary), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if text := s.undone().Text; !strings.HasPrefix(text, "All files are in ") || strings.Contains(text, "rm -r") {
		t.Errorf("after the last rename: got %s", text)
	}
	if got := code.Word("/var/lib/mysql-2"); got != "/var/lib/mysql-2" {
		t.Errorf("a plain path: got %s", got)
	}
}

func TestSettingsThatAServerNeeds(t *testing.T) {
	y, s := system{dataFilePath: defaultDataFile}, &repo.Server{PageSize: 16 << 10}
	if got := y.settings(s); len(got) > 0 {
		t.Errorf("a server with defaults needs: got %q", got)
	}
	s.PageSize, s.LowerCaseTableNames = 4096, 1
	y = system{dataFilePath: "a:1M;b:1M:autoextend", undoDir: "undo"}
	want := "innodb_page_size=4096 lower_case_table_names=1 innodb_data_file_path=a:1M;b:1M:autoextend innodb_undo_directory=undo"
	if got := strings.Join(y.settings(s), " "); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestFindSystem(t *testing.T) {
	with := func(paths ...string) *tree {
		tr := &tree{files: map[repo.FileID]piece{}}
		for i, p := range paths {
			tr.files[repo.FileID(i+1)] = piece{&repo.File{Kind: repo.KindTablespace, Path: p}, "data/" + p}
		}
		return tr
	}
	plain := with("ibdata1", "ibdata2", "undo_001", "undo_002")
	for name, c := range map[string]struct {
		s    repo.Server
		tree *tree
		want system
		ok   bool
	}{
		"default":             {repo.Server{}, plain, system{"ibdata1:12M:autoextend", ""}, true},
		"two files":           {repo.Server{DataFilePath: "ibdata1:12M;ibdata2:1G:autoextend:max:20G"}, plain, system{"ibdata1:12M;ibdata2:1G:autoextend:max:20G", ""}, true},
		"home is datadir":     {repo.Server{DataFilePath: "ibdata1:12M", DataHomeDir: "/var/lib/mysql/"}, plain, system{"ibdata1:12M", ""}, true},
		"home and undo below": {repo.Server{DataFilePath: "ibdata1:12M", DataHomeDir: "./sys/"}, with("sys/ibdata1", "u/v/undo_001"), system{"sys/ibdata1:12M", "u/v"}, true},
		"odd names":           {repo.Server{DataFilePath: "system space:12M;größe 'x':1G:autoextend"}, with("system space", "größe 'x'", "undo_001"), system{"system space:12M;größe 'x':1G:autoextend", ""}, true},
		"control character":   {s: repo.Server{DataFilePath: "a\nb:12M"}, tree: with("a\nb", "undo_001")},
		"absolute":            {s: repo.Server{DataFilePath: "/etc/passwd:12M"}, tree: plain},
		"above":               {s: repo.Server{DataFilePath: "../x:12M"}, tree: plain},
		"dots":                {s: repo.Server{DataFilePath: "..:12M"}, tree: plain},
		"raw":                 {s: repo.Server{DataFilePath: "ibdata1:12Mraw"}, tree: plain},
		"new raw":             {s: repo.Server{DataFilePath: "/dev/sda:20Gnewraw"}, tree: plain},
		"empty part":          {s: repo.Server{DataFilePath: "ibdata1:12M;"}, tree: plain},
		"not there":           {s: repo.Server{DataFilePath: "ibdata3:12M"}, tree: plain},
		"home above":          {s: repo.Server{DataFilePath: "ibdata3:12M", DataHomeDir: "../.."}, tree: plain},
		"no undo":             {tree: with("ibdata1")},
		"undo in two":         {tree: with("ibdata1", "undo_001", "x/undo_002")},
	} {
		got, err := findSystem(&c.s, c.tree)
		if (err == nil) != c.ok || got != c.want || err != nil && code.Of(err) != code.Integrity {
			t.Errorf("%s: got %+v, %v; want %+v", name, got, err, c.want)
		}
	}
}

func TestNoSpace(t *testing.T) {
	at := staging.Target{Path: t.TempDir(), Exists: true}
	if err := checkSpace(at, 1<<59, 0); code.Of(err) != code.NoSpace {
		t.Errorf("space for 2^59 bytes: got %v, want code 18", err)
	}
	if err := checkSpace(at, 1, 0); err != nil {
		t.Errorf("space for one byte: got %v", err)
	}
}

// A planted link does not lead a write out of the staging directory.
func TestPlantedLinks(t *testing.T) {
	dir, outside := t.TempDir(), filepath.Join(t.TempDir(), "victim")
	if err := os.WriteFile(outside, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	if err := os.Symlink(outside, filepath.Join(dir, "soft")); err != nil {
		t.Fatal(err)
	}
	if err := os.Link(outside, filepath.Join(dir, "hard")); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(filepath.Join(dir, "fifo"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"soft", "hard", "fifo"} {
		_, err := createFile(root, piece{&repo.File{Size: 1}, name}, staging.Owner{})
		if code.Of(err) != code.Target {
			t.Errorf("create over a %s link: got %v, want code 21", name, err)
		}
	}
	if b, _ := os.ReadFile(outside); string(b) != "precious" {
		t.Errorf("the file outside: got %q", b)
	}
}
