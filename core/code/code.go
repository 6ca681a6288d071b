// Package code says what an error means to the person or script that started remora.
//
// The numbers are the exit codes of the command line and a published contract: they
// never change their meaning. An error gets its code where the cause is known, and
// keeps it while it is wrapped on the way up.
package code

import (
	"errors"
	"fmt"
)

// Code is an exit code of the command line.
type Code int

// The exit codes. Signals end with 128+N as shells do.
const (
	Done         Code = 0
	Unclassified Code = 1
	Usage        Code = 10 // command line or configuration
	Busy         Code = 11 // another operation holds the lock file
	Privilege    Code = 12 // credentials or privilege missing
	ServerGone   Code = 13 // server unreachable, gone, or not the same any more
	Lock         Code = 14 // backup lock not obtained, or lost
	RedoOverrun  Code = 15 // redo was overwritten before it was copied
	CorruptPage  Code = 16 // a page of the source stays bad
	Storage      Code = 17 // storage or plugin failed while working
	NoSpace      Code = 18
	Integrity    Code = 19 // stored bytes are not what was stored, or a key is wrong
	Version      Code = 20 // server or data version not supported
	Target       Code = 21 // restore target not empty or in use
	Plugin       Code = 22 // plugin refused: handshake, protocol, digest
	Veto         Code = 23 // a hook said no
	StateNewer   Code = 24 // state written by a newer remora
	Cancelled    Code = 25 // cancelled, but not by a signal
	SIGHUP       Code = 129
	SIGINT       Code = 130
	SIGTERM      Code = 143
)

// Error is an error with a code. Err is the cause; Hint, if not empty, is the remedy
// and is printed on a line of its own by the command line only.
type Error struct {
	Code Code
	Hint string
	Err  error
}

func (e *Error) Error() string { return e.Err.Error() }
func (e *Error) Unwrap() error { return e.Err }

// New returns an error with a code; the format is that of fmt.Errorf, %w included.
func New(c Code, format string, args ...any) error {
	return &Error{Code: c, Err: fmt.Errorf(format, args...)}
}

// Hint returns an error with a code and a remedy.
func Hint(c Code, hint, format string, args ...any) error {
	return &Error{Code: c, Hint: hint, Err: fmt.Errorf(format, args...)}
}

// Default gives err the code c unless it carries one already. nil stays nil.
func Default(c Code, err error) error {
	var have *Error
	if err == nil || errors.As(err, &have) {
		return err
	}
	return &Error{Code: c, Err: err}
}

// Of returns the code of err: Done for nil, Unclassified if it carries none.
func Of(err error) Code {
	var e *Error
	switch {
	case err == nil:
		return Done
	case errors.As(err, &e):
		return e.Code
	}
	return Unclassified
}

// HintOf returns the first remedy found in err, or "".
func HintOf(err error) string {
	var e *Error
	for errors.As(err, &e) {
		if e.Hint != "" {
			return e.Hint
		}
		err = e.Err
	}
	return ""
}
