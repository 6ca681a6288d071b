package server

import (
	"context"
	"fmt"
	"time"
)

// BinlogExpiry is how long the server keeps its binary logs; 0 means until somebody purges them.
func (s *Server) BinlogExpiry(ctx context.Context) (time.Duration, error) {
	var seconds int64
	var purges bool
	if err := s.row(ctx, "SELECT @@binlog_expire_logs_seconds, @@binlog_expire_logs_auto_purge", &seconds, &purges); err != nil {
		return 0, fmt.Errorf("read how long binary logs are kept: %w", err)
	}
	if !purges {
		return 0, nil
	}
	return time.Duration(seconds) * time.Second, nil
}
