package repo

import (
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/remora-backup/remora/core/code"
)

const idTime = "20060102T150405Z"

// Latest stands for the complete backup with the newest data wherever an id is asked for.
const Latest = "latest"

// NewID returns the id of a backup begun at now: UTC time and four hex digits read from
// random, as in 20261120T221500Z-7f3a. Ids sort by time.
func NewID(now time.Time, random io.Reader) (string, error) {
	var b [2]byte
	if _, err := io.ReadFull(random, b[:]); err != nil {
		return "", fmt.Errorf("draw backup id: %w", err)
	}
	return fmt.Sprintf("%s-%x", now.UTC().Format(idTime), b), nil
}

// ValidID reports whether id has the form NewID gives.
func ValidID(id string) bool {
	if len(id) != len(idTime)+5 || id[len(idTime)] != '-' {
		return false
	}
	if t, err := time.Parse(idTime, id[:len(idTime)]); err != nil || t.Format(idTime) != id[:len(idTime)] {
		return false
	}
	for _, c := range id[len(idTime)+1:] {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

// after returns id if it is greater than newest. Two backups begun within one second get
// ids in the order in which they began; a clock that went back is an error.
func after(id, newest string) (string, error) {
	if id > newest {
		return id, nil
	}
	if id[:len(idTime)] < newest[:len(idTime)] {
		return "", code.Hint(code.Unclassified, "set the clock, or wait until it has passed the newest backup's time",
			"name backup %s: the clock is behind backup %s", id, newest)
	}
	n, err := strconv.ParseUint(newest[len(idTime)+1:], 16, 16)
	if err != nil || n == 0xffff {
		return "", code.New(code.Unclassified, "name backup %s: no id is left in this second after %s", id, newest)
	}
	return fmt.Sprintf("%s-%04x", id[:len(idTime)], n+1), nil
}
