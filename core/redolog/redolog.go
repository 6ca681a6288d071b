// Package redolog follows the redo log of a running server.
//
//	#innodb_redo/ ── files ── blocks ──> parser ──> Taker.Event     what DDL did
//	                            └──────> chunks ──> Taker.Blocks    the log itself
//
// A Follower begins at the newest checkpoint and goes on until its context ends, until the
// end that it was told, or until the server was faster: that is code.RedoOverrun.
package redolog

import (
	"github.com/remora-backup/remora/core/code"
	"github.com/remora-backup/remora/core/innodb/redo"
)

// Log says where the log of a server lies and how it is read.
type Log struct {
	Dir       string // #innodb_redo
	PageSize  int    // innodb_page_size, bytes
	Checksums redo.Checksums
	Encrypted bool // the server encrypts what it writes now
	// Key opens encrypted blocks. It is called when the first one is met, and by Check.
	Key func(redo.Encryption) (*redo.Key, error)
}

// Check makes sure, before anything depends on it, that the log is in use and can be read.
// What is missing is code.Version, with a hint, or the error of Key.
func (l Log) Check() error {
	flags, err := flagsOf(l.Dir)
	if err != nil {
		return err
	}
	if flags&(redo.NoLogging|redo.CrashUnsafe) != 0 {
		return code.Hint(code.Version, "ALTER INSTANCE ENABLE INNODB REDO_LOG", "redo logging is disabled; a hot backup needs it")
	}
	if l.Checksums != redo.RequireCRC {
		return code.Hint(code.Version, "SET GLOBAL innodb_log_checksums = ON", "innodb_log_checksums is OFF: a block of the redo log that the server is writing cannot be told from one that is whole")
	}
	h, err := newestHeader(l.Dir)
	switch {
	case err != nil:
		return err
	case !l.Encrypted || !h.Encryption.Present:
		return nil // what is met later is opened then
	}
	_, err = l.Key(h.Encryption)
	return err
}

// Open places a follower on the newest checkpoint. The caller closes it.
func (l Log) Open() (*Follower, error) {
	files, checkpoint, err := openFiles(l.Dir, l.Checksums, &key{get: l.Key})
	if err != nil {
		return nil, err
	}
	return newFollower(files, checkpoint, l.PageSize), nil
}
