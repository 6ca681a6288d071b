package debug

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"
)

// ErrEnded says that the process ended before it answered, as one armed with kill does.
var ErrEnded = errors.New("the process ended")

// Client speaks to the Server of another process. Its methods must not be called
// concurrently.
type Client struct {
	conn  net.Conn
	lines *bufio.Scanner
}

// Dial connects to the socket; if the process has not made it yet it tries again until
// ctx ends. The caller must call Close.
func Dial(ctx context.Context, socket string) (*Client, error) {
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for {
		conn, err := new(net.Dialer).DialContext(ctx, "unix", socket)
		if err == nil {
			return &Client{conn: conn, lines: bufio.NewScanner(conn)}, nil
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			return nil, fmt.Errorf("reach the debugged process: %w", err)
		}
	}
}

// Close ends the connection.
func (c *Client) Close() error { return c.conn.Close() }

// Do gives one command, as its words, and returns the lines of the answer. The end of
// ctx ends the connection.
func (c *Client) Do(ctx context.Context, words ...string) (string, error) {
	defer context.AfterFunc(ctx, func() { c.conn.Close() })()
	command := strings.Join(words, " ")
	if _, err := fmt.Fprintln(c.conn, command); err != nil {
		return "", c.lost(ctx, command)
	}
	var answer strings.Builder
	for c.lines.Scan() {
		line := c.lines.Text()
		if why, failed := strings.CutPrefix(line, "error: "); failed {
			return answer.String(), fmt.Errorf("%s: %s", command, why)
		}
		if line == "ok" {
			return answer.String(), nil
		}
		answer.WriteString(line + "\n")
	}
	return answer.String(), c.lost(ctx, command)
}

func (c *Client) lost(ctx context.Context, command string) error {
	if ctx.Err() != nil {
		return fmt.Errorf("%s: %w", command, context.Cause(ctx))
	}
	return fmt.Errorf("%s: %w", command, ErrEnded)
}

// Do connects to the socket, gives one command and returns the lines of its answer.
func Do(ctx context.Context, socket string, words ...string) (string, error) {
	c, err := Dial(ctx, socket)
	if err != nil {
		return "", err
	}
	defer c.Close()
	return c.Do(ctx, words...)
}
