package server

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"sync"
	"time"
)

// ErrConsumerTaken means that another session of the server is the redo log consumer; there can be one.
var ErrConsumerTaken = errors.New("another session is registered as redo log consumer")

// consumerLease is how long the server keeps a consumer that says nothing. Of one whose network broke it hears
// nothing else, and would by default keep it for eight hours, with its writes stalled for most of them.
const consumerLease = 10 * time.Second

// Consumer keeps the server from reusing redo files that were not read yet. It has a connection of its own and
// ends with it, at the latest when this process dies, or ten seconds after it was last advanced.
//
// A consumer that is not advanced stalls the server's writes when the redo log is full: advance it at least
// every second, or close it.
type Consumer struct {
	mu   sync.Mutex
	conn *sql.Conn // nil after Close
}

// RegisterConsumer registers a consumer at the current checkpoint. It needs BACKUP_ADMIN.
func (s *Server) RegisterConsumer(ctx context.Context) (*Consumer, error) {
	conn, err := s.leased(ctx)
	if err != nil {
		return nil, fmt.Errorf("register a redo log consumer: %w", err)
	}
	c := &Consumer{conn: conn}
	answer, err := c.ask(ctx, "SELECT innodb_redo_log_consumer_register()")
	if err == nil && answer != 0 {
		err = ErrConsumerTaken
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("register a redo log consumer: %w", err), c.end())
	}
	return c, nil
}

// leased returns a connection that the server ends when it says nothing for consumerLease.
func (s *Server) leased(ctx context.Context) (*sql.Conn, error) {
	ctx, cancel := patiently(ctx)
	defer cancel()
	conn, err := s.db.Conn(ctx)
	if err != nil {
		return nil, classify(ctx, err)
	}
	if err := Adjust(ctx, conn, Setting{"wait_timeout", fmt.Sprint(int(consumerLease.Seconds()))}); err != nil {
		return nil, errors.Join(err, drop(conn))
	}
	return conn, nil
}

// drop ends a connection for good rather than giving it back to the pool, which would hand its settings on.
func drop(conn *sql.Conn) error {
	_ = conn.Raw(func(any) error { return driver.ErrBadConn }) // this is how sql.Conn is told
	if err := conn.Close(); !errors.Is(err, sql.ErrConnDone) {
		return err
	}
	return nil // closed because it was bad
}

// Advance tells the server that redo before lsn is no longer needed. A lower LSN than before is an error.
func (c *Consumer) Advance(ctx context.Context, lsn uint64) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	answer, err := c.ask(ctx, fmt.Sprintf("SELECT innodb_redo_log_consumer_advance(%d)", lsn))
	if err == nil && answer != 0 {
		err = errors.New("the server refuses: the LSN is lower than before, or the consumer is gone")
	}
	if err != nil {
		return fmt.Errorf("advance the redo log consumer to LSN %d: %w", lsn, err)
	}
	return nil
}

// Close unregisters the consumer and closes its connection. If the server does not answer, the end of the
// connection unregisters it. Closing twice, or a nil consumer, does nothing.
func (c *Consumer) Close(ctx context.Context) error {
	if c == nil {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.conn == nil {
		return nil
	}
	_, err := c.ask(ctx, "SELECT innodb_redo_log_consumer_unregister()")
	if err != nil {
		err = fmt.Errorf("unregister the redo log consumer: %w", err)
	}
	return errors.Join(err, c.end())
}

func (c *Consumer) ask(ctx context.Context, query string) (int, error) {
	if c.conn == nil {
		return 0, errors.New("the consumer is closed")
	}
	ctx, cancel := patiently(ctx)
	defer cancel()
	var answer int
	err := classify(ctx, c.conn.QueryRowContext(ctx, query).Scan(&answer))
	return answer, err
}

// end ends the connection, and with it the consumer.
func (c *Consumer) end() error {
	err := drop(c.conn)
	c.conn = nil
	return err
}
