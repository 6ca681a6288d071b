package tablespace

import (
	"fmt"
	"strconv"
	"strings"
)

// DataFile is one file of innodb_data_file_path or innodb_temp_data_file_path.
type DataFile struct {
	Path       string // as written: relative to innodb_data_home_dir, or absolute
	Size       int64  // bytes when created
	AutoExtend bool
	Max        int64 // bytes, 0 for no limit; only with AutoExtend
	Raw        bool  // a device, not a file: raw or newraw
}

// ParseDataFiles reads a setting such as
// "ibdata1:12M;/fast/ibdata2:10M:autoextend:max:2G"
// (SysTablespace::parse_params in fsp0sysspace.cc). Only the last file may
// extend itself.
func ParseDataFiles(setting string) ([]DataFile, error) {
	var files []DataFile
	parts := strings.Split(strings.TrimSuffix(setting, ";"), ";")
	for i, part := range parts {
		f, err := parseDataFile(part)
		if err == nil && f.AutoExtend && i < len(parts)-1 {
			err = fmt.Errorf("autoextend before the last file")
		}
		if err != nil {
			return nil, fmt.Errorf("read data file path %q: %q: %w", setting, part, err)
		}
		files = append(files, f)
	}
	return files, nil
}

func parseDataFile(s string) (DataFile, error) {
	words := strings.Split(s, ":")
	f := DataFile{Path: words[0]}
	if len(words) < 2 || f.Path == "" {
		return f, fmt.Errorf("want path:size")
	}
	size := words[1]
	if rest, ok := strings.CutSuffix(size, "raw"); ok {
		size, f.Raw = strings.TrimSuffix(rest, "new"), true
	}
	var err error
	if f.Size, err = parseBytes(size); err != nil {
		return f, err
	}
	switch words = words[2:]; {
	case len(words) == 0:
		return f, nil
	case len(words) == 1 && words[0] == "autoextend":
		f.AutoExtend = true
		return f, nil
	case len(words) == 3 && words[0] == "autoextend" && words[1] == "max":
		f.AutoExtend = true
		f.Max, err = parseBytes(words[2])
		return f, err
	}
	return f, fmt.Errorf("%q after the size", strings.Join(words, ":"))
}

func parseBytes(s string) (int64, error) {
	shift := 0
	if s != "" {
		shift = map[byte]int{'k': 10, 'm': 20, 'g': 30}[s[len(s)-1]|0x20]
	}
	if shift != 0 {
		s = s[:len(s)-1]
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 0 || n > 1<<62>>shift {
		return 0, fmt.Errorf("%q is no size", s)
	}
	return n << shift, nil
}
