package inert

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/remora-backup/remora/core/innodb/undo"
)

// PreparedXA returns the names, as XA COMMIT takes them, of the clients' transactions that are
// prepared in the undo tablespaces named, below root, which no server has open. Those whose undo
// is encrypted are not seen. pageSize is in bytes.
func PreparedXA(root *os.Root, tablespaces []string, pageSize int) (xids []string, err error) {
	for _, name := range tablespaces {
		f, err := root.Open(name)
		if err != nil {
			return nil, fmt.Errorf("look for prepared XA transactions: %w", err)
		}
		p := make([]byte, pageSize)
		for {
			if _, err = io.ReadFull(f, p); err != nil {
				break
			}
			if x, ok := undo.Prepared(p); ok && !slices.Contains(xids, x.SQL()) {
				xids = append(xids, x.SQL())
			}
		}
		_ = f.Close()
		if !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
			return nil, fmt.Errorf("look for prepared XA transactions in %s: %w", name, err)
		}
	}
	slices.Sort(xids)
	return xids, nil
}

// ToldXA is what a person is told of n prepared XA transactions, of which those in xids are known
// by name.
func ToldXA(n int, xids []string) string {
	text := fmt.Sprintf("%d prepared XA transaction(s) stay, with their locks, until their client or a person ends each of them", n)
	if len(xids) > 0 {
		var ends []string
		for _, x := range xids {
			ends = append(ends, fmt.Sprintf("XA COMMIT %s; or XA ROLLBACK %s;", x, x))
		}
		text += ": " + strings.Join(ends, " ")
	}
	if len(xids) != n {
		text += " (of " + fmt.Sprint(n) + " the undo log names " + fmt.Sprint(len(xids)) + ": XA RECOVER CONVERT XID names all)"
	}
	return text
}
