package binlog

import (
	"errors"
	"fmt"
	"io"
)

// ExecutedAt returns what gtid_executed was when the log ended at position
// end: the transactions of all logs before, which the log itself names, and
// those in it that end at end or before. Nothing behind end is read.
//
// The error wraps ErrPosition if no event ends there, or one within a
// transaction: a server names no such position. It wraps io.ErrUnexpectedEOF
// if the log is shorter. With gtid_mode=OFF the set has no transactions of
// this log.
func ExecutedAt(r io.Reader, end int64) (GTIDSet, error) {
	set, err := executedAt(r, end)
	if err != nil {
		return GTIDSet{}, fmt.Errorf("collect gtids up to %d: %w", end, err)
	}
	return set, nil
}

func executedAt(r io.Reader, end int64) (GTIDSet, error) {
	var set GTIDSet
	upTo := &io.LimitedReader{R: r, N: end}
	d, err := NewReader(upTo)
	if err != nil {
		return set, atLimit(err, upTo)
	}
	open := d.Position() // where the last transaction that began ends
	for d.Position() < end {
		e, err := d.Next()
		if err != nil {
			return set, atLimit(noEOF(err), upTo)
		}
		switch e.Type {
		case PreviousGTIDs:
			before, err := DecodeGTIDSet(e.Body)
			if err != nil {
				return set, fmt.Errorf("event at %d: %w", e.Start, err)
			}
			set.Union(before)
		case GTIDEvent, AnonymousGTID, TaggedGTID:
			t, err := e.Transaction()
			if err != nil {
				return set, fmt.Errorf("event at %d: %w", e.Start, err)
			}
			open = e.Start + t.Length
			if !t.Anonymous {
				set.Add(t.GTID)
			}
		}
	}
	if open > end {
		return set, fmt.Errorf("%w: a transaction that began before ends at %d", ErrPosition, open)
	}
	return set, nil
}

// atLimit tells an event that goes beyond the limit from a log that ends.
func atLimit(err error, r *io.LimitedReader) error {
	if r.N <= 0 && errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("%w: %v", ErrPosition, err)
	}
	return err
}
