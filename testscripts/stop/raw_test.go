package stop

import (
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/remora-backup/remora/core/innodb/redo"
	"github.com/remora-backup/remora/core/repo"
	"github.com/remora-backup/remora/core/xtrabackup"
)

// hookName is the script of runs whose hooks' process dies.
const hookName = "told.lua"

const hookScript = `function before_phase(e) return true end
function on_phase(e) log.info("told " .. e.phase .. ".") end
function on_end(e) log.info("told the end, " .. e.state .. ".") end
`

// args are the operation's command line.
func (o one) args(h home) []string {
	target := h.path("new")
	switch {
	case o.operation == "restore":
		return []string{"restore", "--target", target}
	case o.operation == "export":
		return []string{"export", "latest", target}
	case o.prepares():
		return []string{"prepare", target}
	}
	return []string{o.operation}
}

// lay puts what the operation reads into the home.
func lay(o one, h home) error {
	if o.fault == killHook {
		return os.WriteFile(h.path(hookName), []byte(hookScript), 0o600)
	}
	if !o.prepares() {
		return nil
	}
	from, err := original(o)
	if err != nil {
		return err
	}
	return copyTree(from, h.path("new"))
}

// original is the directory that is prepared; it is never changed.
func original(o one) (string, error) {
	if o.operation == foreign {
		return world.foreign()
	}
	return world.raw()
}

func copyTree(from, to string) error {
	if out, err := exec.Command("cp", "-a", "--reflink=auto", from, to).CombinedOutput(); err != nil {
		return fmt.Errorf("copy %s: %w: %s", from, err, out)
	}
	return nil
}

// makeRaw exports the good backup.
func makeRaw() (string, error) {
	repo, err := world.good()
	if err != nil {
		return "", err
	}
	h, err := newHome(filepath.Join(world.dir, "export"), "/nowhere", repo, "")
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
	defer cancel()
	a, err := begin(h, "export", "latest", h.path("raw")).wait(ctx)
	if err == nil && a.code != 0 {
		err = fmt.Errorf("export the good backup: exit code %d\n%s", a.code, a)
	}
	return h.path("raw"), err
}

// makeForeign describes the export as XtraBackup does with --lock-ddl=REDUCED, when a table
// was renamed after it had been copied.
func makeForeign() (string, error) {
	raw, err := world.raw()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(world.dir, "export/foreign")
	if err := copyTree(raw, dir); err != nil {
		return "", err
	}
	e, err := repo.ReadExport(dir)
	if err != nil {
		return "", err
	}
	at := func(name string) string { return filepath.Join(dir, name) }
	log, err := os.ReadFile(at("#innodb_redo/#ib_redo0"))
	if err != nil {
		return "", err
	}
	header, err := redo.ParseFileHeader(log)
	if err != nil {
		return "", err
	}
	table, err := os.ReadFile(at("shop/orders.ibd"))
	if err != nil {
		return "", err
	}
	space := binary.BigEndian.Uint32(table[34:]) // FIL_PAGE_SPACE_ID
	header.Creator = xtrabackup.CreatorPrefix + " 261120 22:15:00"
	m := &e.Manifest
	end := redo.HeaderSize + int(redo.LSN(m.LSN.End).BlockStart()-header.Start) + redo.BlockSize
	for name, text := range map[string]string{
		xtrabackup.LogName: string(append(header.Append(nil), log[redo.HeaderSize:end]...)),
		xtrabackup.CheckpointsName: fmt.Sprintf("backup_type = full-backuped\nfrom_lsn = 0\nto_lsn = %d\nlast_lsn = %d\nflushed_lsn = 0\n",
			m.LSN.Checkpoint, m.LSN.End),
		xtrabackup.InfoName: fmt.Sprintf("tool_name = xtrabackup\nserver_version = %s\nserver_flavor = MySQL\nincremental = N\nformat = file\ncompressed = N\nencrypted = N\nlock_ddl_type = REDUCED\n",
			m.Server.Version),
		xtrabackup.BinlogInfoName: fmt.Sprintf("%s\t%d\t%s\n", m.Binlog.File, m.Binlog.Position, m.GTIDExecuted),
		xtrabackup.SettingsName: fmt.Sprintf("[mysqld]\ninnodb_data_file_path=ibdata1:12M:autoextend\ninnodb_page_size=%d\ninnodb_undo_directory=./\nserver_uuid=%s\n",
			m.Server.PageSize, m.Server.UUID),
		fmt.Sprintf("shop/%d.ren", space): "1\n./shop/orders.ibd",
	} {
		if err := os.WriteFile(at(name), []byte(text), 0o640); err != nil {
			return "", err
		}
	}
	if err := os.Rename(at("shop/orders.ibd"), at("shop/before.ibd")); err != nil {
		return "", err
	}
	if err := os.RemoveAll(at("#innodb_redo")); err != nil {
		return "", err
	}
	return dir, os.Remove(at(repo.ExportName))
}

// commands are those that a text names for taking a directory from the backup again.
func commands(text string) []string {
	_, list, ok := strings.Cut(text, "To take it from the backup again: ")
	if !ok {
		return nil
	}
	return strings.Split(list, " && ")
}
