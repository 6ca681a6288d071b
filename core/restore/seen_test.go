package restore

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/remora-backup/remora/core/code"
	"github.com/remora-backup/remora/core/mysqld"
	"github.com/remora-backup/remora/core/repo"
)

// What the recovered server says must be what the backup says.
func TestSeen(t *testing.T) {
	const uuid = "3e11fa47-71ca-11e1-9e33-c80aa9429562"
	tree := &tree{files: map[repo.FileID]piece{}}
	for i, f := range []repo.File{
		{Kind: repo.KindTablespace, Path: "ibdata1"},
		{Kind: repo.KindTablespace, Path: "mysql.ibd", SpaceID: 0xFFFFFFFE},
		{Kind: repo.KindTablespace, Path: "undo_001", SpaceID: 0xFFFFFFEF},
		{Kind: repo.KindTablespace, Path: "d/t.ibd", SpaceID: 7},
		{Kind: repo.KindOther, Path: "d/m.MYD"},
	} {
		f.ID = repo.FileID(i + 1)
		tree.files[f.ID] = piece{&f, f.Path}
	}
	whole := []mysqld.Tablespace{
		{Space: 0xFFFFFFFE, Name: "mysql", State: "normal", Size: 1}, {Space: 7, Name: "d/t", State: "normal", Size: 1},
		{Space: 8, Name: "sys/sys_config", State: "normal", Size: 1}, {Space: 0xFFFFFFEE, Name: "innodb_undo_001", State: "active", Size: 1},
	}
	with := func(s mysqld.Tablespace) []mysqld.Tablespace {
		all := slices.Clone(whole)
		all[1] = s
		return all
	}
	for name, c := range map[string]struct {
		gtids  string
		spaces []mysqld.Tablespace
		fault  string // in the error; "" if there is none
	}{
		"the same":          {uuid + ":1-5:7", whole, ""},
		"the same, spelled": {strings.ToUpper(uuid) + ":1-3:4-5, " + uuid + ":7", whole, ""},
		"one less":          {uuid + ":1-5", whole, "gtid_executed"},
		"one more":          {uuid + ":1-7", whole, "gtid_executed"},
		"nothing executed":  {"", whole, "gtid_executed"},
		"unknown":           {uuid + ":1-5:7", with(mysqld.Tablespace{Space: 9, State: "normal", Size: 1}), "d/t.ibd (space 7) is not known"},
		"discarded":         {uuid + ":1-5:7", with(mysqld.Tablespace{Space: 7, State: "discarded", Size: 1}), `d/t.ibd (space 7) is "discarded"`},
		"corrupted":         {uuid + ":1-5:7", with(mysqld.Tablespace{Space: 7, State: "corrupted", Size: 1}), `d/t.ibd (space 7) is "corrupted"`},
		"without a file":    {uuid + ":1-5:7", with(mysqld.Tablespace{Space: 7, State: "normal"}), "d/t.ibd (space 7) has no file"},
		"no list":           {uuid + ":1-5:7", nil, "not known"},
	} {
		err := seen(&repo.Manifest{GTIDExecuted: uuid + ":1-5:7"}, tree, mysqld.Answers{GTIDExecuted: c.gtids, Tablespaces: c.spaces})
		if c.fault == "" && err != nil || c.fault != "" && (code.Of(err) != code.Integrity || !strings.Contains(err.Error(), c.fault)) {
			t.Errorf("%s: got %v, want %q", name, err, c.fault)
		}
	}
	for i := range 9 {
		f := &repo.File{ID: repo.FileID(100 + i), Kind: repo.KindTablespace, Path: fmt.Sprintf("d/x%d.ibd", i), SpaceID: uint32(100 + i)}
		tree.files[f.ID] = piece{f, f.Path}
	}
	if err := seen(&repo.Manifest{}, tree, mysqld.Answers{Tablespaces: whole}); err == nil || !strings.Contains(err.Error(), "and 4 more") {
		t.Errorf("nine of them: got %v", err)
	}
}
