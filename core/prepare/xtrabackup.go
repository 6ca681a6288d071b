package prepare

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/remora-backup/remora/core/code"
	"github.com/remora-backup/remora/core/innodb/redo"
	"github.com/remora-backup/remora/core/version"
	"github.com/remora-backup/remora/core/xtrabackup"
)

// describeXtraBackup reads what XtraBackup wrote beside the data of dir into from, which is
// dir or the incremental backup; list is what lies there. Where the redo log ends is not said.
func describeXtraBackup(dir, from *directory, list listing) (*description, error) {
	info, err := readWith(from.root, xtrabackup.InfoName, xtrabackup.ParseInfo)
	if err != nil {
		return nil, err
	}
	settings, err := readWith(from.root, xtrabackup.SettingsName, xtrabackup.ParseSettings)
	if err != nil {
		return nil, err
	}
	d := &description{
		kind: kindXtraBackup, channels: []string{""}, // nothing says which
		files: list.files, dataFilePath: flat(settings.DataFilePath), unmarkedDDL: info.LockDDL == "OFF",
		log: redoLog{name: xtrabackup.LogName, page: settings.PageSize},
	}
	if !settings.LogChecksums {
		d.log.sums = redo.AllowNone
	}
	if d.server, err = version.Parse(info.ServerVersion, info.ServerFlavor); err != nil {
		return nil, code.New(code.Integrity, "read %s: %w", xtrabackup.InfoName, err)
	}
	if list.files[xtrabackup.BinlogInfoName] {
		if d.binlog, err = readWith(from.root, xtrabackup.BinlogInfoName, xtrabackup.ParseBinlogInfo); err != nil {
			return nil, err
		}
	}
	if len(list.markers) > 0 && info.LockDDL != "REDUCED" {
		return nil, code.New(code.Integrity, "read %s: there is a marker file %s, but the backup was taken with --lock-ddl=%s", dir.path, list.markers[0].Path, info.LockDDL)
	}
	d.lowerCase, err = readLowerCase(dir.root)
	return d, err
}

// checkPacked refuses files that have to be unpacked first.
func checkPacked(dir *directory, list listing) error {
	for name := range list.files {
		if tool := xtrabackup.Packed(name); tool != "" {
			return code.Hint(code.Target, tool, "read %s: %s is packed; unpack the backup first", dir.path, name)
		}
	}
	return nil
}

// readLowerCase finds lower_case_table_names, which XtraBackup writes nowhere, in the data
// dictionary: its table of properties has it as text. A server that is started with
// another value refuses the data. Source: dd_properties, Dictionary_properties::LCTN.
func readLowerCase(root *os.Root) (int, error) {
	file, err := root.Open(dictionary + string(xtrabackup.New))
	if err != nil {
		file, err = root.Open(dictionary)
	}
	if err != nil {
		return 0, code.New(code.Integrity, "read the data dictionary: %w", err)
	}
	defer file.Close()
	r := bufio.NewReaderSize(file, chunk)
	key := []byte("LCTN=")
	for {
		b, err := r.Peek(chunk)
		if i := bytes.Index(b, key); i >= 0 && i+len(key)+1 < len(b) && b[i+len(key)+1] == ';' {
			if n := int(b[i+len(key)] - '0'); n >= 0 && n <= 2 {
				return n, nil
			}
		}
		if err != nil {
			break // its end; an error of the disk the server will meet as well
		}
		_, _ = r.Discard(chunk - 16) // a match may lie across
	}
	return 0, nil // an encrypted dictionary; 0 is what Linux has
}

// openLogfile opens xtrabackup_logfile of dir and reads where it begins.
func openLogfile(l *redoLog, dir *directory) error {
	file, err := dir.root.Open(l.name)
	if errors.Is(err, fs.ErrNotExist) {
		return code.New(code.Integrity, "open the redo log: %s has no %s", dir.path, l.name)
	}
	if err != nil {
		return fmt.Errorf("open the redo log: %w", err)
	}
	l.parts = []part{{file: file}}
	h, err := headerOf(file)
	if err != nil {
		return fmt.Errorf("read %s: %w", l.name, err)
	}
	if !strings.HasPrefix(h.Creator, xtrabackup.CreatorPrefix) {
		return code.Hint(code.Target, "take the directory from the backup again",
			"read %s: its creator is %q: it was used already to prepare this directory", l.name, h.Creator)
	}
	size, err := file.Stat()
	if err != nil {
		return fmt.Errorf("read %s: %w", l.name, err)
	}
	l.checkpoint, l.info = h.Checkpoint(), h.Encryption
	start := l.checkpoint.BlockStart()
	blocks := (size.Size() - redo.HeaderSize) / redo.BlockSize
	l.parts[0].start, l.parts[0].stop = start, start+redo.LSN(blocks*redo.BlockSize)
	return nil
}

// markPrepared leaves the description of from in root as XtraBackup does: it reads there that
// nothing is left to do. The redo log stays where the server has it.
func markPrepared(root, from *os.Root) error {
	b, err := from.ReadFile(xtrabackup.CheckpointsName)
	if err != nil {
		return err
	}
	const temp = xtrabackup.CheckpointsName + ".tmp"
	if err := writeFile(root, temp, xtrabackup.MarkPrepared(b)); err != nil {
		return err
	}
	return root.Rename(temp, xtrabackup.CheckpointsName)
}

// blankCreator marks the log file as used.
func blankCreator(root *os.Root) error {
	f, err := root.OpenFile(xtrabackup.LogName, os.O_RDWR|unix.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	h, err := headerOf(f)
	if err != nil {
		return err
	}
	h.Creator = xtrabackup.BlankCreator
	if _, err := f.WriteAt(h.Header.Append(nil)[:redo.BlockSize], 0); err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// readWith reads one of the files that describe a backup.
func readWith[T any](root *os.Root, name string, parse func([]byte) (T, error)) (T, error) {
	b, err := root.ReadFile(name)
	if err != nil {
		var zero T
		return zero, code.New(code.Integrity, "read the backup's description: %w", err)
	}
	v, err := parse(b)
	return v, code.Default(code.Integrity, err)
}
