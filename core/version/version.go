// Package version says which MySQL server a version string names.
//
// It also holds the one rule about which server may open whose data.
package version

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// Flavours of a server.
const (
	MySQL   = "MySQL"
	Percona = "Percona Server"
	MariaDB = "MariaDB"
)

// Version is the version of one server.
type Version struct {
	Major, Minor, Patch int
	Suffix              string // what follows the numbers: "-2", "-0ubuntu0.22.04.1", "-log", or ""
	Flavour             string // MySQL, Percona or MariaDB
}

var numbers = regexp.MustCompile(`^(\d{1,3})\.(\d{1,3})\.(\d{1,3})(\S*)`)

// Parse reads the version a server reports as @@version; comment is its @@version_comment or "".
func Parse(s, comment string) (Version, error) {
	m := numbers.FindStringSubmatch(s)
	if m == nil {
		return Version{}, fmt.Errorf("parse server version %q: want three numbers with dots", s)
	}
	var n [3]int
	for i := range n {
		n[i], _ = strconv.Atoi(m[i+1]) // at most three digits
	}
	v := Version{Major: n[0], Minor: n[1], Patch: n[2], Suffix: m[4], Flavour: MySQL}
	both := strings.ToLower(s + " " + comment)
	switch {
	case strings.Contains(both, "mariadb"):
		v.Flavour = MariaDB
	case strings.Contains(both, "percona"):
		v.Flavour = Percona
	}
	return v, nil
}

// ParseBanner reads what `mysqld --version` prints: "/usr/sbin/mysqld  Ver 8.0.36 for Linux on x86_64 (comment)".
func ParseBanner(s string) (Version, error) {
	_, rest, ok := strings.Cut(s, " Ver ")
	if !ok {
		return Version{}, fmt.Errorf("parse version banner %q: no \"Ver\" in it", strings.TrimSpace(s))
	}
	return Parse(strings.TrimSpace(rest), s)
}

// String is the version as the server writes it, without the flavour.
func (v Version) String() string {
	return fmt.Sprintf("%d.%d.%d%s", v.Major, v.Minor, v.Patch, v.Suffix)
}

// Series names the releases that share data files without an upgrade: "8.0", "8.4", "9.7".
func (v Version) Series() string { return fmt.Sprintf("%d.%d", v.Major, v.Minor) }

// AtLeast reports whether v is this release or a later one.
func (v Version) AtLeast(major, minor, patch int) bool {
	return v.Compare(Version{Major: major, Minor: minor, Patch: patch}) >= 0
}

// Compare orders by the three numbers; suffix and flavour do not count.
func (v Version) Compare(w Version) int {
	for _, d := range []int{v.Major - w.Major, v.Minor - w.Minor, v.Patch - w.Patch} {
		if d != 0 {
			return d
		}
	}
	return 0
}

// Supported returns an error that says why a running server cannot be backed up: MariaDB has another redo
// log, and before 8.0.30 the redo log had another format.
func (v Version) Supported() error {
	if v.Flavour == MariaDB {
		return fmt.Errorf("server is MariaDB %v: only MySQL and Percona Server 8.0.30 or newer are supported", v)
	}
	if !v.AtLeast(8, 0, 30) {
		return fmt.Errorf("server is %s %v: 8.0.30 or newer is needed", v.Flavour, v)
	}
	return nil
}

// CanOpen returns nil if a server of version v may recover data written by a server of version data, else an
// error that says why not. The server must be of the same series and not older. MySQL itself would also
// upgrade from the series before, but a restore that changes the data's version is no restore, and a crashed
// redo log is not readable across series at all. Percona Server and MySQL read each other's files.
func (v Version) CanOpen(data Version) error {
	switch {
	case v.Flavour == MariaDB || data.Flavour == MariaDB:
		return fmt.Errorf("mysqld %v (%s) cannot open data of %s %v", v, v.Flavour, data.Flavour, data)
	case v.Series() != data.Series():
		return fmt.Errorf("mysqld %v cannot open data of %v: it must be of the series %s", v, data, data.Series())
	case v.Compare(data) < 0:
		return fmt.Errorf("mysqld %v cannot open data of %v: it must not be older", v, data)
	}
	return nil
}
