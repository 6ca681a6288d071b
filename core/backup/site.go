package backup

import (
	"context"
	"time"

	"github.com/remora-backup/remora/core/code"
	"github.com/remora-backup/remora/core/datadir"
	"github.com/remora-backup/remora/core/innodb/redo"
	"github.com/remora-backup/remora/core/redolog"
	"github.com/remora-backup/remora/core/repo"
	"github.com/remora-backup/remora/core/server"
)

// site is the server of a backup, and where its bytes go. Nothing in it changes.
type site struct {
	server    *server.Server
	facts     server.Facts
	altered   server.Altered // at the beginning,
	since     redo.LSN       // and where the redo was after that
	databases []string
	engines   engines
	keyring   string // data file; "" looks for the server's own configuration
	dir       *datadir.Dir
	log       redolog.Log
	store     *repo.Backup
	packers   []*repo.Packer // one for each copy worker; whoever uses them has them to himself
}

// same makes sure that the server is still the one, and the same life of it.
func (s *site) same(ctx context.Context) error { return s.server.SameServer(ctx) }

// sameRedo makes sure, as far as the server tells, that redo logging was never switched off:
// pages that changed meanwhile left no trace. The redo files show it only as long as it lasts,
// which can be less than a millisecond; the statement is counted for ever. It reports whether
// one was used at all: if not, that is certain; otherwise what the log itself shows of it, which
// the ledger knows, counts as well.
func (s *site) sameRedo(ctx context.Context) (altered bool, err error) {
	now, err := s.server.Altered(ctx)
	if err != nil {
		return false, err
	}
	altered = now.Count != s.altered.Count
	seen, err := s.server.RedoSwitched(ctx, s.altered, now)
	switch {
	case err != nil:
		return altered, err
	case seen == server.Yes:
		return altered, redolog.ErrSwitchedOff
	case seen == server.Unseen:
		return altered, code.Hint(code.Version, "grant SELECT on performance_schema.error_log and set log_error_verbosity to 2 or more, so that harmless statements can be told from that",
			"ALTER INSTANCE was used during the backup; whether redo logging was switched off cannot be seen")
	}
	return altered, nil
}

// whyLost makes the loss of a lock what it is if the server went away with it. Other errors
// stay what they are.
func (s *site) whyLost(ctx context.Context, err error) error {
	if code.Of(err) != code.Lock {
		return err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	if gone := s.same(ctx); code.Of(gone) == code.ServerGone {
		return gone
	}
	return err
}
